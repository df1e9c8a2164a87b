"""What is learnt: the colour of a frame, rebuilt from others by similar features (MAMP, appendix A5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.config import Config
from mamp.core.errors import UserError
from mamp.loading.augmentation.batches import augmented
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import STRIDE, Encoder
from mamp.methods.task import Batch, TrainingTask
from mamp.ops.colour import CHROMA, MEAN, SCALE, drop_channel, rgb_to_lab
from mamp.ops.sizes import resize
from mamp.propagation.correlation import window_attention


@dataclass(frozen=True)
class Prepared:
    """frames: normalised Lab (B, r+1, 3, H, W), the query last. dropped: the hidden channel, 1 or 2."""

    frames: Tensor
    dropped: int


class MampTask(TrainingTask):
    """Reconstruct the hidden chroma channel of the last frame of a clip from its r first ones.

    The published loss is smooth L1 of 20 times the reconstruction against 20 times the target, at full size.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        method = config.method
        assert isinstance(method, MampConfig)
        if method.encoder.joined:
            raise UserError(
                "method.encoder.joined is of carrying masks, not of training; leave it out, and give it to"
                " segment or evaluate"
            )
        if method.encoder.distilled:
            raise UserError(
                "method.encoder.distilled is of finished weights (scripts/distil.py), not of training;"
                " leave it out"
            )
        self.knobs, self.encoder, self.data = method.training, method.encoder, config.data
        self.model = Encoder(width=self.encoder.width, features=self.encoder.features)
        self.frames = self.knobs.references + 1

    def prepare(self, batch: Batch, generator: torch.Generator) -> Prepared:
        """Augmentation, Lab, and which chroma channel is dropped (once per batch, as published)."""
        frames = augmented(batch, self.data, generator)
        dropped = CHROMA[int(torch.randint(len(CHROMA), (), generator=generator))]
        return Prepared(rgb_to_lab(frames, self.encoder.lab), dropped)

    def forward(self, prepared: Prepared) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean smooth-L1 loss of the reconstruction at full size."""
        target = prepared.frames[:, -1, prepared.dropped, None]  # (B, 1, H, W)
        full = resize(self.reconstruct(prepared), target.shape[-2:])
        loss = F.smooth_l1_loss(20 * full, 20 * target)
        return loss, {"loss": loss.detach()}

    def reconstruct(self, prepared: Prepared) -> Tensor:
        """The query's dropped channel (B, 1, h, w) from the references'."""
        inputs = drop_channel(prepared.frames, prepared.dropped)
        features = self._encode(inputs)
        values = [f[:, prepared.dropped, None, ::STRIDE, ::STRIDE] for f in prepared.frames[:, :-1].unbind(1)]
        return window_attention(
            features[-1],
            features[:-1],
            values,
            radius=self.knobs.radius,
            temperature=self.encoder.resolved_temperature(),
        )

    @torch.no_grad()
    def preview(self, prepared: Prepared) -> Tensor:
        """First clip: the query, its grey input, and the query in rebuilt colour; uint8 (3, H, 3W)."""
        from kornia.color import lab_to_rgb

        query = prepared.frames[:1, -1]
        rebuilt = query.clone()
        channel = self.reconstruct(Prepared(prepared.frames[:1], prepared.dropped))
        rebuilt[:, prepared.dropped, None] = resize(channel, query.shape[-2:])
        without = query.clone()
        without[:, prepared.dropped] = 0
        row = torch.cat((query, without, rebuilt), dim=-1)
        mean, scale = (row.new_tensor(v).view(3, 1, 1) for v in (MEAN, SCALE))
        return (lab_to_rgb(row * scale + mean)[0].clamp(0, 1) * 255).round().to(torch.uint8).cpu()

    def _encode(self, frames: Tensor) -> list[Tensor]:
        """Features of each frame of (B, T, 3, H, W), as T tensors (B, C, h, w)."""
        if self.knobs.batch_norm == "frame":
            return [self._features(frame) for frame in frames.unbind(1)]
        together = self._features(frames.transpose(0, 1).flatten(0, 1))  # (T*B, C, h, w)
        return list(together.chunk(frames.shape[1]))

    def _features(self, lab: Tensor) -> Tensor:
        features = self.model(lab).float()
        return F.normalize(features, dim=1) if self.encoder.similarity == "cosine" else features
