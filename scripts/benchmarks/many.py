"""Seconds a frame and peak memory with many objects: a grid of discs, a colour each, that drift.

python scripts/benchmarks/many.py [--objects 300] [--size 854x480] [--frames 4] [key=value ...]
"""

from __future__ import annotations

import time

import numpy as np
import torch
from common import options, peak, write

from mamp.segmentation.model import load


def grid(objects: int, width: int, height: int) -> np.ndarray:
    """A label map (H, W) of so many discs; of squares where discs would have no pixel."""
    across = int(np.ceil(np.sqrt(objects * width / height)))
    down = -(-objects // across)
    y, x = np.mgrid[:height, :width]
    cell = (y * down // height) * across + x * across // width + 1
    inside = ((y * down / height) % 1 - 0.5) ** 2 + ((x * across / width) % 1 - 0.5) ** 2 < 0.16
    labels = np.where(inside & (cell <= objects), cell, 0)
    if len(np.unique(labels)) <= objects:
        labels = np.where(cell <= objects, cell, 0)
    return labels.astype(np.uint16)


def main() -> None:
    """Run with the options and settings given."""
    parser = options(__doc__)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--size", default="854x480")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    args = parser.parse_args()
    torch.set_num_threads(1)
    width, height = map(int, args.size.split("x"))
    labels = grid(args.objects, width, height)
    colours = np.random.default_rng(0).integers(60, 188, (args.objects + 1, 3), dtype=np.uint8)
    segmenter = load(overrides=args.settings, device="cpu").segmenter()
    seconds, equal = [], []
    for t in range(args.frames):
        moved = np.roll(labels, (t, t), (0, 1))
        began = time.perf_counter()
        found = segmenter.step(colours[moved], moved if t == 0 else None)
        seconds.append(time.perf_counter() - began)
        equal.append(float((found == moved)[moved > 0].mean()))
        print(f"frame {t}: {seconds[-1]:.2f} s, {equal[-1]:.3f} of the objects' pixels right", flush=True)
    print(f"peak {peak() / 1e6:,.0f} MB")
    write({"seconds": seconds, "right": equal, "peak_bytes": peak()}, args.json)


if __name__ == "__main__":
    main()
