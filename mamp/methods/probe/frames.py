"""Frames to the network's input, by the published rules and to their last bit."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamp.config import ProbeInput
from mamp.ops.sizes import opencv_bilinear, resize


def input_size(size: tuple[int, int], knobs: ProbeInput, *, patch: int = 1) -> tuple[int, int]:
    """(H, W) of a frame -> height and width by the rule; `patch` in pixels counts for dinov3 alone."""
    height, width = size
    short = knobs.short
    if knobs.rule == "native":
        return height, width
    if knobs.rule == "fixed":
        return knobs.size
    if knobs.rule == "short":
        factor = short / min(height, width)
        return int(height * factor + 0.5), int(width * factor + 0.5)
    if knobs.rule == "dino":
        if height > width:
            return int(short * height / width) // 64 * 64, short
        return short, int(short * width / height) // 64 * 64
    low = -(-short // patch) * patch  # its rounding goes into the other side
    if width > height:
        return low, -int(-(width * low / height) // patch) * patch
    return -int(-(height * low / width) // patch) * patch, low


def whole_patches(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Both sides rounded up to whole patches."""
    return -(-size[0] // patch) * patch, -(-size[1] // patch) * patch


def dino_label_grid(size: tuple[int, int], short: int, patch: int) -> tuple[int, int]:
    """The grid (h, w) that DINO's script gives the first mask: transposed for a square frame, which it garbles."""
    height, width = size
    if width > height:
        th, tw = short, int(short * width / height) // 64 * 64
    else:
        th, tw = int(short * height / width) // 64 * 64, short
    return th // patch, tw // patch


def prepare(frame: Tensor, size: tuple[int, int], knobs: ProbeInput) -> Tensor:
    """Float (3, H, W) RGB in [0, 1] resized to (H', W') as `knobs.resize` says; not normalised."""
    if tuple(frame.shape[-2:]) == size:
        return frame
    if knobs.resize == "float":
        return resize(frame, size)
    whole = (frame * 255).round()
    if knobs.resize == "opencv":
        return opencv_bilinear(whole.to(torch.int32), size).float() / 255
    pixels = whole.to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    resized = np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).to(frame.device).permute(2, 0, 1).float() / 255


def normalise(frame: Tensor, knobs: ProbeInput) -> Tensor:
    """(..., 3, H, W) in [0, 1], less the mean, by the deviation."""
    mean, std = (frame.new_tensor(v).view(3, 1, 1) for v in (knobs.mean, knobs.std))
    return (frame - mean) / std


def nearest_places(before: int, after: int) -> Tensor:
    """Which of `before` cells Pillow's nearest takes for each of `after`: its own running sum of doubles."""
    step = before / after
    return torch.from_numpy(np.cumsum(np.r_[step * 0.5, np.full(after - 1, step)]).astype(np.int64))


def pillow_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., H, W) -> (..., H', W') as Pillow's NEAREST."""
    rows, columns = (nearest_places(n, m).to(x.device) for n, m in zip(x.shape[-2:], size, strict=True))
    return x[..., rows, :][..., columns]
