"""What happens per frame: flow between it and the frame before, and masks carried along."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.methods.base import Motion, Propagator
from mamp.methods.flow.config import FlowConfig
from mamp.ops.colour import CHROMA, rgb_to_lab
from mamp.propagation.labels import append_empty, drop, impose, normalised, with_background
from mamp.propagation.motion.build import build_source
from mamp.propagation.motion.source import chain
from mamp.propagation.warping import look_up

COLOUR = 6.0  # weight of chroma in coarse matching; chosen on DAVIS-2016 tune
COVERED = 0.05  # of a pixel; where less lands is a hole
CRACK = 0.5  # of the 3x3 pixels around a hole; where more of them is covered it is a crack between neighbours


@dataclass
class Pending:
    """The frame just stepped: probabilities (K+1, H, W), and whether masks were given for it."""

    index: int
    probabilities: Tensor
    given: bool = False


class FlowPropagator(Propagator):
    """Carries K masks through one video by optical flow.

    State: the pending frame, and where masks come from: labels (K+1, H, W) of an earlier frame, and the flow
    (2, H, W) in pixels between that frame and the pending one. That frame is the one before, or with `chain`
    the last one that masks were given for. Two label maps and one flow, however long the video is.

    motion: flow in pixels of the frame; None is what `method.propagation.source` names, made for this video.
    """

    def __init__(self, model: nn.Module, method: FlowConfig, **places: Any) -> None:
        super().__init__(model, method, **places)
        self.knobs = method.propagation
        source = self.motion or build_source(
            self.knobs,
            features=colours,
            stride=1,
            section="method.propagation",
            device=self.device,
            dtype=self.dtype,
        )
        assert source is not None
        self.source: Motion = source
        self.pending: Pending | None = None
        self.labels: Tensor | None = None
        self.flow: Tensor | None = None

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        index = self._next()
        self.source.see(index, self._here(frame))
        self.pending = Pending(index, with_background(self._here(masks)), given=True)

    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        before, index = self._pending(), self._next()
        if self.labels is None or before.given or not self.knobs.chain:
            self.labels, self.flow = self._remembered(before.probabilities), None
        self.source.see(index, self._here(frame))
        self.flow = self._flow(index, before.index, size=frame.shape[-2:])
        self.source.forget(before.index)
        carry = look_up if self.knobs.direction == "lookup" else splat
        self.pending = Pending(index, normalised(carry(self.labels, self.flow)))
        return self.pending.probabilities

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W)."""
        pending = self._pending()
        pending.probabilities = impose(pending.probabilities, self._here(masks), [k + 1 for k in objects])
        pending.given = True

    def add(self, masks: Tensor) -> None:
        """New objects (N, H, W) in {0, 1} appear at the pending frame; they win over what was predicted."""
        pending = self._pending()
        known = len(pending.probabilities) - 1
        pending.probabilities = append_empty(pending.probabilities, len(masks))
        self.correct(masks, list(range(known, known + len(masks))))

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        pending = self._pending()
        pending.probabilities = drop(pending.probabilities, objects)
        if self.labels is not None and not pending.given:  # of a given frame they are read no more
            self.labels = drop(self.labels, objects)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the labels that masks come from, and of the flow to them."""
        return sum(held.nbytes for held in (self.labels, self.flow) if held is not None)

    def twin(self) -> FlowPropagator | None:
        """Return a copy that goes on from here by itself; it shares all tensors, which never change.

        None where the source of flow has no twin.
        """
        source = self.source.twin()
        if source is None:
            return None
        other = copy.copy(self)
        other.source, other.pending = source, self.pending and replace(self.pending)
        return other

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held of frames; twins have most of them in common."""
        pending = None if self.pending is None else self.pending.probabilities
        yield from (tensor for tensor in (self.labels, self.flow, pending) if tensor is not None)

    # -- one frame

    def _remembered(self, probabilities: Tensor) -> Tensor:
        """The labels (K+1, H, W) that are kept of a finished frame: its probabilities, or its label map."""
        if self.knobs.labels == "soft":
            return probabilities
        return F.one_hot(probabilities.argmax(dim=0), len(probabilities)).movedim(-1, 0).float()

    def _flow(self, index: int, before: int, *, size: tuple[int, ...]) -> Tensor:
        """(2, H, W) in pixels: from frame `index` back to where masks come from, or from there to it."""
        back = self.knobs.direction == "lookup"
        found = self.source.flow(index, before) if back else self.source.flow(before, index)
        step = torch.zeros(2, *size, device=self.device) if found is None else found.to(self.device)
        if self.flow is None:
            return step
        return chain(step, self.flow) if back else chain(self.flow, step)


def colours(frame: Tensor) -> Tensor:
    """Return what coarse matching compares: the frame's Lab (3, H, W), mostly its colour."""
    lab = rgb_to_lab(frame)
    lab[list(CHROMA)] *= COLOUR
    return lab


def splat(labels: Tensor, flow: Tensor) -> Tensor:
    """Move each pixel of `labels` (C, H, W), which sum to 1, along `flow` (2, H, W); four pixels share it.

    Where several land, the result is their mean; where none does, see `filled`. Returns (C, H, W).
    """
    height, width = labels.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[0]
    y = torch.arange(height, device=flow.device).view(height, 1) + flow[1]
    left, top = x.floor(), y.floor()
    landed = labels.new_zeros(len(labels), height * width)
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        share = (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        # what lands outside adds nothing to the first pixel: to leave it out would wait for the device
        place = torch.where(inside, row * width + column, 0).long().flatten()
        landed.index_add_(1, place, (labels * torch.where(inside, share, 0)).flatten(1))
    return filled(landed.unflatten(1, (height, width)))


def filled(landed: Tensor) -> Tensor:
    """Divide (C, H, W) by its sum over channels, which is how much landed on each pixel.

    A crack, next to nothing with most of the 3x3 around it covered, takes the mean of those. A larger hole is
    background: what shows there was hidden before.
    """
    around = F.avg_pool2d(landed[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    hole = landed.sum(0) < COVERED
    crack = hole & (around.sum(0) > CRACK)
    return normalised(torch.where(crack, around, landed.masked_fill(hole, 0)))
