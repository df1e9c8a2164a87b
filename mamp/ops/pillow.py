"""Resizing as Pillow does it, which published programs read their frames and masks through."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamp.ops.constants import once


def pillow_bicubic(frame: Tensor, size: tuple[int, int]) -> Tensor:
    """Float (3, H, W) in [0, 1] -> (3, H', W') as Pillow's BICUBIC of the uint8 picture."""
    pixels = (frame * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    resized = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).to(frame.device).permute(2, 0, 1).float() / 255


def nearest_places(before: int, after: int) -> Tensor:
    """Which of `before` cells Pillow's nearest takes for each of `after`: its own running sum of doubles."""
    step = before / after
    return torch.from_numpy(np.cumsum(np.r_[step * 0.5, np.full(after - 1, step)]).astype(np.int64))


@once
def _places_on(before: int, after: int, device: torch.device) -> Tensor:
    return nearest_places(before, after).to(device)


def pillow_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., H, W) -> (..., H', W') as Pillow's NEAREST."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    rows, columns = (_places_on(n, m, x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    return x[..., rows, :][..., columns]
