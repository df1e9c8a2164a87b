"""What happens per frame: cut each object out where it was, compare it with its reference, merge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mamp.methods.base import Propagator
from mamp.methods.ssm.config import SsmConfig
from mamp.methods.ssm.network import Reference
from mamp.ops.crops import Box, cut, find_boxes, paste
from mamp.ops.sizes import size_of
from mamp.propagation.labels import normalised

# Pixels of crops that go through the network at once on the CPU. With more the work waits for new pages of
# memory: five objects at 512x512 take 5 times the seconds of one if they go one by one, and 6 times if
# together (ResNet-50).
CPU_PIXELS = 512 * 512


@dataclass
class Pending:
    """The frame just stepped (3, H, W), and where each object is in it, bool (K, H, W)."""

    frame: Tensor
    masks: Tensor


class SsmPropagator(Propagator):
    """Carries K masks through one video, each by itself.

    State: one reference for each object, encoded once, and the pending frame. motion is not used.
    """

    floats_held = (300, 0)

    def __init__(self, model: nn.Module, method: SsmConfig, **places: Any) -> None:
        super().__init__(model, method, **places)
        self.knobs = method.propagation
        height, width = self.knobs.input_size
        fitting = max(1, CPU_PIXELS // (height * width)) if self.device.type == "cpu" else self.knobs.batch
        self.at_once = min(self.knobs.batch, fitting)
        self.reference: Reference | None = None
        self.pending: Pending | None = None

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        with self._computing():
            given = self._as_masks(masks)
            self.pending = Pending(self._here(frame), given)
            self.reference = self._refer(given)

    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        with self._computing():
            frame, before, reference = self._here(frame), self._pending().masks, self._reference()
            size = size_of(frame)
            boxes = self._boxes(before)
            found = torch.cat(
                [
                    self._find(frame, before[part], reference[part], boxes[part])
                    for part in self._parts(len(before))
                ]
            )
            pasted = torch.stack([paste(p, box, size) for p, box in zip(found, boxes, strict=True)])
            # outside of its box an object is in neither channel, and not there
            self.pending = Pending(frame, pasted[:, 1] > pasted[:, 0])
            return normalised(merge(pasted[:, 1], how=self.knobs.merge))

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W).

        With `method.propagation.reference` at last this frame is what they are compared with from now on; one
        that is hidden here, whose mask is empty, keeps its reference.
        """
        with self._computing():
            pending, given, reference = self._pending(), self._as_masks(masks), self._reference()
            pending.masks = pending.masks.clone()
            pending.masks[objects] = given
            shown = given.flatten(1).any(1)
            if self.knobs.reference == "last" and shown.any():
                anew = [k for k, there in zip(objects, shown.tolist(), strict=True) if there]
                now = [*(k for k in range(len(pending.masks)) if k not in anew), *anew]
                joined = reference[now[: -len(anew)]].joined(self._refer(given[shown]))
                self.reference = joined[[now.index(k) for k in range(len(now))]]

    def add(self, masks: Tensor) -> None:
        """Add objects (N, H, W) at the pending frame, which is their reference. The others do not change."""
        with self._computing():
            pending, given, reference = self._pending(), self._as_masks(masks), self._reference()
            pending.masks = torch.cat((pending.masks, given))
            self.reference = reference.joined(self._refer(given))

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); later ones move up."""
        with self._computing():
            pending, reference = self._pending(), self._reference()
            stay = [k for k in range(len(pending.masks)) if k not in objects]
            pending.masks, self.reference = pending.masks[stay], reference[stay]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the references."""
        return 0 if self.reference is None else self.reference.nbytes

    # -- one frame

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Of all crops that go through the network together."""
        height, width = self.knobs.input_size
        return self.at_once * height, width

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), self._mixed():
            yield

    def _reference(self) -> Reference:
        """What the objects are compared with; there is one once the first frame is pending."""
        assert self.reference is not None
        return self.reference

    def _as_masks(self, masks: Tensor) -> Tensor:
        return masks.to(self.device) > 0.5

    def _parts(self, objects: int) -> list[slice]:
        """So many objects, as they go through the network."""
        return [slice(k, min(k + self.at_once, objects)) for k in range(0, objects, self.at_once)]

    def _boxes(self, masks: Tensor) -> list[Box]:
        return find_boxes(masks, [self.knobs.margin] * 4)

    def _refer(self, masks: Tensor) -> Reference:
        """The objects of these masks (N, H, W), as they are in the pending frame."""
        frame = self._pending().frame
        boxes, found = self._boxes(masks), None
        for part in self._parts(len(masks)):
            more = self.model.refer(*self._cut(frame, masks[part], boxes[part]))
            found = more if found is None else found.joined(more)
        assert found is not None
        return found

    def _find(self, frame: Tensor, before: Tensor, reference: Reference, boxes: list[Box]) -> Tensor:
        """Probabilities (N, 2, *input_size) of these objects, not it and it, in their crops of the frame."""
        seen = self.model.look(*self._cut(frame, before, boxes))
        logits, _ = self.model(reference, seen, self.knobs.input_size)
        return logits.softmax(dim=1)

    def _cut(self, frame: Tensor, masks: Tensor, boxes: list[Box]) -> tuple[Tensor, Tensor]:
        """What the network sees of each object: crops (N, 3, *input_size) and masks (N, 1, *input_size)."""
        size = self.knobs.input_size
        pairs = [cut(frame, mask, box, size) for mask, box in zip(masks, boxes, strict=True)]
        images, own = (torch.stack(x) for x in zip(*pairs, strict=True))
        return images, own


def merge(scores: Tensor, *, how: str) -> Tensor:
    """Scores (K+1, H, W), background first, of one frame's objects (K, H, W) in [0, 1]; the largest wins.

    how: background is `soft`, the product of all 1 - p, or `hard`, the least of them.
    """
    absent = 1 - scores
    background = absent.prod(0) if how == "soft" else absent.amin(0)
    return torch.cat((background[None], scores))
