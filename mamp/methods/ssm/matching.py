"""Pixel matching and the separable structure: which reference cells, and which cells make up the object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Picked:
    """What matching picks.

    background, object: the k largest similarities with reference cells of either, (B, k, n), descending.
    cells: int64 (B, k), the cells of the frame that are most like the object as a whole.
    """

    background: Tensor
    object: Tensor
    cells: Tensor


def similarities(reference: Tensor, current: Tensor, *, matching: str) -> Tensor:
    """Dot products of every current cell with every reference cell, (B, n, m).

    reference: (B, C, h, w), m cells. current: (B, C, h', w'), n cells. matching: `conv` takes features as
    they are, `cosine` makes them unit vectors first.
    """
    if matching == "cosine":
        reference, current = F.normalize(reference, dim=1), F.normalize(current, dim=1)
    return current.flatten(2).transpose(1, 2) @ reference.flatten(2)


def pick(affinity: Tensor, own: Tensor, *, top_k: int) -> Picked:
    """The pixel branch, and the cells of the structure branch.

    affinity: (B, n, m). own: bool (B, m), the reference cells of the object. Cells of the other kind count as
    0, as published, so that where fewer than k are positive zeros are among the largest.
    """
    inside = affinity * own[:, None]
    outside = affinity * ~own[:, None]
    best = [part.topk(top_k, dim=-1).values.transpose(1, 2) for part in (outside, inside)]
    return Picked(best[0], best[1], inside.sum(-1).topk(top_k, dim=-1).indices)


def structure_maps(features: Tensor, cells: Tensor, group: Tensor, whole: Tensor) -> Tensor:
    """Return the separable structure, (B, 2C/k, h, w).

    Likeness to each of k cells gates one group of channels; their mean gates the whole.

    features: (B, C, h, w). cells: int64 (B, k), places on that grid. group: (B, C, h, w), k groups of
    channels. whole: (B, C/k, h, w).
    """
    shape, k = features.shape[-2:], cells.shape[1]
    flat = features.flatten(2)  # (B, C, n)
    elements = flat.gather(2, cells[:, None].expand(-1, flat.shape[1], -1))  # (B, C, k)
    with torch.autocast(features.device.type, enabled=False):
        likeness = elements.float().transpose(1, 2) @ flat.float()  # (B, k, n)
    likeness = likeness.unflatten(-1, shape)
    gated = (group.unflatten(1, (k, -1)) * likeness[:, :, None]).sum(1)  # (B, C/k, h, w)
    return torch.cat((gated, whole * likeness.mean(1, keepdim=True)), dim=1)
