"""Resizing as Pillow does it, which published programs read their frames and masks through."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamp.ops.constants import once
from mamp.ops.sizes import size_of

BITS = 22  # after the point, in Pillow's weights


def pillow_bicubic(frame: Tensor, size: tuple[int, int]) -> Tensor:
    """Float (3, H, W) in [0, 1] -> (3, H', W') as Pillow's BICUBIC of the uint8 picture.

    On the CPU Pillow does it; elsewhere the device, which is then not waited for.
    """
    if frame.device.type != "cpu" and across_first(size_of(frame), size):
        return bicubic((frame * 255).round().to(torch.int32), size).to(frame.dtype) / 255
    pixels = (frame * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    resized = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).to(frame.device).permute(2, 0, 1).float() / 255


def across_first(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether Pillow resizes rows before columns. From 13 on the side that shrinks more is first."""
    return before[0] <= after[0] or after[1] * before[0] <= after[0] * before[1]


def bicubic(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """int32 (C, H, W) of 0 to 255 -> (C, H', W'), equal to Pillow's BICUBIC of uint8: across, then down.

    Sizes are such that Pillow does it in this order: `across_first`.
    """
    for dim in (1, 0):
        if pixels.shape[1 + dim] != size[dim]:
            pixels = pixels.transpose(2, 1 + dim)
            places, weights = _taps(pixels.shape[2], size[dim], pixels.device)  # (k, n) each
            total = sum(
                (pixels[..., place] * weight for place, weight in zip(places, weights, strict=True)),
                torch.full_like(pixels[..., :1], 1 << (BITS - 1)),
            )
            pixels = (total >> BITS).clamp(0, 255).transpose(2, 1 + dim)
    return pixels


@once
def _taps(before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of `after` cells the ones of `before` that it reads, int64 (k, n), and weights, int32.

    In fixed point, as Pillow's `precompute_coeffs` makes them.
    """
    scale = before / after
    stretch = max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    low = np.clip((centre - 2 * stretch + 0.5).astype(np.int64), 0, None)
    high = np.minimum((centre + 2 * stretch + 0.5).astype(np.int64), before)
    places = low + np.arange(2 * int(np.ceil(2 * stretch)) + 1)[:, None]  # (k, n)
    x = np.abs((places - centre + 0.5) / stretch)
    near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0)) * (places < high)
    fixed = np.rint(weights / weights.sum(0) * (1 << BITS)).astype(np.int32)
    return torch.from_numpy(places.clip(max=before - 1)).to(device), torch.from_numpy(fixed).to(device)


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
