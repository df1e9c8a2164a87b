"""Padding, resizing, and which pixels a resize reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Zero-pad (..., H, W) right and bottom so that both sides are multiples of `multiple`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def resize(x: Tensor, size: Sequence[int], *, antialias: bool = False) -> Tensor:
    """Float (C, H, W) or (N, C, H, W) bilinearly to (H', W'), half-pixel centres; no antialias, as published, unless asked for."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    batch = x if x.ndim == 4 else x[None]
    resized = F.interpolate(batch, tuple(size), mode="bilinear", align_corners=False, antialias=antialias)
    return resized if x.ndim == 4 else resized[0]


def letterbox(
    size: tuple[int, int], box: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """The largest (H, W) of the shape of `size` inside `box`, fractions cut off as published (STM-Cycle), and the margins
    left, right, top, bottom that put it in the middle."""
    factor = min(box[0] / size[0], box[1] / size[1])
    height, width = max(1, int(factor * size[0])), max(1, int(factor * size[1]))
    top, left = (box[0] - height) // 2, (box[1] - width) // 2
    return (height, width), (left, box[1] - width - left, top, box[0] - height - top)


def bilinear_neighbours(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What every target pixel reads in a bilinear resize with half-pixel centres, (target,) each: two source pixels,
    int64, and the second one's part, float32; the same pixel twice where it reads only one. Places are exact, as OpenCV's."""
    place = (np.arange(target) + 0.5) * (source / target) - 0.5
    place = place.clip(0, source - 1)
    first = np.rint(place).astype(np.int64)
    first -= place - first < -2e-8  # nearer than that float32 cannot tell a place from a pixel's centre
    part = (place - first).astype(np.float32)
    part[part < 2e-8] = 0
    return first, first + (part > 0), part
