"""Tensors that depend on sizes alone: made once, not for every frame."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

KEPT = 64  # results of a function that are kept, the latest ones
Made = TypeVar("Made")


def once(make: Callable[..., Made]) -> Callable[..., Made]:
    """Keep the last `KEPT` results of a function of plain values and a device.

    Each result is then copied to the device once. Callers leave it as it is. A graph that is traced has its
    own.
    """

    def outside(*values: Any) -> Made:
        with torch.inference_mode(False):  # what is kept may take part in training later
            return make(*values)

    kept = functools.lru_cache(KEPT)(outside)

    @functools.wraps(make)
    def call(*values: Any) -> Made:
        return make(*values) if torch.compiler.is_compiling() else kept(*values)

    call.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return call


@once
def numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """The values as a tensor on the device."""
    return torch.tensor(values, device=device)
