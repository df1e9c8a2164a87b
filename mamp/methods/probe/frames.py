"""Frames to the network's input, by the published rules and to their last bit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mamp.config import ProbeInput
from mamp.ops.pillow import pillow_bicubic
from mamp.ops.sizes import resize


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
    if knobs.resize == "opencv":
        return opencv_bilinear((frame * 255).round().to(torch.int32), size).float() / 255
    return pillow_bicubic(frame, size)


def normalise(frame: Tensor, knobs: ProbeInput) -> Tensor:
    """(..., 3, H, W) in [0, 1], less the mean, by the deviation."""
    mean, std = (frame.new_tensor(v).view(3, 1, 1) for v in (knobs.mean, knobs.std))
    return (frame - mean) / std


def opencv_bilinear(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """int32 (C, H, W) of 0 to 255 -> (C, H', W'), equal to cv2.resize of uint8 with INTER_LINEAR.

    Weights are whole 2048ths, and the sum of two rows is rounded as OpenCV's vector code does it.
    """
    height, width = (
        [torch.from_numpy(v).to(pixels.device) for v in _linear(before, after, clamped=clamped)]
        for before, after, clamped in zip(pixels.shape[-2:], size, (False, True), strict=True)
    )
    (top, bottom, b0, b1), (left, right, a0, a1) = height, width
    rows = pixels[..., left] * a0 + pixels[..., right] * a1  # (C, H, W')
    above, below = rows[:, top] >> 4, rows[:, bottom] >> 4
    return (((b0[:, None] * above) >> 16) + ((b1[:, None] * below) >> 16) + 2) >> 2


def _linear(before: int, after: int, *, clamped: bool) -> tuple[np.ndarray, ...]:
    """For each new cell the two old ones and their weights in 2048ths; `clamped`: an edge cell has weight at the edge alone."""
    places = ((np.arange(after) + 0.5) * (1 / (after / before)) - 0.5).astype(np.float32)
    low = np.floor(places).astype(np.int64)
    part = places - low.astype(np.float32)
    if clamped:
        part[(low < 0) | (low >= before - 1)] = 0
    weights = [np.rint(p * np.float32(2048)).astype(np.int32) for p in (np.float32(1) - part, part)]
    ends = [np.clip(low + step, 0, before - 1) for step in (0, 1)]
    return ends[0], ends[1], weights[0], weights[1]
