"""Outlines and run lengths -> pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mamp.core.errors import Malformed


def filled(points: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the pixels whose centres lie inside an outline of (x, y) points, by the even-odd rule.

    Coordinates are those of COCO, labelme and YOLO: the first pixel reaches from 0 to 1. Raises ValueError
    for an outline of fewer than three points, and for points that are no numbers.
    """
    height, width = size
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise Malformed("an outline needs three points or more")
    corners[:, 0] = corners[:, 0].clip(-width, 2 * width)
    corners[:, 1] = corners[:, 1].clip(-height, 2 * height)
    turns = np.zeros((height, width + 1), bool)  # whether an odd number of edges is crossed there
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        rows = np.arange(max(0, math.ceil(y0 - 0.5)), min(height, math.ceil(y1 - 0.5)))
        if len(rows):
            across = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            turns[rows, np.ceil(across - 0.5).clip(0, width).astype(np.int64)] ^= True
    return np.logical_xor.accumulate(turns[:, :width], axis=1)


def ellipse(centre: Sequence[float], radius: float, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the pixels whose centres lie in a circle."""
    x = np.arange(size[1])[None]
    inside = np.zeros(size, bool)
    for y in range(size[0]):  # row by row, as a large picture has many
        inside[y] = (x + 0.5 - centre[0]) ** 2 + (y + 0.5 - centre[1]) ** 2 <= radius**2
    return inside


def runs(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) of lengths of runs outside and inside, by turns, down the columns.

    Raises ValueError where they are not of a picture of this size.
    """
    lengths = np.asarray(counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or (lengths > math.prod(size)).any():
        raise Malformed("run lengths of no picture")
    if int(lengths.sum()) != math.prod(size):
        raise Malformed(f"run lengths of {int(lengths.sum())} pixels for {math.prod(size)}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[::-1]).T


def run_lengths(text: str) -> list[int]:
    """Decode run lengths from pycocotools's string.

    Five bits a character, from the fourth on the difference to the one before the last. Raises ValueError for
    another string.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise Malformed("no run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # negative
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts
