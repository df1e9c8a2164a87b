"""Augmentation of clips with masks, on the device: one draw per clip, frames and labels moved as one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mamp.config import Affine
from mamp.loading.labels import UNLABELLED
from mamp.ops.sizes import size_of

DRAWS = 16  # numbers drawn for each clip, more than are used (see batches.py)
CHOICES = 255  # and so many more, by which its objects are chosen


def choose_objects(labels: Tensor, most: int, draw: Tensor, *, others: int = UNLABELLED) -> Tensor:
    """Return uint8 (T, H, W): objects of the first frame, at most `most`, drawn at random, as 1, 2, ...

    Others become `others`: 255 (unlabelled) as STM-Cycle publishes it, or background.
    draw: (CHOICES,) random numbers.
    """
    table, _ = chosen_objects(labels[0].cpu(), most, draw, others=others)
    return renumbered(labels[None], table[None])[0]


def chosen_objects(first: Tensor, most: int, draw: Tensor, *, others: int) -> tuple[Tensor, int]:
    """What `choose_objects` makes of each id, uint8 (256,), and how many objects it keeps.

    first: labels (H, W) of the first frame, on the CPU.
    """
    ids = [i for i in first.unique().tolist() if i not in (0, UNLABELLED)]
    if len(ids) > most:
        ids = sorted(ids[int(n)] for n in draw[: len(ids)].argsort()[:most])
    table = torch.full((256,), others, dtype=torch.uint8)
    table[0], table[UNLABELLED] = 0, UNLABELLED
    for number, i in enumerate(ids, start=1):
        table[i] = number
    return table, len(ids)


def renumbered(labels: Tensor, tables: Tensor) -> Tensor:
    """uint8 (B, T, H, W) by a table (256,) for each clip."""
    found = tables.to(labels.device).gather(1, labels.flatten(1).long())
    return found.view(labels.shape)


@torch.no_grad()
def augment_masked(frames: Tensor, labels: Tensor, knobs: Affine, *, draw: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 frames (B, T, 3, H, W), labels (B, T, H, W) -> float frames, not cut to [0, 1], and uint8 labels.

    draw: (B, DRAWS) random numbers in [0, 1) on the CPU, a row for each clip. Frames are read bilinearly and
    labels from the nearest pixel; outside of the frame is black background, as published (STM-Cycle).
    With everything off the result is exactly frames / 255 and the labels.
    """
    images = frames.flatten(1, 2).float() / 255  # (B, T*3, H, W): one draw serves all frames of a clip
    maps = labels
    if knobs.crop or knobs.scale or knobs.shear or knobs.rotate:
        images, maps = _move(images, labels, _matrices(draw, knobs, size=frames.shape[-2:]))
    draw = draw.to(frames.device)
    if knobs.contrast or knobs.shift:
        gain = 1 + knobs.contrast * (2 * draw[:, 7] - 1)
        images = (
            images * gain[:, None, None, None] + (knobs.shift * (2 * draw[:, 8] - 1))[:, None, None, None]
        )
    if knobs.flip:
        mirrored = draw[:, 9] < knobs.flip
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        maps = torch.where(mirrored[:, None, None, None], maps.flip(-1), maps)
    return images.unflatten(1, (frames.shape[1], 3)), maps


def _move(images: Tensor, labels: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (B, N, H, W) and labels (B, T, H, W) under affine maps of pixel centres (B, 2, 3)."""
    from kornia.geometry.transform import warp_affine

    size = size_of(images)
    matrices = matrices.to(images.device)
    moved = warp_affine(images, matrices, size, mode="bilinear", padding_mode="zeros", align_corners=True)
    maps = warp_affine(
        labels.float(), matrices, size, mode="nearest", padding_mode="zeros", align_corners=True
    )
    return moved, maps.round().to(torch.uint8)


def _matrices(draw: Tensor, knobs: Affine, *, size: tuple[int, ...]) -> Tensor:
    """(B, 2, 3): a crop is stretched to the frame, then scaled, sheared and turned about the centre."""
    height, width = size[-2:]
    left, right, top, bottom = (knobs.crop * draw[:, :4]).unbind(1)
    stretch = _stack(
        1 / (1 - left - right), 0, -left * (width - 1) / (1 - left - right),
        0, 1 / (1 - top - bottom), -top * (height - 1) / (1 - top - bottom),
    )  # fmt: skip
    scale, shear, turn = (2 * draw[:, 4:7] - 1).unbind(1)
    scale = 1 + knobs.scale * scale
    shear, turn = (math.radians(knobs.shear) * shear).tan(), math.radians(knobs.rotate) * turn
    cosine, sine = scale * turn.cos(), scale * turn.sin()
    x, y = (width - 1) / 2, (height - 1) / 2
    to_centre, back = (
        _stack(draw.new_ones(len(draw)), 0, -x, 0, 1, -y),
        _stack(draw.new_ones(len(draw)), 0, x, 0, 1, y),
    )
    turned = _stack(cosine, cosine * shear - sine, 0, sine, sine * shear + cosine, 0)
    return (back @ turned @ to_centre @ stretch)[:, :2]


def _stack(first: Tensor, *rest: Tensor | float) -> Tensor:
    """Two rows of three, numbers or (B,) each -> (B, 3, 3) with the last row 0, 0, 1."""
    values = [first, *(r if isinstance(r, Tensor) else torch.full_like(first, float(r)) for r in rest)]
    last = [torch.zeros_like(first), torch.zeros_like(first), torch.ones_like(first)]
    return torch.stack([*values, *last], dim=1).unflatten(1, (3, 3))
