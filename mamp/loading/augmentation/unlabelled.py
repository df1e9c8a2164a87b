"""Augmentation on the device: one draw per clip, the same for all its frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mamp.config import Augment

DRAWS = 12  # numbers drawn for each clip; the last two are not used, but go on being drawn (see batches.py)


@torch.no_grad()
def augment(frames: Tensor, knobs: Augment, *, size: int, draw: Tensor) -> Tensor:
    """uint8 (B, T, 3, H, W) -> float (B, T, 3, S, S) in [0, 1], S = size.

    draw: (B, DRAWS) random numbers in [0, 1), a row for each clip.
    knobs.crop: a random box of that part of the area and of aspect 3/4 to 4/3, stretched to the square.
    knobs.brightness: s; the clip is multiplied by 1-s..1+s, then shifted by -s..s, and cut to [0, 1].
    knobs.saturation: s; each pixel's distance from its grey is multiplied by 1-s..1+s, and cut to [0, 1].
    knobs.hue: s; hues are turned by -s..s of the whole circle.
    With everything off and H = W = size the result is exactly frames / 255.
    """
    draw = draw.to(frames.device)
    length, _, height, width = frames.shape[1:]
    images = frames.flatten(1, 2).float() / 255  # (B, T*3, H, W): one box serves all frames of a clip
    if knobs.crop != (1.0, 1.0) or (height, width) != (size, size):
        images = _crop(images, draw[:, :4], size=size, crop=knobs.crop)
    if knobs.flip:
        images = torch.where((draw[:, 4] < knobs.flip)[:, None, None, None], images.flip(-1), images)
    if knobs.brightness:
        images = _brighten(images, 2 * draw[:, 5:7] - 1, strength=knobs.brightness)
    videos = images.unflatten(1, (length, 3))  # (B, T, 3, S, S)
    if knobs.saturation:
        videos = _saturate(videos, 2 * draw[:, 8] - 1, strength=knobs.saturation)
    if knobs.hue:
        videos = _turn_hue(videos, 2 * draw[:, 9] - 1, strength=knobs.hue)
    if knobs.reverse:
        videos = torch.where((draw[:, 7] < knobs.reverse)[:, None, None, None, None], videos.flip(1), videos)
    return videos


def _brighten(images: Tensor, draw: Tensor, *, strength: float) -> Tensor:
    """Contrast, then brightness, of each image (B, N, H, W); draw (B, 2) in [-1, 1]."""
    from kornia.enhance import adjust_brightness, adjust_contrast

    return adjust_brightness(adjust_contrast(images, 1 + strength * draw[:, 0]), strength * draw[:, 1])


def _saturate(videos: Tensor, draw: Tensor, *, strength: float) -> Tensor:
    """Less or more colour for each clip (B, T, 3, H, W); draw (B,) in [-1, 1]."""
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    length = videos.shape[1]
    factor = (1 + strength * draw).repeat_interleave(length)
    return adjust_saturation_with_gray_subtraction(videos.flatten(0, 1), factor).unflatten(0, (-1, length))


def _turn_hue(videos: Tensor, draw: Tensor, *, strength: float) -> Tensor:
    """Other colours for each clip (B, T, 3, H, W); draw (B,) in [-1, 1]."""
    from kornia.enhance import adjust_hue

    length = videos.shape[1]
    angle = (2 * math.pi * strength * draw).repeat_interleave(length)
    return adjust_hue(videos.flatten(0, 1), angle).unflatten(0, (-1, length)).clamp(0, 1)


def _crop(images: Tensor, draw: Tensor, *, size: int, crop: tuple[float, float]) -> Tensor:
    """One box of each image (B, N, H, W), stretched to (size, size); draw (B, 4): area, aspect, x, y."""
    from kornia.geometry.transform import crop_and_resize

    height, width = images.shape[-2:]
    area, aspect, x, y = draw.unbind(1)
    if crop == (1.0, 1.0):
        w, h = torch.full_like(x, width), torch.full_like(y, height)
    else:
        area = (crop[0] + (crop[1] - crop[0]) * area) * height * width
        aspect = torch.exp((2 * aspect - 1) * math.log(4 / 3))
        w, h = (area * aspect).sqrt().clamp(max=width), (area / aspect).sqrt().clamp(max=height)
    left, top = x * (width - w), y * (height - h)
    right, bottom = left + w - 1, top + h - 1  # kornia's corners are centres of pixels
    corners = (left, top, right, top, right, bottom, left, bottom)
    boxes = torch.stack(corners, dim=1).unflatten(1, (4, 2))  # (B, 4, 2), x y, clockwise from the top left
    return crop_and_resize(images, boxes, (size, size), padding_mode="border").clamp(0, 1)
