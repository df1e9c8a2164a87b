"""AFB-URR's network: STM's trunks, one key and value head, and a decoder that refines uncertain regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.methods.afb_urr.config import AfbConfig, AfbNetwork
from mamp.methods.stm.network import Decoder, Head, MemoryEncoder, ResidualBlock, Trunk, bounded
from mamp.ops.sizes import resize, size_of

WINDOW = 7  # pixels at 1/2 that a local reference is averaged over


@dataclass
class Query:
    """Frames as they are compared and decoded.

    key (B, C, h, w), value (B, V, h, w). For the decoder, what the trunk has at 1/8 and 1/4, (B, D, ., .),
    and at 1/2, (B, E, ., .). size: (H, W) of the frames.
    """

    key: Tensor
    value: Tensor
    eighth: Tensor
    quarter: Tensor
    half: Tensor
    size: tuple[int, int]


class RefiningDecoder(Decoder):
    """STM's decoder, and after it a local refinement at 1/2 where it is uncertain (AFB-URR, section 3.3).

    Here the background is an object too, the first of the K+1 channels.
    """

    def __init__(
        self, inputs: int, eighth: int, quarter: int, half: int, *, channels: int, local: int
    ) -> None:
        super().__init__(inputs, eighth, quarter, channels=channels)
        self.local_fuse = nn.Conv2d(2 * half, local, 3, padding=1)
        self.local_block = ResidualBlock(local)
        self.local_predict = nn.Conv2d(local, 2, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def refine(self, logits: Tensor, half: Tensor, *, objects: int) -> Tensor:
        """Logits (B*(K+1), 2, ., .) at 1/4 and features (B, E, h, w) at 1/2 -> logits (B*(K+1), 2, h, w).

        objects: K+1, which come fastest.
        """
        logits = resize(logits.float(), half.shape[-2:])
        rough = rough_masks(logits, objects=objects)  # (B, K+1, h, w)
        doubt = uncertainty(rough)  # (B, 1, h, w)
        weight = rough.flatten(0, 1)[:, None]  # (B*(K+1), 1, h, w)
        frame = half.repeat_interleave(objects, dim=0)
        reference = averaged(frame * weight) / (averaged(weight) + 1e-8)
        confidence = F.max_pool2d(weight, WINDOW, 1, WINDOW // 2)
        found = self.local_block(self.local_fuse(torch.cat((frame, reference), dim=1)))
        local = confidence * self.local_predict(F.relu(found)).float()
        return logits + doubt.repeat_interleave(objects, dim=0) * local


class AfbUrr(nn.Module):
    """The network. Objects of several frames are one batch, a frame's objects together, background first.

    entries: what propagation calls, in place of `forward`.
    """

    entries = ("memorise", "look", "decode")

    def __init__(self, knobs: AfbNetwork) -> None:
        super().__init__()
        self.backbone = knobs.backbone
        self.memory_encoder = MemoryEncoder(knobs.backbone, width=knobs.width)
        self.query_encoder = Trunk(knobs.backbone, width=knobs.width)
        deepest, eighth, quarter = self.query_encoder.channels
        half = self.query_encoder.conv1.out_channels
        self.head = Head(deepest, key=knobs.key, value=knobs.value)
        self.decoder = RefiningDecoder(
            2 * knobs.value, eighth, quarter, half, channels=knobs.decoder, local=knobs.local
        )

    def memorise(self, frame: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (K+1, C, h*w) and values (K+1, V, h*w).

        frame: normalised (3, H, W). masks: soft (K+1, H, W), background first; the second mask is what each
        leaves.
        """
        encoder = self.memory_encoder
        stem = encoder.conv1(frame[None]) + encoder.mask(masks[:, None])
        stem = stem + encoder.second(bounded(1 - masks)[:, None])
        key, value = self.head(encoder.stages(stem)[0])
        return key.flatten(2), value.flatten(2)

    def look(self, frames: Tensor) -> Query:
        """Normalised frames (B, 3, H, W), encoded once for all objects."""
        half = self.query_encoder.shallow(self.query_encoder.conv1(frames))
        deepest, eighth, quarter = self.query_encoder.deeper(half)
        key, value = self.head(deepest)
        refine3, refine2 = self.decoder.refine3, self.decoder.refine2
        return Query(key, value, refine3.prepare(eighth), refine2.prepare(quarter), half, size_of(frames))

    def decode(self, query: Query, read: Tensor) -> Tensor:
        """Return logits float32 (B, K+1, 2, H, W), not the object and the object.

        read: what each object read, (B, K+1, V, h, w).
        """
        objects = read.shape[1]
        value, eighth, quarter = (
            part.repeat_interleave(objects, dim=0) for part in (query.value, query.eighth, query.quarter)
        )
        joined = torch.cat((read.flatten(0, 1).to(value.dtype), value), dim=1)
        logits = self.decoder(joined, eighth, quarter)
        logits = resize(self.decoder.refine(logits, query.half, objects=objects), query.size)
        return logits.unflatten(0, (-1, objects))


def own_probabilities(logits: Tensor) -> Tensor:
    """Logits (B, K+1, 2, H, W) -> each object's own probability (B, K+1, H, W); they need not sum to 1."""
    return logits.softmax(dim=2)[:, :, 1]


def rough_masks(logits: Tensor, *, objects: int) -> Tensor:
    """Logits (B*(K+1), 2, h, w) -> (B, K+1, h, w).

    A softmax over objects of probabilities, not of logits, as published.
    """
    return own_probabilities(logits.unflatten(0, (-1, objects))).softmax(dim=1)


def uncertainty(probabilities: Tensor) -> Tensor:
    """(B, K+1, H, W) -> (B, 1, H, W) in (0, 1]: exp(1 - best / second best), eq. 10; 1 for equals."""
    best, second = probabilities.topk(2, dim=1).values.split(1, dim=1)
    return torch.exp(1 - best / (second + 1e-8))


def scores(logits: Tensor, *, least: float | None = None) -> Tensor:
    """Return log odds (B, K+1, H, W) of each object's own probability.

    A softmax over objects makes them probabilities that sum to 1.

    logits: (B, K+1, 2, H, W). least: probabilities are cut to it and to 1 - least, as published; None: the
    logits' difference.
    """
    if least is None:
        return logits[:, :, 1] - logits[:, :, 0]
    p = own_probabilities(logits).clamp(least, 1 - least)
    return torch.log(p / (1 - p))


def averaged(x: Tensor) -> Tensor:
    """Means over a window."""
    return F.avg_pool2d(x, WINDOW, 1, WINDOW // 2)


def build_model(method: AfbConfig) -> AfbUrr:
    """Return the network that `method` describes, with fresh weights."""
    return AfbUrr(method.network)
