"""Padding at the right and the bottom, and resizing."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Zero-pad (..., H, W) right and bottom so that both sides are multiples of `multiple`."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Float (C, H, W) or (N, C, H, W) bilinearly to (H', W'), half-pixel centres, no antialias, as published."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    batch = x if x.ndim == 4 else x[None]
    resized = F.interpolate(batch, tuple(size), mode="bilinear", align_corners=False)
    return resized if x.ndim == 4 else resized[0]
