"""Start a wider network from a narrow one that computes nearly the same (Net2Net: Chen et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mamp import config as configs
from mamp.core.errors import UserError
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import build_model

# Both keep copies from learning alike.
# noise added to each copy of a filter, in deviations of the filter, before its mean over them is taken off
SPREAD = 0.25
UNEVEN = 0.2  # by how much of itself at most a copy's share in the next layer differs from an even one


def widen(
    method: MampConfig, state: Mapping[str, Tensor], *, width: float, seed: int, path: Path
) -> tuple[MampConfig, dict[str, Tensor]]:
    """Return the config and the state dict of a network of `width` that computes nearly the same as this one.

    path: the file of the weights, for messages. Raises UserError when no layer grows, or when the wide
    network has layers that the narrow one lacks.
    """
    encoder = {**method.encoder.model_dump(), "width": width}
    wide = configs.load(base={"method": {"name": method.name, "encoder": encoder}}).method
    with torch.device("meta"):
        new = {name: value.shape for name, value in build_model(wide).state_dict().items()}
    old = {name: value.shape for name, value in state.items()}
    before = method.encoder.width
    if width <= before or old == new:
        raise UserError(
            f"{path} is of width {before:g}, which --width {width:g} does not widen; give a larger one"
        )
    if old.keys() != new.keys():
        raise UserError(
            f"{path} is of width {before:g}, too narrow to be widened; train a network of width 0.125"
        )
    return wide, widened(state, new, seed=seed)


def widened(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], *, seed: int) -> dict[str, Tensor]:
    """The entries of an encoder as those of one of `shapes`, each channel copied as often as there is room.

    New channel i is a copy of channel i modulo the old count. The next layer divides its weights for a
    channel among the copies, unevenly; the copies of a filter differ by noise whose mean over them is 0.
    Entries: float32, but for counts. Raises ValueError when an entry would have to shrink.
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
