"""Run the loader for thousands of steps on raw frames and packed video: it must not hang or grow.

    python scripts/benchmarks/soak.py [--soak 10000] [--workers 2] [--json FILE]

Small rendered frames, batches of 4 clips. Printed at each quarter are the memory and the open files of this
process and of its workers. Nothing is trained.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from common import options, write

from mamp.config import DataConfig, Root
from mamp.config.pack import PackConfig
from mamp.datasets.sequences import training_sequences
from mamp.loading.census import take_census
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.tools.pack import pack
from mamp.video.synthetic import write_dataset

VIDEOS, FRAMES, SIZE = 12, 12, (48, 64)  # more videos than a worker keeps open


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--soak", type=int, default=10_000, metavar="STEPS", help="steps on each kind")
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips, packed, video = (Path(folder) / name for name in ("clips", "packed", "video"))
        write_dataset(clips, clips=VIDEOS, frames=FRAMES, size=SIZE, seed=0, split="train", masks="none")
        frames = clips / "JPEGImages" / "480p"
        for out in (packed, video):
            pack(Root(path=frames), out, PackConfig(size=32), quiet=True)
        (video / "pack.json").unlink()  # without its index it is a folder of any video files
        kinds = {"frames": frames, "packed": packed, "video files": video}
        figures = {kind: soak(kind, root, args.soak, args.workers) for kind, root in kinds.items()}
    write(figures, args.json)


def soak(kind: str, root: Path, steps: int, workers: int) -> dict[str, Any]:
    """Memory and open files at the quarters of so many steps; `last_over_first` of the memory."""
    knobs = DataConfig.model_validate(
        {"root": [str(root)], "size": 32, "fit": "crop", "sampling": "random", "clips_per_video": 100,
         "workers": workers, "intervals": [1], "interval_chances": [1.0]}
    )  # fmt: skip
    videos = training_sequences(knobs.root)
    plan = ClipPlan(take_census(videos), knobs, frames=2, batch=4, seed=0)
    quarters, found, began = [max(1, steps * part // 4) for part in range(1, 5)], [], time.perf_counter()
    with contextlib.closing(ClipLoader(videos, plan, knobs).batches()) as batches:
        for step, _ in enumerate(batches, start=1):
            if step in quarters:
                found.append({"step": step, **held()})
                print(
                    f"{kind:12} step {step:7d}: {found[-1]['mb']:8.1f} MB, {found[-1]['files']} open files",
                    flush=True,
                )
            if step >= steps:
                break
    seconds = time.perf_counter() - began
    growth = found[-1]["mb"] / found[0]["mb"]
    print(f"{kind:12} last over first: {growth:.3f}, {4 * steps / seconds:.0f} clips/s")
    return {"at": found, "last_over_first": growth, "clips_per_second": 4 * steps / seconds}


def held() -> dict[str, Any]:
    """Resident megabytes and open files of this process and its workers (Linux)."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    processes = [Path("/proc") / pid for pid in ("self", *children)]
    pages = sum(int((process / "statm").read_text().split()[1]) for process in processes)
    return {
        "mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "files": sum(len(os.listdir(process / "fd")) for process in processes),
    }


if __name__ == "__main__":
    main()
