"""Free memory, read from the files in which Linux says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mamp.core.memory import free_bytes

MACHINE = "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 64 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MACHINE, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/batch/job\n",
    "sys/fs/cgroup/batch/memory.max": "50000\n",
    "sys/fs/cgroup/batch/memory.current": "30000\n",
    "sys/fs/cgroup/batch/memory.stat": "anon 1\ninactive_file 5000\n",
    "sys/fs/cgroup/batch/job/memory.max": "max\n",
    "sys/fs/cgroup/batch/job/memory.current": "100\n",
}
V1 = {
    "proc/self/cgroup": "5:cpu:/\n4:memory:/docker/abc\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "40000",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "10000",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 1000\n",
}
NO_LIMIT = {**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}
OVER = {**V2, "sys/fs/cgroup/batch/memory.current": "70000"}


@pytest.mark.parametrize(
    ("files", "free"),
    [({}, 64 * 1024), (V2, 25000), (V1, 31000), (NO_LIMIT, 64 * 1024), (OVER, 0)],
    ids=["machine", "group 2", "group 1", "group without limit", "group that is full"],
)
def test_free_is_what_the_machine_and_every_group_above_leave(tmp_path, files, free):
    assert free_bytes(machine(tmp_path, files)) == free


def test_this_machine_says_something():
    assert free_bytes() is None or free_bytes() > 0
