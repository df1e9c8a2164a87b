"""Whether AFB-URR's banks keep within their budget over a long video: memory, cells and speed as it goes on.

    python scripts/benchmarks/bank.py [--frames 5000] [--budget 400] [--objects 2] [--quick] [--json FILE]

Small frames of noise that drifts, with new noise coming in all the time, so that most cells are new and the
banks are always full; a narrow network with random weights carries the masks. Printed at each tenth of the
video: the process's memory, the most cells there were in all banks together after any frame up to then, and
the speed since the tenth before, in frames a second of processor time, which other work on the machine
changes little.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from common import options, processor, status_bytes, write

from mamp import config
from mamp.core.files import MB
from mamp.methods.afb_urr.network import build_model
from mamp.segmentation.segmenter import Segmenter

SIZE = (48, 64)  # height, width
NETWORK = "{backbone: resnet18, width: 0.125, key: 16, value: 16, decoder: 16, local: 8}"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--budget", type=int, default=400, help="method.propagation.budget")
    parser.add_argument("--objects", type=int, default=2, help="objects that are followed")
    parser.add_argument("--quick", action="store_true", help="200 frames: only to see that it runs")
    args = parser.parse_args()
    frames = 200 if args.quick else args.frames
    figures = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "frames": frames,
        "objects": args.objects,
        "budget": args.budget,
        **follow(frames, budget=args.budget, objects=args.objects),
    }
    print(
        f"memory, last over second tenth: {figures['memory_ratio']:.3f}; speed, the same:"
        f" {figures['speed_ratio']:.3f}"
    )
    print(f"at most {figures['most_cells']} cells of {args.budget}; {figures['report']}")
    write(figures, args.json)


def follow(frames: int, *, budget: int, objects: int) -> dict[str, Any]:
    """Resident bytes, cells and speed at each tenth of a video of so many frames."""
    torch.manual_seed(0)
    method = config.load(
        None, ["method.name=afb_urr", f"method.network={NETWORK}", f"method.propagation.budget={budget}",
               "method.propagation.short_side=null", "method.propagation.merge_above=0.999"]
    ).method  # fmt: skip
    segmenter = Segmenter(build_model(method).eval(), method)
    marks = {round(frames * tenth / 10) for tenth in range(1, 11)}
    found, most, began, before = [], 0, time.process_time(), 0
    for index, frame in zip(range(1, frames + 1), drifting(), strict=False):
        segmenter.step(frame, first_mask(objects) if index == 1 else None)
        most = max(most, segmenter.report.cells)
        if index in marks:
            now = time.process_time()
            speed, began, before = (index - before) / (now - began), now, index
            found.append(
                {"frame": index, "resident": status_bytes("VmRSS"), "cells": most, "frames_per_second": speed}
            )
            print(
                f"frame {index:6d}: process {status_bytes('VmRSS') / MB:7.1f} MB, at most {most} cells,"
                f" {speed:.1f} frames/s",
                flush=True,
            )
    return {
        "at": found,
        "most_cells": most,
        "memory_ratio": found[-1]["resident"] / found[1]["resident"],
        "speed_ratio": found[-1]["frames_per_second"] / found[1]["frames_per_second"],
        "report": str(segmenter.report),
        "usage": asdict(segmenter.report),
    }


def drifting() -> Iterator[np.ndarray]:
    """uint8 (H, W, 3) frames without an end: noise that moves to the left, with new noise from the right."""
    rng = np.random.default_rng(0)
    frame = rng.integers(256, size=(*SIZE, 3), dtype=np.uint8)
    while True:
        yield frame
        frame = np.roll(frame, -2, axis=1)
        frame[:, -2:] = rng.integers(256, size=(SIZE[0], 2, 3), dtype=np.uint8)


def first_mask(objects: int) -> np.ndarray:
    """uint8 (H, W): bars side by side."""
    columns = np.arange(SIZE[1]) * (objects + 1) // SIZE[1]
    return np.broadcast_to(columns.astype(np.uint8), SIZE).copy()


if __name__ == "__main__":
    main()
