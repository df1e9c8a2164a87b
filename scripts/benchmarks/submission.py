"""Seconds from `python -m launch.submit train` to the first step of the training.

    python scripts/benchmarks/submission.py CONFIG [key=value ...] [--local] [--tries 3]

CONFIG is any recipe that the cluster can train; each try is a run of one step in a new folder under runs/.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common  # noqa: F401

from launch import journal


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Seconds from the submission of a training to its first step."
    )
    parser.add_argument("--tries", type=int, default=3)
    args, words = parser.parse_known_args()
    Path("runs").mkdir(exist_ok=True)
    found = [
        measure(words, Path(tempfile.mkdtemp(prefix="submission-", dir="runs"))) for _ in range(args.tries)
    ]
    print(f"median of {args.tries}: {statistics.median(found):.1f} s")
    return 0


def measure(words: list[str], run: Path) -> float:
    """Seconds until the log has its first line; prints on the way when the job began."""
    command = [sys.executable, "-m", "launch.submit", "train", *words, "train.steps=1", "--run", str(run)]
    began = time.time()
    process = subprocess.Popen(command)
    log = run / "log.jsonl"
    while not log.exists() or not log.stat().st_size:
        if process.poll():
            sys.exit(process.returncode)
        if why := journal.reason(run):
            sys.exit(why)
        time.sleep(0.05)
    seconds = time.time() - began
    started = next(event["time"] for event in journal.read(run) if event["event"] == "started")
    print(
        f"{run}: the job began after {started - began:.1f} s, its first step was done after {seconds:.1f} s"
    )
    process.wait()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
