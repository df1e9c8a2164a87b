"""Whether memory stays flat over a stream without an end: an hour of small frames through the `Segmenter`.

    python scripts/benchmarks/stream.py [--minutes 60] [--fps 30] [--memory recent] [--objects 3] [--quick]
    [--json FILE]

A generator makes noise that drifts over the frame, as a camera would, and never says how long it is; a narrow
network with random weights carries the masks, frames as they are, radius 8: what is measured is memory, not
speed. Printed are the process's memory, and the bytes of memory frames, as the stream goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from machine import processor, told  # noqa: E402

from mamp import config  # noqa: E402
from mamp.core.files import MB  # noqa: E402
from mamp.methods.mamp.encoder import build_model  # noqa: E402
from mamp.ops.folding import fold_batch_norms  # noqa: E402
from mamp.segmentation.segmenter import Segmenter  # noqa: E402

SIZE = (48, 64)  # height, width
MARKS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)  # parts of the stream at which memory is read


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of video")
    parser.add_argument("--fps", type=float, default=30, help="frames a second of the video")
    parser.add_argument("--memory", default="recent", help="method.propagation.memory")
    parser.add_argument("--objects", type=int, default=3, help="objects that are followed")
    parser.add_argument(
        "--quick", action="store_true", help="nine seconds of video: only to see that it runs"
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    args = parser.parse_args()
    frames = round((0.15 if args.quick else args.minutes) * 60 * args.fps)
    figures = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "frames": frames,
        "objects": args.objects,
        "memory_rule": args.memory,
        **follow(frames, memory=args.memory, objects=args.objects),
    }
    print(f"last over first: {figures['last_over_first']:.3f}, {figures['frames_per_second']:.0f} frames/s")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


def follow(frames: int, *, memory: str, objects: int) -> dict[str, Any]:
    """Resident bytes and bytes of memory frames at each mark of a stream of so many frames."""
    method = config.load(
        None,
        [
            "method.encoder.width=0.125",
            "method.encoder.features=8",
            f"method.propagation.memory={memory}",
            "method.propagation.budget_mb=0.2",
            "method.propagation.short_side=null",
            "method.propagation.radius=8",
        ],
    ).method
    segmenter = Segmenter(fold_batch_norms(build_model(method)), method)
    marks = sorted({max(10, round(part * frames)) for part in MARKS})
    found, began = [], time.perf_counter()
    for index, frame in enumerate(camera(), start=1):
        segmenter.step(frame, first_mask(objects) if index == 1 else None)
        if index in marks:
            resident, held = told("VmRSS"), segmenter.memory_bytes
            found.append({"frame": index, "resident": resident, "memory_frames": held})
            print(
                f"frame {index:7d}: process {resident / MB:7.1f} MB, memory frames {held / MB:.2f} MB",
                flush=True,
            )
        if index == marks[-1]:
            break
    seconds = time.perf_counter() - began
    return {
        "at": found,
        "last_over_first": found[-1]["resident"] / found[0]["resident"],
        "frames_per_second": frames / seconds,
    }


def camera() -> Iterator[np.ndarray]:
    """uint8 (H, W, 3) frames without an end."""
    rng = np.random.default_rng(0)
    scene = rng.integers(256, size=(4 * SIZE[0], 4 * SIZE[1], 3), dtype=np.uint8)
    t = 0
    while True:
        yield np.roll(scene, (t // 3, t // 2), axis=(0, 1))[: SIZE[0], : SIZE[1]]
        t += 1


def first_mask(objects: int) -> np.ndarray:
    """uint8 (H, W): bars side by side."""
    columns = np.arange(SIZE[1]) * (objects + 1) // SIZE[1]
    return np.broadcast_to(columns.astype(np.uint8), SIZE).copy()


if __name__ == "__main__":
    main()
