"""The contract of learning: what a method does with a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mamp.loading.batch import Batch

__all__ = ["Batch", "TrainingTask"]


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
        """Augment the batch, and bring it to the network's colours, on the device.

        Call one function of `mamp/loading/augmentation/batches.py`, once: it does what `config.data` says.
        All randomness comes from `generator`, which is on the CPU.

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
