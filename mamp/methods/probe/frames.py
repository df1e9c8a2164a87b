"""Frames to the network's input, by the published rules and to their last bit."""

from __future__ import annotations

import torch
from torch import Tensor

from mamp.methods.probe.config import ProbeInput
from mamp.ops.colour import channels
from mamp.ops.pillow import pillow_bicubic
from mamp.ops.sizes import opencv_bilinear, resize, scaled, short_side_factor


def input_size(
    size: tuple[int, int], knobs: ProbeInput, *, patch: int = 1, stride: int = 1
) -> tuple[int, int]:
    """(H, W) of a frame -> height and width of the input by the rule.

    patch: in pixels, for dinov3 alone. stride: pixels of a feature cell, for cells.
    """
    height, width = size
    short = knobs.short
    if knobs.rule == "native":
        return height, width
    if knobs.rule == "fixed":
        return knobs.size
    if knobs.rule == "cells":
        return scaled(size, short_side_factor(size, knobs.cells * stride, enlarge=knobs.enlarge))
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
    mean, std = channels(frame.device, knobs.mean, knobs.std)
    return (frame - mean) / std
