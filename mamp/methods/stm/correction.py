"""Gradient correction: move a mask until the reference frame is found again from it (STM-Cycle, 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.methods.stm.fitting import Fit
from mamp.methods.stm.losses import segmentation_loss
from mamp.methods.stm.network import Query, Stm, aggregate
from mamp.propagation.readout import memory_read


@dataclass
class Reference:
    """A frame with given masks, normalised (1, 3, N).

    It has the objects given there (0-based), their labels (N+1, I), and its encoding once there is one.
    """

    frame: Tensor
    objects: list[int]
    labels: Tensor
    query: Query | None = None

    def look(self, model: Stm) -> Query:
        """The encoding, made once."""
        if self.query is None:
            self.query = model.look(self.frame)
        return self.query


def read_back(model: Stm, frame: Tensor, masks: Tensor, reference: Reference, fit: Fit) -> Tensor:
    """Probabilities (N+1, I) of the reference frame, read from `frame` (1, 3, N) with its masks (N, I)
    alone.
    """
    owner = torch.zeros(len(masks), dtype=torch.int64, device=masks.device)
    keys, values = model.memorise(frame, fit.to_network(masks), owner)
    query = reference.look(model)
    logits = model.decode(query, memory_read(query.key[owner], [keys], [values]), owner)
    return aggregate(fit.from_network(logits)).softmax(dim=0)


def corrected(
    model: Stm,
    frame: Tensor,
    labels: Tensor,
    references: Sequence[Reference],
    fit: Fit,
    *,
    loops: int,
    rate: float,
    report: Callable[[Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Return labels (K+1, I) after `loops` steps against the gradient of the loss on the reference frames.

    They may leave [0, 1].

    frame: normalised (1, 3, N), of which `labels` are. references: each object in one of them at most; one
    that is in none stays. Each step memorises every object once and reads it once, in its own reference
    frame. report: called with the loss and the gradient of each step.
    """
    for reference in references:
        reference.look(model)
    with torch.inference_mode(False), torch.enable_grad():
        labels = labels.detach().clone()
        for _ in range(loops):
            labels.requires_grad_(True)
            loss = torch.zeros((), device=labels.device)
            for reference in references:
                masks = labels[1:][reference.objects]
                found = read_back(model, frame, masks, reference, fit)
                loss = loss + sum(segmentation_loss(found, reference.labels))
            (gradient,) = torch.autograd.grad(loss, labels)
            if report is not None:
                report(loss.detach(), gradient)
            labels = labels.detach() - rate * gradient
    return labels
