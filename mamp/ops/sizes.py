"""Padding, resizing, and which pixels a resize reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.constants import once


def size_of(pixels: Tensor) -> tuple[int, int]:
    """(H, W) of (..., H, W)."""
    return int(pixels.shape[-2]), int(pixels.shape[-1])


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Zero-pad (..., H, W) right and bottom so that both sides are multiples of `multiple`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def short_side_factor(size: Sequence[int], short_side: int | None, *, enlarge: float = 1.0) -> float:
    """Return the factor that makes the shorter side of (H, W) `short_side`, at most `enlarge`; None is 1."""
    return min((short_side or min(size)) / min(size), enlarge)


def scaled(size: Sequence[int], factor: float) -> tuple[int, int]:
    """(H, W) times the factor, in whole pixels, one at least."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(x: Tensor, size: Sequence[int], *, antialias: bool = False) -> Tensor:
    """Resize float (C, H, W) or (N, C, H, W) bilinearly to (H', W'), half-pixel centres.

    No antialias, as published, unless asked for.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    batch = x if x.ndim == 4 else x[None]
    resized = F.interpolate(batch, tuple(size), mode="bilinear", align_corners=False, antialias=antialias)
    return resized if x.ndim == 4 else resized[0]


def opencv_bilinear(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """int32 (C, H, W) of 0 to 255 -> (C, H', W'), equal to cv2.resize of uint8 with INTER_LINEAR.

    Weights are whole 2048ths, and the sum of two rows is rounded as OpenCV's vector code does it.
    """
    (top, bottom, b0, b1), (left, right, a0, a1) = _linear_on(size_of(pixels), tuple(size), pixels.device)
    rows = pixels[..., left] * a0 + pixels[..., right] * a1  # (C, H, W')
    above, below = rows[:, top] >> 4, rows[:, bottom] >> 4
    return (((b0[:, None] * above) >> 16) + ((b1[:, None] * below) >> 16) + 2) >> 2


@once
def _linear_on(
    before: tuple[int, int], after: tuple[int, int], device: torch.device
) -> tuple[tuple[Tensor, ...], ...]:
    """`_linear` of rows and of columns, copied to the device as one: crops have a new size each frame."""
    rows, columns = (
        _linear(*sides, clamped=n == 1) for n, sides in enumerate(zip(before, after, strict=True))
    )
    both = torch.from_numpy(np.concatenate([*rows, *columns]).astype(np.int32)).to(device)
    parts = both.split([len(v) for v in (*rows, *columns)])
    return parts[:4], parts[4:]


def _linear(before: int, after: int, *, clamped: bool) -> tuple[np.ndarray, ...]:
    """For each new cell the two old ones, and their weights in 2048ths.

    clamped: an edge cell has weight at the edge alone.
    """
    places = ((np.arange(after) + 0.5) * (1 / (after / before)) - 0.5).astype(np.float32)
    low = np.floor(places).astype(np.int64)
    part = places - low.astype(np.float32)
    if clamped:
        part[(low < 0) | (low >= before - 1)] = 0
    weights = [np.rint(p * np.float32(2048)).astype(np.int32) for p in (np.float32(1) - part, part)]
    ends = [np.clip(low + step, 0, before - 1) for step in (0, 1)]
    return ends[0], ends[1], weights[0], weights[1]


def letterbox(
    size: tuple[int, int], box: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Return the largest (H, W) of the shape of `size` inside `box`, and the margins that centre it.

    Fractions are cut off, as published (STM-Cycle). Margins: left, right, top, bottom.
    """
    factor = min(box[0] / size[0], box[1] / size[1])
    height, width = max(1, int(factor * size[0])), max(1, int(factor * size[1]))
    top, left = (box[0] - height) // 2, (box[1] - width) // 2
    return (height, width), (left, box[1] - width - left, top, box[0] - height - top)


@once
def neighbours_on(source: int, target: int, device: torch.device) -> tuple[Tensor, ...]:
    """`bilinear_neighbours` on the device."""
    return tuple(torch.from_numpy(v).to(device) for v in bilinear_neighbours(source, target))


def bilinear_neighbours(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each target pixel reads in a bilinear resize with half-pixel centres, (target,) each.

    Two source pixels, int64, and the second one's part, float32; the same pixel twice where it reads only
    one. Places are exact, as OpenCV's.
    """
    place = (np.arange(target) + 0.5) * (source / target) - 0.5
    place = place.clip(0, source - 1)
    first = np.rint(place).astype(np.int64)
    first -= place - first < -2e-8  # nearer than that, a place is a pixel's centre in float32
    part = (place - first).astype(np.float32)
    part[part < 2e-8] = 0
    return first, first + (part > 0), part
