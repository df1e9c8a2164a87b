"""What tests on a real SLURM do with jobs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from launch import journal
from launch.status import Status, read

TINY = """
train: {steps: 30}
data: {root: /nowhere, workers: 0}
slurm: {time: 60m, signal_s: 20, cpus_per_task: 1}
"""


def until(condition: Callable[[], object], *, seconds: float = 300) -> None:
    """Wait for something a job does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def ended(run: Path, *, seconds: float = 600) -> Status:
    """The run's status once nothing can happen to it any more."""
    until(lambda: not read([run])[0].live, seconds=seconds)
    return read([run])[0]


def events(run: Path, kind: str) -> list[journal.Event]:
    return [event for event in journal.read(run) if event["event"] == kind]


def job(run: Path) -> str:
    return read([run])[0].jobs[-1]


def signal(run: Path, name: str = "USR2") -> None:
    subprocess.run(["scancel", f"--signal={name}", job(run)], check=True)


def cancel(folder: Path) -> None:
    """End what is left of the runs in `folder`."""
    for path in folder.rglob(journal.NAME):
        jobs = (journal.submission(journal.read(path.parent)) or {"jobs": []})["jobs"]
        subprocess.run(["scancel", "--quiet", *{job.split("_")[0] for job in jobs}])
