"""How much memory there is to have: of the machine, of a container or job, of the process."""

from __future__ import annotations

import os
from pathlib import Path

KB = 1024  # the unit of /proc/meminfo


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take; None where the system does not say.

    The least of: what the machine has available (/proc/meminfo), what its control groups leave (version 2
    and 1, as containers and batch systems use them), and its own limit (`ulimit -v`).
    root: where proc and sys lie.
    """
    found = [_machine(root), *_groups(root), _process(root)]
    there = [value for value in found if value is not None]
    return max(0, min(there)) if there else None


def _machine(root: Path) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * KB
    try:  # macOS and others: the whole machine, in place of nothing
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _groups(root: Path) -> list[int]:
    """What is left in each control group that this process is in, and in those above it."""
    left = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inside = top / path.strip("/")
        # a container sees its own group at the top, under whatever path
        for folder in dict.fromkeys([inside, *inside.parents, top]):
            if folder == top or top in folder.parents:
                left.append(_left(folder, *names))
    return [value for value in left if value is not None]


def _left(folder: Path, limit: str, used: str, cached: str) -> int | None:
    """A group's limit less what it uses; pages of files that can be dropped do not count."""
    most, now = _text(folder / limit).strip(), _text(folder / used).strip()
    if not most.isdigit() or not now.isdigit() or int(most) > 1 << 60:
        return None
    spare = 0
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == cached:
            spare = int(value)
    return int(most) - int(now) + spare


def _process(root: Path) -> int | None:
    """The limit on address space less what is taken of it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(root / "proc/self/statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * resource.getpagesize()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
