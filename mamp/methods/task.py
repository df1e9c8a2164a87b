"""The contract of learning: batches as the loader makes them, and what a method does with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One batch as the loader makes it, on the device once the engine has moved it.

    frames: uint8 (B, T, 3, H, W) RGB. labels: uint8 (B, T, H, W) or None.
    clips: per sample, what it is made of (sequence name and frame numbers).
    first, total: its clips are number first, first + 1, .. of `total` that the step has on all ranks (None:
    of these).
    """

    frames: Tensor
    labels: Tensor | None
    clips: tuple[dict[str, Any], ...]
    first: int = 0
    total: int | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, frames=self.frames.to(device, non_blocking=True), labels=labels)

    def draw(self, *counts: int, generator: torch.Generator) -> Tensor:
        """(B, *counts) random numbers in [0, 1), on the CPU: those of the clips' places among all that the
        step has.
        """
        end = self.first + len(self.frames)
        return torch.rand(self.total or end, *counts, generator=generator)[self.first : end]

    def split(self, parts: int) -> Iterator[Batch]:
        """`parts` batches of equal size, in order, that know their place."""
        size, total = len(self.frames) // parts, self.total or len(self.frames)
        for start in range(0, parts * size, size):
            place = slice(start, start + size)
            labels = None if self.labels is None else self.labels[place]
            yield Batch(self.frames[place], labels, self.clips[place], self.first + start, total)


class TrainingTask(nn.Module):
    """What is learnt; holds the network, and the engine wraps it as a whole.

    frames: T, the frames of a clip, in the order in which `prepare` wants them. model: the network, which is
    what weights are.
    """

    frames: int
    model: nn.Module

    def begin(self) -> str | None:
        """Set what a new run begins with, if the method's settings name anything but random weights; a line
        that says so.

        The engine calls it for a new run alone: not when one goes on, and not for the tasks that only
        measure.
        """
        return None

    def prepare(self, batch: Batch, generator: torch.Generator) -> Any:
        """Augmentation and colour on the device; all randomness comes from `generator` (a CPU generator).

        `generator` is in the same state for every part of a step's batch, on whatever rank: what is drawn for
        a clip depends on its place in the whole (`batch.first`, `batch.total`), what is drawn once is the
        same for all parts.
        """
        raise NotImplementedError

    def forward(self, prepared: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss, a mean over clips, and named scalars to log."""
        raise NotImplementedError

    def preview(self, prepared: Any) -> Tensor:
        """uint8 (3, H, W) picture of what the network does with this batch, for a person."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]
