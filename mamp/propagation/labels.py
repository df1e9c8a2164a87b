"""Label maps of K objects as channels, background first: put masks in, take objects out, keep sums at 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def magnify(scores: Tensor, cell: int, size: list[int]) -> Tensor:
    """Enlarge (K+1, h, w) bilinearly to (K+1, H, W), cell i at pixel i * cell.

    The encoder's receptive field has its centre there.
    """
    height, width = ((side - 1) * cell + 1 for side in scores.shape[-2:])
    full = F.interpolate(scores[None], (height, width), mode="bilinear", align_corners=True)
    return F.pad(full, (0, size[1] - width, 0, size[0] - height), mode="replicate")[0]


def with_small_ones(cells: Tensor, touched: Tensor) -> Tensor:
    """(K, h, w) masks of cell centres; an object that covers no centre has the cells it touches instead."""
    small = lost(cells, touched)
    gained = touched * small[:, None, None]
    together = gained / gained.sum(0).clamp(min=1)
    return cells * (1 - together.sum(0)) + together


def lost(cells: Tensor, touched: Tensor) -> Tensor:
    """Bool (K,): which objects cover the centre of no cell, but touch some."""
    return (cells.flatten(1).sum(1) == 0) & (touched.flatten(1).sum(1) > 0)


def with_background(masks: Tensor) -> Tensor:
    """(K, H, W) disjoint masks -> (K+1, H, W), background first, summing to 1."""
    return torch.cat((1 - masks.sum(0, keepdim=True), masks))


def normalised(scores: Tensor, *, out: Tensor | None = None) -> Tensor:
    """(K+1, ...) divided by the sum, background where the sum is 0.

    out: where the result goes; it may be `scores`.
    """
    total = scores.sum(0, keepdim=True)
    nobody = ~(total > 0)
    result = torch.div(scores, total.clamp(min=1e-12), out=out).masked_fill_(nobody, 0)
    result[0].masked_fill_(nobody[0], 1)
    return result


def sharpened(scores: Tensor, power: float, background: float = 1) -> Tensor:
    """Raise scores (K+1, ...) to a power, multiply the background's by `background`, and normalise.

    What is likely becomes more so. 1 and 1 change nothing. Works in place, and returns `scores`.
    """
    if power == 1 and background == 1:
        return scores
    scores.clamp_(min=0).pow_(power)
    scores[0] *= background
    return normalised(scores, out=scores)


def impose(probabilities: Tensor, masks: Tensor, channels: list[int]) -> Tensor:
    """`masks` (N, ...) in [0, 1] become these channels of (K+1, ...); the others share what is left."""
    others = probabilities.clone()
    others[channels] = 0
    result = normalised(others) * (1 - masks.sum(0, keepdim=True)).clamp(min=0)
    result[channels] = masks
    return result


def append_empty(labels: Tensor, count: int) -> Tensor:
    """(K+1, ...) -> (K+1+count, ...), the new ones 0."""
    return torch.cat((labels, labels.new_zeros(count, *labels.shape[1:])))


def drop(labels: Tensor, objects: list[int]) -> Tensor:
    """(K+1, ...) without these objects (0-based); what was theirs becomes background."""
    gone = [k + 1 for k in objects]
    kept = [c for c in range(len(labels)) if c not in gone]
    result = labels[kept].clone()
    result[0] += labels[gone].sum(0)
    return result
