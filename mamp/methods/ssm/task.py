"""What is learnt: an object in one frame, from another frame with its mask and a rough earlier place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.config import Config
from mamp.core.errors import UserError
from mamp.loading.augmentation.batches import moved
from mamp.loading.augmentation.cutouts import DRAWS, Move, blob, blob_draws, cut_moved
from mamp.loading.labels import UNLABELLED
from mamp.methods.ssm.config import SsmConfig, refuse_small
from mamp.methods.ssm.initial import initialise
from mamp.methods.ssm.network import Ssm
from mamp.methods.supervised import SupervisedTask
from mamp.methods.task import Batch
from mamp.ops.colour import imagenet
from mamp.ops.losses import map_cross_entropy

REFERENCE, PREVIOUS, CURRENT = 0, 1, 2  # frames of a clip


@dataclass(frozen=True)
class Prepared:
    """One object a clip, cut out.

    reference, frame: normalised (B, 3, H, W). reference_mask, previous: (B, 1, H, W) in [0, 1].
    target: int64 (B, H, W), 1 the object, 0 not it, 255 unlabelled.
    """

    reference: Tensor
    reference_mask: Tensor
    frame: Tensor
    previous: Tensor
    target: Tensor


class SsmTask(SupervisedTask):
    """Single frames with the published losses. A clip is the reference, the frame before, and the frame."""

    model: Ssm
    frames = 3

    def __init__(self, config: Config) -> None:
        super().__init__()
        method = config.method
        assert isinstance(method, SsmConfig)
        self.knobs = method.training
        self.data, self.size = config.data, (config.data.size, config.data.size)
        try:
            refuse_small("data.size", self.size, method.network)
        except ValueError as error:
            raise UserError(f"{error}; raise data.size") from None
        self.model = Ssm(method.network, dropout=method.training.dropout)

    def initialise(self, source: str) -> tuple[int, int]:
        """See `SupervisedTask`."""
        return initialise(self.model, source), len(self.model.encoder.state_dict())

    @torch.no_grad()
    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """An object of each clip; the reference, and the frame with the mask before it, moved each by itself;
        blobs.
        """
        batch = moved(batch, self.data, generator)
        assert batch.labels is not None
        draw = batch.draw(DRAWS, generator=generator)
        parts = zip(batch.frames, batch.labels, batch.labels_to_read(), draw, strict=True)
        found = [self._prepare_one(*part) for part in parts]
        return Prepared(*(torch.stack(x) for x in zip(*found, strict=True)))

    def _prepare_one(self, frames: Tensor, labels: Tensor, read: Tensor, draw: Tensor) -> tuple[Tensor, ...]:
        """uint8 frames (3, 3, H, W) and labels (3, H, W) -> a row of each of `Prepared`.

        read: the labels on the CPU, where the object is chosen and its box is found. draw: (DRAWS,).
        """
        chosen = choose_object(read, float(draw[0]))
        own, bounding = (labels == chosen).float(), (read == chosen).float()
        images = frames.float() / 255
        reference, masks, _ = cut_moved(
            images[REFERENCE],
            own[REFERENCE, None],
            bounding[REFERENCE],
            move=self._move(draw[1:7]),
            size=self.size,
        )
        unlabelled = (labels[CURRENT] == UNLABELLED).float()
        now = torch.stack((own[CURRENT], unlabelled, own[PREVIOUS]))
        frame, (mask, unknown, previous), _ = cut_moved(
            images[CURRENT], now, bounding[PREVIOUS], move=self._move(draw[7:13]), size=self.size
        )
        if float(draw[13]) < self.knobs.blur:
            previous = blob(previous, blob_draws(draw[14:18]).to(previous.device))
        target = mask.long().masked_fill(unknown > 0, UNLABELLED)
        return imagenet(reference), masks, imagenet(frame), previous[None], target

    def _move(self, draw: Tensor) -> Move:
        """(6,) uniform numbers as `method.training` scales them."""
        flip, turn, *margins = draw.tolist()
        least, most = self.knobs.margins
        left, right, top, bottom = (least + (most - least) * m for m in margins)
        return Move(flip < self.knobs.flip, self.knobs.rotate * (2 * turn - 1), (left, right, top, bottom))

    def forward(self, prepared: Prepared) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of the mask, and of the structure's own mask by its weight, as published."""
        logits, structured = self.segment(prepared)
        mask, structure = (cross_entropy(x, prepared.target) for x in (logits, structured))
        loss = mask + self.knobs.structure * structure
        return loss, {"loss": loss.detach(), "mask": mask.detach(), "structure": structure.detach()}

    def segment(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Return logits (B, 2, H, W), and those of the structure alone.

        Running statistics see references first, as published.
        """
        reference = self.model.refer(prepared.reference, prepared.reference_mask)
        seen = self.model.look(prepared.frame, prepared.previous)
        height, width = prepared.target.shape[-2:]
        return self.model(reference, seen, (height, width))

    @torch.no_grad()
    def preview(self, prepared: Prepared) -> Tensor:
        """First clip, uint8: reference with mask, frame with what was before, true mask, predicted mask."""
        first = Prepared(*(part[:1] for part in vars(prepared).values()))
        found = self.segment(first)[0].softmax(1)[0, 1]
        truth = (first.target[0] == 1).float()
        pairs = (
            (first.reference[0], first.reference_mask[0, 0]), (first.frame[0], first.previous[0, 0]),
            (first.frame[0], truth), (first.frame[0], found),
        )  # fmt: skip
        picture = torch.cat([_tinted(image, mask) for image, mask in pairs], dim=-1)
        return (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def choose_object(labels: Tensor, draw: float) -> int:
    """Return one of the reference's objects in labels (3, H, W), one that other frames show if there is.

    draw: in [0, 1). An id that nothing has where the reference shows none.
    """
    there, later = (_ids(labels[part]) for part in (slice(0, 1), slice(1, None)))
    ids = [i for i in there if i in later] or there
    return ids[int(draw * len(ids))] if ids else UNLABELLED - 1


def _ids(labels: Tensor) -> list[int]:
    return [int(i) for i in labels.unique().tolist() if i not in (0, UNLABELLED)]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the labelled pixels; logits (B, 2, H, W), target (B, H, W)."""
    total = map_cross_entropy(logits, target, ignored=UNLABELLED)
    return total / (target != UNLABELLED).sum().clamp(min=1)


def _tinted(image: Tensor, mask: Tensor) -> Tensor:
    """A normalised image (3, H, W) with a mask (H, W) in red."""
    grey = image.mean(0)
    grey = (grey - grey.amin()) / (grey.amax() - grey.amin()).clamp(min=1e-6)
    return torch.stack((grey + 0.5 * mask, grey, grey))
