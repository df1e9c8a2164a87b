"""What the benchmarks share: this checkout's package, options, figures, the machine, memory.

A benchmark imports it before `mamp`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks measure this checkout


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is `doc`, with --json."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the figures go")
    return parser


def write(figures: object, path: Path | None) -> None:
    """Write the figures where --json says, if it was given."""
    if path:
        path.write_text(json.dumps(figures, indent=2) + "\n")


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def told(name: str) -> int:
    """Bytes that Linux lists of this process in /proc/self/status; OSError elsewhere."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak() -> int:
    """Most bytes this process held at once; getrusage would count what its parent held before it began."""
    try:
        return told("VmHWM")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
