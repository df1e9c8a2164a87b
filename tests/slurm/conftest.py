"""A real SLURM on this machine for the tests in this folder, or a reason why there is none."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_jobs import TINY, cancel

from launch import submit

STATE = Path(os.environ.get("SLURM_UP_STATE", "/var/lib/slurm-up"))


@pytest.fixture(scope="session")
def slurm(shared: Path) -> Iterator[None]:
    """Two nodes of four processors, partitions main, low and high; jobs in low make room for those in
    high.
    """
    script = shared / "slurm" / "slurm-up.sh"
    if not script.is_file():
        pytest.skip(f"needs {script}, which brings up a SLURM on this machine")
    import fcntl

    with open(Path(tempfile.gettempdir()) / f"{STATE.name}.tests", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one session at a time: tests push out each other's jobs
        yield from _up(script)


def _up(script: Path) -> Iterator[None]:
    was_up = subprocess.run(["bash", script, "--status"], capture_output=True).returncode == 0
    up = subprocess.run(
        ["bash", script, "--acct", "--nodes", "2", "--cpus", "4"], capture_output=True, text=True, timeout=300
    )
    if up.returncode == 3:
        pytest.skip(f"SLURM cannot be brought up here: {up.stderr.strip()}")
    assert up.returncode == 0, up.stdout + up.stderr
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(STATE / "etc" / "slurm.conf")
    yield
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before
    if not was_up:
        subprocess.run(["bash", script, "--down"], capture_output=True, timeout=120)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A config whose jobs start within a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def sent(slurm: None, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Path]]:
    """sent(arguments, run=...) submits and returns the run's folder; what is left in the queue is
    cancelled.
    """
    runs: list[Path] = []

    def send(*words: object, run: Path) -> Path:
        assert submit.main([*map(str, words), "--run", str(run)]) == 0, capsys.readouterr().err
        runs.append(run)
        return run

    yield send
    for run in runs:
        cancel(run)
