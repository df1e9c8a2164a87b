"""The contract of training: what a method does with a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mamp.loading.batch import Batch

__all__ = ["Batch", "TrainingTask"]


class TrainingTask(nn.Module):
    """What a method learns: a module that holds the network. The engine wraps it as a whole.

    Attributes:
        frames: T, the number of frames in a clip, in the order in which `prepare` takes them.
        model: the network, whose state dict is the weights.
    """

    frames: int
    model: nn.Module

    def begin(self) -> str | None:
        """Load what a new run starts from, if the method's settings name other than random weights.

        The engine calls it once, for a new run. It does not call it for a run that goes on, nor for a task
        that only measures.

        Returns:
            A line to print, or None.

        Raises:
            UserError: the weights cannot be read or do not fit.
        """
        return None

    def prepare(self, batch: Batch, generator: torch.Generator) -> Any:
        """Augment the batch and convert it to the network's colours, on the device.

        Call one function of `mamp/loading/augmentation/batches.py`, once. It does what `config.data` asks
        for. The generator has the same state for each part of a step's batch, on every rank. What is drawn
        for a clip depends on its place in the whole (`batch.first`, `batch.total`). What is drawn once is the
        same for all parts.

        Args:
            batch: clips as the loader gives them, uint8.
            generator: the only source of randomness, on the CPU.

        Returns:
            Whatever `forward` and `preview` of the same task take.
        """
        raise NotImplementedError

    def forward(self, prepared: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss.

        Args:
            prepared: what `prepare` returned.

        Returns:
            The scalar loss, a mean over clips, and named scalars to log.
        """
        raise NotImplementedError

    def preview(self, prepared: Any) -> Tensor:
        """Draw what the network does with this batch.

        Args:
            prepared: what `prepare` returned.

        Returns:
            A picture, uint8 (3, H, W).
        """
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups for the optimiser.

        Returns:
            Mappings as `torch.optim` takes them. By default one group of all that can be trained.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]
