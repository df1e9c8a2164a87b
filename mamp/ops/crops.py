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
    """The box of one mask (H, W), as of `find_boxes`."""
    return find_boxes(mask[None], margins)[0]


def find_boxes(masks: Tensor, margins: Sequence[float]) -> list[Box]:
    """Return the rectangles around masks (K, H, W) bool, grown by `margins`.

    margins: left, right, top, bottom, as parts of the sides. Fractions are cut off toward zero, as published.
    The whole frame where a mask is empty or its box too small. The device is asked once for all of them.
    """
    frame = int(masks.shape[2]), int(masks.shape[1])
    ends = [end for seen in (masks.any(1), masks.any(2)) for end in _ends(seen)]
    return [_grown(tuple(row), margins, frame) for row in torch.stack(ends, dim=1).tolist()]


def _ends(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of bool (K, n) the first place that is set, and the one after the last, 0 where none is."""
    there = seen.to(torch.uint8)
    last = (seen.shape[1] - there.flip(1).argmax(1)) * there.amax(1)
    return there.argmax(1), last


def _grown(ends: tuple[int, ...], margins: Sequence[float], size: tuple[int, int]) -> Box:
    """The box from `ends` (left, right, top, bottom) of a mask; size: (W, H) of the frame."""
    frame = (0, 0, *size)
    x, end, y, low = ends
    if not end:
        return frame
    width, height = end - x, low - y
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
    """Cut a crop: frame (3, H, W) in [0, 1], mask (H, W) bool -> normalised (3, *size), {0, 1} (1, *size).

    Black outside of the frame, which is normalised with the rest.
    """
    image = fit(crop(frame, box), size)
    own = resize(crop(mask[None].to(frame.dtype), box), size) > 0.5
    return imagenet(image), own.to(frame.dtype)


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Stretch (3, H, W) in [0, 1] to (3, *size), in whole 255ths as published.

    Features change visibly without them.
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
