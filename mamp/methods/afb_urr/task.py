"""What is learnt: to find the first frame's objects in each other frame, from the first frame alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.config import Config
from mamp.loading.augmentation.batches import augmented_with_masks
from mamp.loading.labels import UNLABELLED
from mamp.methods.afb_urr.config import AfbConfig
from mamp.methods.afb_urr.losses import segmentation_loss
from mamp.methods.afb_urr.network import AfbUrr, scores
from mamp.methods.stm.fitting import normalise
from mamp.methods.stm.initial import initialise
from mamp.methods.stm.task import one_hot
from mamp.methods.supervised import SupervisedTask, painted
from mamp.methods.task import Batch
from mamp.propagation.readout import memory_read


@dataclass(frozen=True)
class Prepared:
    """frames: normalised (B, T, 3, H, W). labels: uint8 (B, T, H, W), 0 to K, 255 where there is none.
    objects: K of each clip.
    """

    frames: Tensor
    labels: Tensor
    objects: list[int]


class AfbTask(SupervisedTask):
    """Clips with the published losses; the bank holds the first frame and is not updated."""

    model: AfbUrr

    def __init__(self, config: Config) -> None:
        super().__init__()
        method = config.method
        assert isinstance(method, AfbConfig)
        self.knobs, self.data, self.colour = method.training, config.data, method.network.colour
        self.model = AfbUrr(method.network)
        self.frames = self.knobs.frames

    def initialise(self, source: str) -> tuple[int, int]:
        """See `SupervisedTask`."""
        return initialise(self.model, source, colour=self.colour), len(self.model.state_dict())

    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """Objects drawn and numbered, augmentation, normalisation."""
        frames, maps, counts = augmented_with_masks(
            batch, self.data, generator, most=self.knobs.max_objects, others=0
        )
        return Prepared(normalise(frames, self.colour), maps, counts)

    def forward(self, prepared: Prepared) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy and the uncertainty term; clips whose first frame has lost its objects count as 0."""
        parts = []
        for frames, labels, objects in zip(prepared.frames, prepared.labels, prepared.objects, strict=True):
            ce, doubt = segmentation_loss(self.carry(frames, labels[0], objects), labels[1:])
            shown = ((labels[0] > 0) & (labels[0] != UNLABELLED)).any()
            parts.append(torch.stack((ce, doubt)) * shown)
        ce, doubt = torch.stack(parts).mean(0)
        loss = ce + self.knobs.uncertainty * doubt
        return loss, {"loss": loss.detach(), "segmentation": ce.detach(), "uncertainty": doubt.detach()}

    def carry(self, frames: Tensor, first: Tensor, objects: int) -> Tensor:
        """Each object's logits (T-1, K+1, 2, H, W) in the later frames of a normalised clip (T, 3, H, W)
        with the first frame's label map (H, W)."""
        keys, values = self.model.memorise(frames[0], one_hot(first[None], objects)[0])
        query = self.model.look(frames[1:])
        count, channels, height, width = query.key.shape
        cells = query.key.movedim(0, 1).reshape(1, channels, count * height, width)
        read = memory_read(cells.expand(objects + 1, -1, -1, -1), [keys], [values])  # (K+1, V, (T-1)*h, w)
        return self.model.decode(query, read.unflatten(2, (count, height)).movedim(2, 0))

    @torch.no_grad()
    def preview(self, prepared: Prepared) -> Tensor:
        """First clip: its frames with the true masks, below with the predicted ones; uint8 (3, 2H, TW)."""
        frames, labels = prepared.frames[0], prepared.labels[0]
        found = scores(self.carry(frames, labels[0], prepared.objects[0])).argmax(1)  # (T-1, H, W)
        guess = torch.cat((labels[:1].long(), found))
        return painted(frames, (labels, guess))
