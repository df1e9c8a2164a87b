"""Warping maps by flow. Flow is (2, h, w): x right, y down, in cells; from the query to the memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clean_flow(flow: Tensor) -> Tensor:
    """Flow clamped to the map's size and rounded to whole cells, halves to even, as MAMP does.

    flow: float (..., 2, h, w). Returns the same shape.
    """
    height, width = flow.shape[-2:]
    x, y = flow[..., 0, :, :].clamp(-width, width), flow[..., 1, :, :].clamp(-height, height)
    return torch.stack((x, y), dim=-3).round()


def warp(memory: Tensor, flow: Tensor) -> Tensor:
    """Return memory(y + flow_y, x + flow_x), bilinear; 0 in cells whose source is not wholly inside.

    memory: float (N, C, h, w). flow: float (N, 2, h, w). Returns (N, C, h, w).
    """
    grid = _grid(flow)
    warped = F.grid_sample(memory, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    ones = F.grid_sample(
        torch.ones_like(memory[:, :1]), grid, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return warped * (ones >= 0.9999).to(warped.dtype)


def look_up(values: Tensor, flow: Tensor) -> Tensor:
    """values(y + flow_y, x + flow_x), bilinear; beyond the border as at the border.

    values: float (C, h, w). flow: float (2, h, w). Returns (C, h, w).
    """
    grid = _grid(flow[None])
    return F.grid_sample(values[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]


def _grid(flow: Tensor) -> Tensor:
    """Where flow (N, 2, h, w) leads, (N, h, w, 2), x and y from -1 to 1 between the outer cells' centres."""
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1) + flow[:, 1]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width) + flow[:, 0]
    return torch.stack((2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1), dim=-1)
