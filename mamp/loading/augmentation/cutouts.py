"""How a training frame is flipped, turned and cut out, and the blob that stands for the mask before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.crops import Box, crop, find_box, fit
from mamp.ops.sizes import resize

DRAWS = 32  # numbers drawn for each clip, more than are used (see batches.py)
LEAST_SPREAD = 5.0  # pixels
SHIFT, STRETCH = 0.2, 1.4  # a blob moves by up to so many spreads, and grows or shrinks by up to this factor


@dataclass(frozen=True)
class Move:
    """flip: left-right. degrees: clockwise. margins: left, right, top, bottom, as parts of the box."""

    flip: bool
    degrees: float
    margins: tuple[float, float, float, float]


def cut_moved(
    frame: Tensor, masks: Tensor, bounding: Tensor, *, move: Move, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Box]:
    """Flipped, turned, cut out around `bounding` and stretched to `size`.

    frame: (3, H, W). masks: {0, 1} (N, H, W), of which a pixel between stays if it is more than a half.
    bounding: {0, 1} (H, W), best on the CPU, where the box is needed. Returns (3, *size), {0, 1} (N, *size),
    and the box on the turned canvas.
    """
    soft, around = torch.cat((frame, masks)), bounding[None]
    if move.flip:
        soft, around = soft.flip(-1), around.flip(-1)
    soft, around = turn(soft, move.degrees), turn(around, move.degrees)
    box = find_box(around[0] > 0.5, move.margins)
    image = fit(crop(soft[:3], box), size)
    fitted = resize(crop((soft[3:] > 0.5).to(frame.dtype), box), size)
    return image, (fitted > 0.5).to(frame.dtype), box


def turn(pixels: Tensor, degrees: float) -> Tensor:
    """(C, H, W) clockwise about its centre, on a canvas that holds all of it; bilinear, 0 outside.

    The centre is (W/2, H/2) in pixel indices, as published.
    """
    height, width = pixels.shape[-2:]
    cosine, sine = math.cos(math.radians(-degrees)), math.sin(math.radians(-degrees))
    wide = int(height * abs(sine) + width * abs(cosine))
    high = int(height * abs(cosine) + width * abs(sine))
    device = pixels.device
    x = torch.arange(wide, dtype=pixels.dtype, device=device)[None, :] - wide / 2
    y = torch.arange(high, dtype=pixels.dtype, device=device)[:, None] - high / 2
    from_x = cosine * x - sine * y + width / 2  # (h, w): the rotation backwards
    from_y = sine * x + cosine * y + height / 2
    grid = torch.stack(((2 * from_x + 1) / width - 1, (2 * from_y + 1) / height - 1), dim=-1)
    return F.grid_sample(
        pixels[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )[0]


def blob(mask: Tensor, draws: Tensor) -> Tensor:
    """A Gaussian of about the place and spread of a mask {0, 1} (H, W), in [0, 1]; 0 where it is empty.

    Medians, and 1.4826 of the median distance from them. draws: (4,) shifts x, y in spreads, and factors of
    the spreads x, y.
    """
    there, found = mask != 0, []
    for n in range(2):  # x, then y
        along = torch.arange(mask.shape[1 - n], device=mask.device, dtype=torch.float32)
        counts = there.sum(n)  # pixels of the mask at each place
        centre = _median(along, counts)
        spread = (1.4826 * _median((along - centre).abs(), counts)).clamp(min=LEAST_SPREAD)
        away = (along - (centre + draws[n] * spread)) / (spread * draws[2 + n])
        found.append(away.square())
    shape = torch.exp(-0.5 * (found[1][:, None] + found[0][None, :])).clamp(0, 1)
    return torch.where(there.any(), shape, 0)


def _median(values: Tensor, counts: Tensor) -> Tensor:
    """The median of values (n,), each there `counts` times; no matter what where all counts are 0.

    Unlike a list of the places it does not wait for the device.
    """
    order = values.argsort()
    upto = counts[order].cumsum(0)
    middle = torch.stack(((upto[-1] - 1) // 2, upto[-1] // 2))
    places = torch.searchsorted(upto, middle, right=True).clamp(max=len(values) - 1)
    return values[order[places]].mean()


def blob_draws(uniform: Tensor) -> Tensor:
    """(4,) uniform in [0, 1) -> what `blob` takes, in the published ranges."""
    least = 1 / STRETCH
    return torch.cat((SHIFT * (2 * uniform[:2] - 1), least + (STRETCH - least) * uniform[2:]))
