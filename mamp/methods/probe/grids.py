"""Convert between masks of the frame's size and soft labels on the feature grid, as each published script."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.pillow import pillow_nearest
from mamp.ops.sizes import resize


def to_grid(labels: Tensor, grid: tuple[int, int], *, how: str, between: tuple[int, int]) -> Tensor:
    """(K+1, H, W), summing to 1 -> (K+1, h, w).

    how: `first_labels`. between: the input's size, for nearest_twice.
    """
    if how == "nearest":
        return pillow_nearest(labels, grid)
    if how == "nearest_twice":
        return pillow_nearest(pillow_nearest(labels, between), grid)
    if how == "nearest_exact":
        return F.interpolate(labels[None], grid, mode="nearest-exact")[0]
    if how == "bilinear":
        return resize(labels, grid)
    return F.interpolate(labels[None], grid, mode="bilinear", align_corners=True)[0]


def to_frame(scores: Tensor, size: tuple[int, ...], *, how: str, stretch: str, cell: int) -> Tensor:
    """(K+1, h, w) -> (K+1, H, W) whose largest is the published label; each channel by itself.

    how: `upsample`; cell: pixels of the network's input to a cell, for patch.
    """
    height, width = int(size[0]), int(size[1])
    if how == "nearest":
        full = F.interpolate(scores[None], (height, width), mode="nearest")[0]
    elif how == "corners":
        full = F.interpolate(scores[None], (height, width), mode="bilinear", align_corners=True)[0]
    elif how == "patch":
        full = resize(scores, (scores.shape[-2] * cell, scores.shape[-1] * cell))
    else:
        full = resize(scores, (height, width))
    if stretch != "none":
        full = stretched(full.clone() if full is scores else full, stretch)
    if how == "patch":
        full = pillow_nearest(full, (height, width))
    return full.clone() if full is scores else full


def stretched(scores: Tensor, how: str) -> Tensor:
    """Scores stretched in place as `stretch` says, or as they are."""
    return scores if how == "none" else stretched_(scores, constant=2.0 if how == "dino" else 0.0)


def stretched_(scores: Tensor, *, constant: float) -> Tensor:
    """Stretch each channel of (K+1, H, W) to [0, 1], in place.

    One that is the same everywhere becomes `constant`, or stays 0. DINO's script divides 0 by 0 there, and
    NaN wins its maximum; any constant above 1 does the same.
    """
    low = scores.amin(dim=(-2, -1), keepdim=True)
    high = scores.amax(dim=(-2, -1), keepdim=True)
    span = high - low
    everywhere = torch.where((span == 0) & (high > 0), constant, 0.0)
    return scores.sub_(low).div_(span.clamp(min=1e-30)).add_(everywhere)
