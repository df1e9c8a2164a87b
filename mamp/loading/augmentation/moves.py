"""Move each frame of a clip by itself, on the device, so that a still picture becomes a video."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.config.data import DataConfig, Moves

GRID = 4  # control points of a warp along each side
# numbers drawn for each frame, more than are used (see batches.py)
DRAWS = 16 + 2 * GRID * GRID
_UNMOVED = slice(4, 9)  # of those: angle, shift right and down, scale, shear
_FLIP = 9
_COLOURS = slice(10, 14)


def trained_size(data: DataConfig, loaded: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the frames that come out of `move_frames`, from those that workers hand over."""
    return loaded if data.fit == "letterbox" else (data.size, data.size)


@torch.no_grad()
def move_frames(
    frames: Tensor, labels: Tensor | None, knobs: Moves, *, size: tuple[int, int], draw: Tensor
) -> tuple[Tensor, Tensor | None]:
    """uint8 frames (B, T, 3, H, W) and labels (B, T, H, W) -> the same as `size`, each frame moved by itself.

    The first frame of each clip is only cropped, as published (AFB-URR): the others are flipped, recoloured,
    warped, moved about their middle, and cropped. Frames are read bilinearly, labels from the nearest pixel;
    outside is black background.
    draw: (B, T, DRAWS) random numbers in [0, 1), on the CPU.
    """
    clips, length = frames.shape[:2]
    draw = _first_only_cropped(draw).flatten(0, 1).to(frames.device)
    images = frames.flatten(0, 1).float() / 255  # (N, 3, H, W), N = B*T
    maps = None if labels is None else labels.flatten(0, 1)[:, None].float()
    mirrored = (draw[:, _FLIP] < knobs.flip)[:, None, None, None]
    images = _recoloured(torch.where(mirrored, images.flip(-1), images), draw[:, _COLOURS], knobs)
    if maps is not None:
        maps = torch.where(mirrored, maps.flip(-1), maps)
    if knobs.warp:
        grid = _warp_grid(draw[:, 16:], knobs.warp, size=images.shape[-2:])
        images = F.grid_sample(images, grid, mode="bilinear", align_corners=True)
        maps = None if maps is None else F.grid_sample(maps, grid, mode="nearest", align_corners=True)
    matrix = _crops(draw, knobs, before=images.shape[-2:], after=size) @ _affine(
        draw, knobs, size=images.shape[-2:]
    )
    moved = _apply(images, matrix, size, mode="bilinear")
    moved = (moved.clamp(0, 1) * 255).round().to(torch.uint8).unflatten(0, (clips, length))
    if maps is None:
        return moved, None
    maps = _apply(maps, matrix, size, mode="nearest").round().to(torch.uint8)
    return moved, maps[:, 0].unflatten(0, (clips, length))


def _first_only_cropped(draw: Tensor) -> Tensor:
    """The numbers with those of first frames such that nothing but the crop changes them."""
    draw = draw.clone()
    draw[:, 0, 4:] = 0.5
    draw[:, 0, _FLIP] = 1
    return draw


def _recoloured(images: Tensor, draw: Tensor, knobs: Moves) -> Tensor:
    """Brightness, contrast, saturation, hue of each image (N, 3, H, W), one after the other; draw (N, 4)."""
    from kornia import enhance

    part = 2 * draw - 1
    if knobs.brightness:
        images = enhance.adjust_brightness_accumulative(images, 1 + knobs.brightness * part[:, 0])
    if knobs.contrast:
        images = enhance.adjust_contrast_with_mean_subtraction(images, 1 + knobs.contrast * part[:, 1])
    if knobs.saturation:
        images = enhance.adjust_saturation_with_gray_subtraction(images, 1 + knobs.saturation * part[:, 2])
    if knobs.hue:
        images = enhance.adjust_hue(images.clamp(0, 1), 2 * math.pi * knobs.hue * part[:, 3])
    return images


def _warp_grid(draw: Tensor, strength: float, *, size: tuple[int, ...]) -> Tensor:
    """Source of each pixel, (N, H, W, 2) in [-1, 1], by thin plate splines through displaced points.

    draw: (N, 2*GRID*GRID). strength: largest displacement, as a part of each side.
    """
    from kornia.geometry.transform import get_tps_transform, warp_points_tps

    height, width = size[-2:]
    line = torch.linspace(-1, 1, GRID, device=draw.device)
    points = torch.cartesian_prod(line, line)[None].expand(len(draw), -1, -1)
    displaced = points + 2 * strength * (2 * draw.unflatten(1, (-1, 2)) - 1)
    weights, affine = get_tps_transform(points, displaced)
    x, y = (torch.linspace(-1, 1, n, device=draw.device) for n in (width, height))
    places = torch.cartesian_prod(y, x).flip(-1)[None].expand(len(draw), -1, -1)  # (N, H*W, 2), x y
    return warp_points_tps(places, points, weights, affine).unflatten(1, (height, width))


def _affine(draw: Tensor, knobs: Moves, *, size: tuple[int, ...]) -> Tensor:
    """(N, 3, 3) of pixel centres: turned, scaled, sheared about the middle, then shifted by whole pixels."""
    from kornia.geometry.transform import get_affine_matrix2d

    height, width = size[-2:]
    sides = draw.new_tensor([width, height])
    turn, right, down, scale, shear = (2 * draw[:, _UNMOVED] - 1).unbind(1)
    shift = (knobs.shift * torch.stack((right, down), dim=1) * sides).round()
    return get_affine_matrix2d(
        shift,
        ((sides - 1) / 2).expand(len(draw), 2),
        (1 + knobs.scale * scale)[:, None].expand(-1, 2),
        knobs.rotate * turn,
        sx=math.radians(knobs.shear) * shear,
        sy=torch.zeros_like(shear),
    )


def _crops(draw: Tensor, knobs: Moves, *, before: tuple[int, ...], after: tuple[int, int]) -> Tensor:
    """(N, 3, 3) of pixel centres: a box, cut to the frame where it is larger, stretched to `after`."""
    height, width = before[-2:]
    area, ratio, x, y = draw[:, :4].unbind(1)
    area = knobs.crop[0] + (knobs.crop[1] - knobs.crop[0]) * area
    low, high = (math.log(side) for side in knobs.ratio)
    ratio = torch.exp(low + (high - low) * ratio)
    w = (area * ratio).sqrt().clamp(max=1) * width
    h = (area / ratio).sqrt().clamp(max=1) * height
    matrix = torch.zeros(len(draw), 3, 3, device=draw.device)
    across, down = (after[1] - 1) / (w - 1).clamp(min=1), (after[0] - 1) / (h - 1).clamp(min=1)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = across, down, 1
    matrix[:, 0, 2], matrix[:, 1, 2] = -x * (width - w) * across, -y * (height - h) * down
    return matrix


def _apply(images: Tensor, matrix: Tensor, size: tuple[int, int], *, mode: str) -> Tensor:
    from kornia.geometry.transform import warp_affine

    return warp_affine(images, matrix[:, :2], size, mode=mode, padding_mode="zeros", align_corners=True)
