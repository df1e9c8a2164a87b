"""What the benchmarks say of the machine and of their own memory."""

from __future__ import annotations

import platform
import sys
from pathlib import Path


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def told(name: str) -> int:
    """Bytes that Linux tells of this process in /proc/self/status; OSError elsewhere."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak() -> int:
    """Most bytes this process held at once; getrusage would count what its parent held before it began."""
    try:
        return told("VmHWM")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
