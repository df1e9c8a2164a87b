"""Where an object's crop lies, what it shows, and how what was found there comes back to the frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.colour import imagenet
from mamp.ops.sizes import opencv_bilinear, resize

LEAST = 5  # pixels; a box needs more on both sides

Box = tuple[int, int, int, int]  # left, top, right, bottom; half-open, may reach out of the frame


def find_box(mask: Tensor, margins: Sequence[float]) -> Box:
    """The rectangle around a mask (H, W) bool, grown by `margins` left, right, top, bottom, as parts of its
    sides.

    Fractions are cut off toward zero, as published. The whole frame where the mask is empty or the box too
    small.
    """
    frame = (0, 0, int(mask.shape[1]), int(mask.shape[0]))
    columns, rows = mask.any(0).nonzero().flatten().tolist(), mask.any(1).nonzero().flatten().tolist()
    if not columns:
        return frame
    x, y = columns[0], rows[0]
    width, height = columns[-1] + 1 - x, rows[-1] + 1 - y
    left, right, top, bottom = margins
    sides = (x - width * left, y - height * top, x + width + width * right, y + height + height * bottom)
    if sides[2] - sides[0] <= LEAST or sides[3] - sides[1] <= LEAST:
        return frame
    return int(sides[0]), int(sides[1]), int(sides[2]), int(sides[3])


def crop(pixels: Tensor, box: Box) -> Tensor:
    """(C, H, W) -> (C, bottom - top, right - left), 0 outside of the frame."""
    left, top, right, bottom = box
    height, width = pixels.shape[-2:]
    inside = pixels[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    margins = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
    return F.pad(inside, margins)


def cut(frame: Tensor, mask: Tensor, box: Box, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A crop as the network sees it: frame (3, H, W) in [0, 1] and mask (H, W) bool -> normalised (3, *size),
    {0, 1} (1, *size).

    Black outside of the frame, which is normalised with the rest.
    """
    image = fit(crop(frame, box), size)
    own = resize(crop(mask[None].to(frame.dtype), box), size) > 0.5
    return imagenet(image), own.to(frame.dtype)


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, H, W) in [0, 1] stretched to (3, *size), in whole 255ths as published: features change visibly
    without them.
    """
    whole = (255 * image).round().to(torch.int32)
    return opencv_bilinear(whole, size).to(image.dtype) / 255


def paste(found: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """(C, h, w) of a crop, bilinear to its box, in a frame (C, *size) that is 0 elsewhere."""
    left, top, right, bottom = box
    full = found.new_zeros(len(found), *size)
    there = resize(found, (bottom - top, right - left))
    rows = slice(max(top, 0), min(bottom, size[0]))
    columns = slice(max(left, 0), min(right, size[1]))
    full[:, rows, columns] = there[
        :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return full
