"""What is learnt: to carry a clip's first masks on, and to find them again from later frames (STM-Cycle)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.config import Config
from mamp.loading.augmentation.batches import augmented_with_masks
from mamp.methods.stm.config import StmConfig
from mamp.methods.stm.fitting import normalise
from mamp.methods.stm.initial import initialise
from mamp.methods.stm.losses import segmentation_loss
from mamp.methods.stm.network import Query, Stm, aggregate
from mamp.methods.supervised import SupervisedTask, painted
from mamp.methods.task import Batch
from mamp.ops.constants import numbers
from mamp.propagation.readout import memory_read


@dataclass(frozen=True)
class Prepared:
    """frames: normalised (B, T, 3, H, W). masks: for each clip one-hot (T, K+1, H, W), 0 if unlabelled."""

    frames: Tensor
    masks: list[Tensor]


@dataclass(frozen=True)
class Carried:
    """What a forward pass gives. probabilities: for each frame from the second on, for each clip (K+1, H, W).
    forward, backward: (frame, clip, cross entropy, IoU loss), the cycle's only where it counts."""

    probabilities: list[list[Tensor]]
    forward: list[tuple[int, int, Tensor, Tensor]]
    backward: list[tuple[int, int, Tensor, Tensor]]


class StmTask(SupervisedTask):
    """Recurrent clips with the published losses, and the cycle term if `method.training.cycle` is above 0."""

    model: Stm

    def __init__(self, config: Config) -> None:
        super().__init__()
        method = config.method
        assert isinstance(method, StmConfig)
        self.knobs, self.data, self.colour = method.training, config.data, method.network.colour
        self.l2 = self.knobs.weight_decay
        self.model = Stm(method.network)
        self.frames = self.knobs.frames

    def initialise(self, source: str) -> tuple[int, int]:
        """See `SupervisedTask`."""
        return initialise(self.model, source, colour=self.colour), len(self.model.state_dict())

    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """Objects drawn and numbered, one augmentation a clip, normalisation."""
        frames, labels, counts = augmented_with_masks(
            batch, self.data, generator, most=self.knobs.max_objects
        )
        masks = [one_hot(clip, count) for clip, count in zip(labels, counts, strict=True)]
        return Prepared(normalise(frames, self.colour), masks)

    def forward(self, prepared: Prepared) -> tuple[Tensor, dict[str, Tensor]]:
        """All terms together, divided by the number of predicted frames, as published."""
        carried = self.carry(prepared)
        clips, length = prepared.frames.shape[:2]
        parts = {}
        for name, terms in (("segmentation", carried.forward), ("cycle", carried.backward)):
            zero = prepared.frames.new_zeros(())
            parts[name] = sum((ce + iou for _, _, ce, iou in terms), zero) / (clips * (length - 1))
        loss = parts["segmentation"] + self.knobs.cycle * parts["cycle"]
        return loss, {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    def carry(self, prepared: Prepared) -> Carried:
        """Go forward through the clips with soft masks, then from each later frame back to the first."""
        frames, targets = prepared.frames, prepared.masks
        clips, length = frames.shape[:2]
        queries = self._look(frames)
        counts = [target.shape[1] - 1 for target in targets]
        owner = numbers(tuple(b for b, count in enumerate(counts) for _ in range(count)), frames.device)
        masks = torch.cat([target[0, 1:] for target in targets])  # (sum of K, H, W)
        keys, values = [], []
        predicted, forward, backward = [], [], []
        for t in range(1, length):
            key, value = self.model.memorise(frames[:, t - 1], masks, owner)
            keys.append(key)
            values.append(value)
            found = self._segment(queries[t], keys, values, owner, counts)
            masks = torch.cat([p[1:] for p in found])
            predicted.append(found)
            for b, p in enumerate(found):
                forward.append((t, b, *self._loss(p, targets[b][t], targets[b][0])))
        if self.knobs.cycle:
            key, value = self.model.memorise(frames[:, -1], masks, owner)
            keys.append(key)
            values.append(value)
            shown = torch.stack([target[:, -1].flatten(1).any(1) for target in targets]).tolist()  # (B, T)
            for t in range(length - 1, 0, -1):
                counted = [b for b in range(clips) if shown[b][t]]  # the last object shows
                if not counted:
                    continue
                found = self._segment(queries[0], [keys[t]], [values[t]], owner, counts)
                for b in counted:
                    backward.append((t, b, *self._loss(found[b], targets[b][0], targets[b][t])))
        return Carried(predicted, forward, backward)

    def _look(self, frames: Tensor) -> list[Query]:
        """Every frame encoded in one pass; for each time the clips' queries."""
        clips, length = frames.shape[:2]
        query = self.model.look(frames.flatten(0, 1))
        parts = (query.key, query.value, query.eighth, query.quarter)
        key, value, eighth, quarter = (part.unflatten(0, (clips, length)) for part in parts)
        return [Query(key[:, t], value[:, t], eighth[:, t], quarter[:, t], query.size) for t in range(length)]

    def _segment(
        self, query: Query, keys: list[Tensor], values: list[Tensor], owner: Tensor, counts: list[int]
    ) -> list[Tensor]:
        """Probabilities (K+1, H, W) of each clip's frame."""
        read = memory_read(query.key[owner], keys, values)
        logits = self.model.decode(query, read, owner)  # (sum of K, 2, H, W)
        return [aggregate(part).softmax(dim=0) for part in logits.split(counts)]

    def _loss(self, probabilities: Tensor, target: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        return segmentation_loss(
            probabilities, target, reference=reference, kind=self.knobs.loss, hardest=self.knobs.hardest
        )

    @torch.no_grad()
    def preview(self, prepared: Prepared) -> Tensor:
        """First clip: its frames with the true masks, below with the predicted ones; uint8 (3, 2H, TW)."""
        first = Prepared(prepared.frames[:1], prepared.masks[:1])
        found = self.carry(first).probabilities
        truth = first.masks[0].argmax(1)  # (T, H, W)
        guess = torch.stack([truth[0], *(at[0].argmax(0) for at in found)])
        return painted(first.frames[0], (truth, guess))


def one_hot(labels: Tensor, objects: int) -> Tensor:
    """uint8 (T, H, W) -> float (T, objects+1, H, W); unlabelled pixels are 0 in every channel."""
    unlabelled = labels > objects
    channels = F.one_hot(labels.masked_fill(unlabelled, 0).long(), objects + 1)
    return (channels * ~unlabelled[..., None]).movedim(-1, 1).float()
