"""A frame in any form that a caller has it -> pixels on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mamp.core.errors import UserError
from mamp.ops.sizes import size_of


def frame_size(frame: np.ndarray | Tensor | Image.Image) -> tuple[int, int]:
    """(H, W) of a frame in either form; UserError when it is none."""
    return size_of(as_pixels(frame))


def as_pixels(frame: np.ndarray | Tensor | Image.Image) -> Tensor:
    """(3, H, W) uint8, or float in [0, 1], wherever it lies."""
    if isinstance(frame, Image.Image):
        frame = np.array(ImageOps.exif_transpose(frame).convert("RGB"))
    if isinstance(frame, np.ndarray):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0 or frame.dtype != np.uint8:
            raise UserError(
                f"a frame is {frame.dtype} {frame.shape}; give uint8 (height, width, 3) RGB, or a (3, H, W)"
                " tensor"
            )
        frame = np.ascontiguousarray(frame)
        return torch.from_numpy(frame if frame.flags.writeable else frame.copy()).permute(2, 0, 1)
    if isinstance(frame, Tensor):
        known = frame.dtype == torch.uint8 or frame.is_floating_point()
        if frame.ndim != 3 or frame.shape[0] != 3 or frame.numel() == 0 or not known:
            raise UserError(
                f"a frame is {frame.dtype} {tuple(frame.shape)}; give a (3, height, width) uint8 or float"
                " tensor"
            )
        return frame.detach()
    raise UserError(
        f"a frame is a {type(frame).__name__}; give a uint8 (height, width, 3) array, a PIL image or a"
        " (3, H, W) tensor"
    )


def as_image(pixels: Tensor, device: torch.device) -> Tensor:
    """(3, H, W) float32 in [0, 1] on the device."""
    image = as_float(pixels.to(device))
    if pixels.dtype == torch.uint8:
        return image
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):  # a number that is none fails too
        raise UserError(
            f"a float frame has values from {low:.3g} to {high:.3g}; give them in [0, 1], or as uint8"
        )
    return image


def as_float(pixels: Tensor) -> Tensor:
    """Float32; uint8 becomes [0, 1]."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


def by(size: Any) -> str:
    """(H, W) as people say it: width x height."""
    return f"{size[1]}x{size[0]}"
