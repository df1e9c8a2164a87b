"""`python -m launch.status [FOLDER ...]`: a table of the runs that were submitted.

Its columns: state, step, loss, J&F, time left, folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launch import cluster, journal
from launch.commands import product
from launch.job import done
from mamp.core.errors import UserError
from mamp.core.terminal import printable
from mamp.core.texts import parse_json, read_json, read_yaml_value

LIVE = (
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "REQUEUED",
    "SUSPENDED",
    "RESIZING",
    "REQUEUE_HOLD",
)
COLUMNS = ("STATE", "JOB", "STARTS", "STEP", "LOSS", "J&F", "LEFT", "FOLDER")
WAITED = "Timed out waiting for job step"  # srun's last line whatever the cause
TAIL = 2**20  # bytes of a log that are looked at


@dataclass(frozen=True)
class Status:
    """One run as it stands. left: "" where it is not known. reason: why it failed or waits.

    queued: whether a job of it is still in the queue.
    """

    folder: Path
    state: str
    jobs: tuple[str, ...]
    starts: int
    step: str
    loss: str
    score: str
    left: str
    reason: str
    queued: bool = False

    @property
    def live(self) -> bool:
        """Whether something may still happen to it."""
        return self.queued or self.state in LIVE

    def row(self) -> tuple[str, ...]:
        """The cells of `COLUMNS`."""
        job = self.jobs[-1] if self.jobs else ""
        shown = os.path.relpath(self.folder)
        return (self.state, job, str(self.starts), self.step, self.loss, self.score, self.left, shown)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; the exit status: 0, with --wait 1 when a run did not finish, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m launch.status", description="How submitted runs are.")
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("runs")], metavar="FOLDER",
        help="runs, sweeps, or folders of them (default runs)",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="print once nothing waits or runs any more")
    args = parser.parse_args(words)
    try:
        found = find(args.folders)
        runs = read(found)
        while args.wait and any(run.live for run in runs):
            time.sleep(3)
            runs = read(found)
    except UserError as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(printable(table(runs)))
    return int(args.wait and any(run.state != "FINISHED" for run in runs))


def find(folders: Sequence[Path]) -> list[Path]:
    """The runs at and below `folders`; UserError where one has none."""
    found: list[Path] = []
    for folder in folders:
        below = sorted(path.parent for path in folder.rglob(journal.NAME))
        if not below:
            raise UserError(f"{folder} holds no run that was submitted; give the folder that --run named")
        found += below
    return list(dict.fromkeys(found))


def read(folders: Sequence[Path]) -> list[Status]:
    """How the runs in `folders` are; the scheduler is asked once for all.

    The journals are read once more after the queue: a job that ends in between is in neither otherwise.
    """
    asked: set[str] = set()
    queue: dict[str, tuple[str, str]] = {}
    accounts: dict[str, str] = {}
    while True:
        events = {folder: journal.read(folder) for folder in folders}
        owners = {
            folder: journal.submission(each) or {"jobs": [], "token": ""} for folder, each in events.items()
        }
        jobs = {job for owner in owners.values() for job in owner["jobs"]}
        if jobs <= asked:
            break
        asked = jobs
        queue, accounts = cluster.queued(sorted(jobs)), cluster.ended(sorted(jobs))
    return [
        _status(folder, journal.of(events[folder], owners[folder]["token"]), owners[folder], queue, accounts)
        for folder in folders
    ]


def _status(
    folder: Path,
    events: list[journal.Event],
    owner: journal.Event,
    queue: dict[str, tuple[str, str]],
    accounts: dict[str, str],
) -> Status:
    jobs = tuple(owner["jobs"])
    over = _over(events)
    waiting = [queue[job] for job in jobs if job in queue and job not in over]
    ended = [accounts[job] for job in jobs if job in accounts and job not in over]
    state, reason = _state(folder, events, owner, waiting, ended)
    if state not in ("FINISHED", *LIVE) and not reason:
        reason = _last_words(Path(owner.get("logs", "")), jobs)
    step, loss, score, left = _figures(folder, owner)
    starts = sum(event["event"] == "started" for event in events)
    left = left if state in LIVE else ""
    queued = any(job in queue for job in jobs)
    return Status(folder, state, jobs, starts, step, loss, score, left, reason, queued)


def _over(events: list[journal.Event]) -> set[str]:
    """Jobs that said how they ended and did not start since; the queue may have them a little longer."""
    over: set[str] = set()
    for event in events:
        if event["event"] == "started":
            over.discard(event.get("job", ""))
        elif event["event"] in ("finished", "failed", "part"):
            over.add(event.get("job", ""))
    return over


def _state(
    folder: Path,
    events: list[journal.Event],
    owner: journal.Event,
    waiting: list[tuple[str, str]],
    accounts: list[str],
) -> tuple[str, str]:
    """The state in a word, and why, as far as queue, journal and accounts show."""
    reasons = "; ".join(dict.fromkeys(event["reason"] for event in events if event.get("reason")))
    names = [event["event"] for event in events]
    if "finished" in names:
        return "FINISHED", ""
    if waiting:
        running = [state for state, _ in waiting if state != "PENDING"]
        return (running[0], "") if running else ("PENDING", waiting[0][1].strip("()"))
    if "failed" in names:
        return "FAILED", reasons
    bad = [state for state in accounts if state not in ("COMPLETED", *LIVE)]
    if bad:
        return bad[0], reasons
    if any(state in LIVE for state in accounts):  # the queue forgot it, the accounts not yet
        return "COMPLETING", ""
    if "COMPLETED" in accounts and product((owner.get("arguments") or ["train"])[0], folder).exists():
        return "FINISHED", ""
    return ("STOPPED" if "stopped" in names else "GONE" if owner["jobs"] else "NOT SENT"), reasons


def _figures(folder: Path, owner: journal.Event) -> tuple[str, str, str, str]:
    """Step, loss, J&F and time left."""
    command = (owner.get("arguments") or ["train"])[0]
    entries = _entries(folder / "log.jsonl")
    score = next((value for entry in reversed(entries) if (value := _score(entry)) is not None), None)
    score = _score(_json(folder / "scores.json")) if score is None else score
    shown = "" if score is None else f"{100 * score:.1f}"
    if command != "train":
        return str(done(command, folder)), "", shown, ""
    steps = [entry for entry in entries if "loss" in entry]
    if not steps:
        return "0", "", shown, ""
    last = steps[-1]
    train = _yaml(folder / "config.yaml").get("train", {})
    total = last.get("steps") or train.get("steps")
    rate = float(last.get("clips_per_s") or 0) / max(1, int(train.get("batch") or 1))
    left = _clock((total - last["step"]) / rate) if total and rate else ""
    loss = f"{last['loss']:.4f}" if last["loss"] is not None else ""
    return f"{last['step']}/{total}" if total else str(last["step"]), loss, shown, left


def _score(entry: dict[str, Any]) -> float | None:
    """J&F, in [0, 1], of a line of the log or of scores.json."""
    found = [v for k, v in entry.items() if k.endswith(("J&F-Mean", "val_jf"))]
    return float(found[0]) if found and isinstance(found[0], (int, float)) else None


def _entries(path: Path) -> list[dict[str, Any]]:
    """The last lines of a log; what is being written is left out."""
    found = []
    for line in _tail(path).splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            found.append(entry)
    return found


def _last_words(logs: Path, jobs: Sequence[str]) -> str:
    """The line of a log that says most about an end that is not in the journal."""
    lines = [
        line.strip()
        for job in jobs
        for path in sorted(logs.glob(f"{job}_*_log.err"))
        for line in _tail(path).splitlines()
    ]
    known = [
        line for line in lines if line.startswith("mamp: ") or ("error: " in line and WAITED not in line)
    ]
    return next(iter((known or [line for line in lines if line])[-1:]), "")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = read_yaml_value(path)
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def table(runs: Sequence[Status]) -> str:
    """The runs in columns, and below them why one failed or waits."""
    rows = [COLUMNS, *(run.row() for run in runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [
        f"{os.path.relpath(run.folder)}: {run.state.lower()}: {run.reason}" for run in runs if run.reason
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
