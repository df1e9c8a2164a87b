"""Batches as the loader makes them, and the random numbers of their clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One batch as the loader makes it, on the device once the engine has moved it.

    frames: uint8 (B, T, 3, H, W) RGB. labels: uint8 (B, T, H, W) or None.
    clips: per sample, what it is made of (sequence name and frame numbers).
    first, total: its clips are number first, first + 1, .. of `total` that the step has on all ranks (None:
    of these).
    read: the labels as they were on the CPU; see `labels_to_read`.
    """

    frames: Tensor
    labels: Tensor | None
    clips: tuple[dict[str, Any], ...]
    first: int = 0
    total: int | None = None
    read: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        read = self.labels if self.labels is not None and self.labels.device.type == "cpu" else None
        return replace(self, frames=self.frames.to(device, non_blocking=True), labels=labels, read=read)

    def labels_to_read(self) -> Tensor:
        """Return the labels on the CPU.

        What depends on their values is decided there, before the copy, so that the device is not waited for.
        Labels that were made on the device are copied, which waits.
        """
        assert self.labels is not None
        return self.labels.cpu() if self.read is None else self.read

    def draw(self, *counts: int, generator: torch.Generator) -> Tensor:
        """(B, *counts) random numbers in [0, 1), on the CPU, by the clips' places among all of the step."""
        end = self.first + len(self.frames)
        return torch.rand(self.total or end, *counts, generator=generator)[self.first : end]

    def split(self, parts: int) -> Iterator[Batch]:
        """`parts` batches of equal size, in order, that know their place."""
        size, total = len(self.frames) // parts, self.total or len(self.frames)
        for start in range(0, parts * size, size):
            place = slice(start, start + size)
            labels = None if self.labels is None else self.labels[place]
            yield Batch(self.frames[place], labels, self.clips[place], self.first + start, total)
