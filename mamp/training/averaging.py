"""A running average of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a network's parameters. State: one tensor for each, the steps.

    After step t (from 1) the average moves by 1 - min(decay, t / (9 + t)) towards the parameters, so that a
    short run does not remember how it began. What is no parameter (the averages of batch norm) is the
    network's own.
    """

    def __init__(self, model: nn.Module, decay: float):
        self._model, self._decay = model, decay
        self._averages = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are after one more step."""
        self._steps += 1
        part = 1 - min(self._decay, self._steps / (9 + self._steps))
        torch._foreach_lerp_(list(self._averages.values()), list(self._model.parameters()), part)

    def weights(self) -> dict[str, Tensor]:
        """The network's state dict with the averages in it."""
        return {**self._model.state_dict(), **self._averages}

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The network has the averages for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._model.named_parameters():
            average = self._averages[name]
            average.data, parameter.data = parameter.data, average.data

    def state(self) -> dict[str, Any]:
        """As tensors and plain values."""
        return {"weights": self.weights(), "steps": self._steps}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        for name, average in self._averages.items():
            average.copy_(state["weights"][name])
        self._steps = state["steps"]
