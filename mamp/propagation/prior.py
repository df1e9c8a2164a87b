"""A prior for what is near by: similarities less a share of the squared distance.

|p - q|^2 = |p|^2 - 2 p q + |q|^2, so that four more channels bring the prior into any dot product of
features: of single cells, of the means of blocks, in every tile and in the ONNX graphs.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 4


def with_prior(
    query: Tensor, keys: list[Tensor], *, prior: float, radius: int
) -> tuple[Tensor, list[Tensor]]:
    """Query (C, h, w) and keys M of (C, h, w) -> (C+4, h, w) each: their dot products are less by prior *
    (d / radius)^2.

    d: how many cells a key is away from the query. radius: of the window, in cells; 0 counts as 1.
    """
    share = prior / max(radius, 1) ** 2
    y, x = _places(query)
    square, ones = y * y + x * x, torch.ones_like(y)
    asked = torch.stack((2 * share * y, 2 * share * x, -share * ones, -share * square))
    known = torch.stack((y, x, square, ones))
    return torch.cat((query, asked)), [torch.cat((key, known)) for key in keys]


def _places(features: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each cell, (h, w) each, from the frame's middle, as smaller numbers round less."""
    height, width = features.shape[-2:]
    y = torch.arange(height, device=features.device, dtype=features.dtype) - (height - 1) / 2
    x = torch.arange(width, device=features.device, dtype=features.dtype) - (width - 1) / 2
    return y[:, None].expand(height, width), x.expand(height, width)
