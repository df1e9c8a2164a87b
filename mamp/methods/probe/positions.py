"""Positional grids of transformers for frames of any size."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_positions(network: nn.Module, grid: tuple[int, int], *, how: str) -> None:
    """Resample the learnt positions of a ViT of torchvision or timm to a grid (h, w); others are left alone.

    how: "size", bicubic with antialias as timm does it; or "scale", bicubic by the factor ((h + 0.1) / h0, (w
    + 0.1) / w0) as DINO does it, which gives slightly other features. The learnt grid is kept, so sizes may
    follow one another.
    """
    holder, name = _positions(network)
    if holder is None:
        return
    learnt: Tensor = getattr(holder, "_learnt_positions", None)  # type: ignore[assignment]
    if learnt is None:
        learnt = getattr(holder, name).detach().clone()
        holder._learnt_positions = learnt
        holder._learnt_grid = _own_grid(network)
    present = getattr(holder, name)
    if getattr(holder, "_fitted_grid", None) != grid or present.device != learnt.device:
        resampled = resample(learnt.to(present.device), grid, how=how, learnt=holder._learnt_grid)  # type: ignore[arg-type]
        setattr(holder, name, nn.Parameter(resampled, requires_grad=False))
        holder._fitted_grid = grid  # type: ignore[assignment]
        holder._learnt_positions = learnt.to(present.device)
        _set_size(network, grid)


def resample(
    positions: Tensor, grid: tuple[int, int], *, how: str, learnt: tuple[int, int] | None = None
) -> Tensor:
    """(1, N, D), class and register positions first, to (1, N', D) of grid (h, w).

    learnt: their own grid; None is square.
    """
    side = math.isqrt(positions.shape[1])
    own = learnt or (side, side)
    first = positions.shape[1] - own[0] * own[1]
    if grid == own:
        return positions
    old = positions[:, first:].float().transpose(1, 2).unflatten(2, own)  # (1, D, h0, w0)
    if how == "scale":
        factor = [(new + 0.1) / cells for new, cells in zip(grid, own, strict=True)]
        found = F.interpolate(old, scale_factor=factor, mode="bicubic")[..., : grid[0], : grid[1]]
    else:
        found = F.interpolate(old, size=grid, mode="bicubic", antialias=True)
    tokens = found.flatten(2).transpose(1, 2).to(positions.dtype)  # (1, h*w, D)
    return torch.cat((positions[:, :first], tokens), dim=1)


def _positions(network: nn.Module) -> tuple[nn.Module | None, str]:
    """The module that holds a ViT's positions (1, N, D), and their name there."""
    from torchvision.models import VisionTransformer

    if isinstance(network, VisionTransformer):
        return network.encoder, "pos_embedding"
    held = getattr(network, "pos_embed", None)
    dynamic = getattr(network, "dynamic_img_size", False) and hasattr(network, "patch_embed")
    if dynamic and isinstance(held, Tensor) and held.ndim == 3:
        return network, "pos_embed"
    return None, ""


def _own_grid(network: nn.Module) -> tuple[int, int] | None:
    """The grid (h, w) that the network was made for, where it says so."""
    size = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    return None if size is None else (int(size[0]), int(size[1]))


def _set_size(network: nn.Module, grid: tuple[int, int]) -> None:
    """Make the network take the grid for its own."""
    embed = getattr(network, "patch_embed", None)
    if embed is not None:
        embed.grid_size = grid
