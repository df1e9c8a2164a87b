"""A trained narrow network as the start of a wider one that computes nearly the same (Net2Net: Chen, Goodfellow and Shlens, 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Both keep copies from learning alike.
SPREAD = 0.25  # noise added to each copy of a filter, in deviations of the filter, before its mean over them is taken off
UNEVEN = 0.2  # by how much of itself at most a copy's share in the next layer differs from an even one


def widened(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], *, seed: int) -> dict[str, Tensor]:
    """The entries of an encoder as those of one of `shapes`, each channel copied as often as there is room.

    New channel i is a copy of channel i modulo the old count. The next layer divides its weights for a channel among
    the copies, unevenly; the copies of a filter differ by noise whose mean over them is 0. Entries: float32, but for counts.
    Raises ValueError when an entry would have to shrink.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _entry(state[name], shape, generator) for name, shape in shapes.items()}


def _entry(old: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if any(new < was for new, was in zip(shape, old.shape, strict=True)):
        raise ValueError(f"{tuple(old.shape)} is wider than {tuple(shape)}")
    if old.ndim == 0:  # batches that a norm has seen
        return old.clone()
    copy_of = torch.arange(shape[0]) % len(old)
    wide = old[copy_of]
    if old.ndim < 4:  # of a batch norm, or the last layer's bias
        return wide
    if len(wide) > len(old):
        noise = torch.randn(wide.shape, generator=generator) * wide.std(dim=(1, 2, 3), keepdim=True)
        wide = wide + SPREAD * (noise - _mean_of_copies(noise, copy_of, len(old))[copy_of])
    if shape[1] == old.shape[1]:
        return wide
    copy_of = torch.arange(shape[1]) % old.shape[1]
    share = 1 + UNEVEN * (2 * torch.rand(shape[1], generator=generator) - 1)
    share /= torch.zeros(old.shape[1]).index_add(0, copy_of, share)[copy_of]
    return wide[:, copy_of] * share.view(1, -1, 1, 1)


def _mean_of_copies(values: Tensor, copy_of: Tensor, count: int) -> Tensor:
    """(new, ...) -> (count, ...): the mean over the copies of each old channel."""
    total = torch.zeros(count, *values.shape[1:]).index_add(0, copy_of, values)
    return total / torch.bincount(copy_of, minlength=count).view(-1, 1, 1, 1)
