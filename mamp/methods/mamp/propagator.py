"""What happens per frame: encode it once, read labels from memory frames, remember it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.config import MampConfig
from mamp.errors import UserError
from mamp.files import MB
from mamp.methods.base import Motion
from mamp.methods.mamp.encoder import STRIDE
from mamp.methods.mamp.memory import RULES, BudgetRule
from mamp.motion import build_motion
from mamp.motion.source import FAR, NEAR
from mamp.ops.colour import CHROMA, drop_channel, rgb_to_lab
from mamp.ops.correlation import topk_readout
from mamp.ops.sizes import pad_to_multiple, resize
from mamp.ops.warping import clean_flow, warp


@dataclass
class Remembered:
    """A memory frame: features (C, h, w) and labels (K+1, h, w), background first."""

    features: Tensor
    labels: Tensor


@dataclass
class Pending:
    """The frame just stepped: features, probabilities (K+1, H, W), and scores (K+1, h, w) on the feature grid."""

    index: int
    features: Tensor
    probabilities: Tensor
    scores: Tensor


class MampPropagator:
    """Carries K masks through one video by local matching of features (MAMP, A6-A8).

    State: the memory frames that the memory rule can still read, and the pending frame. The rule bounds it.
    motion: where things were; None is what `method.motion` names, made anew for this video.
    """

    def __init__(
        self,
        model: nn.Module,
        method: MampConfig,
        *,
        motion: Motion | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.device, self.dtype = torch.device(device), dtype
        self.motion = motion or build_motion(
            method.motion, features=lambda: self.features, device=self.device, dtype=dtype
        )
        self.knobs, self.encoder = method.propagation, method.encoder
        self.temperature = self.knobs.temperature or self.encoder.resolved_temperature()
        self.rule = RULES[self.knobs.memory](self.knobs.memory_length)
        self.cell = STRIDE * self.knobs.subsample  # padded pixels a feature cell stands for
        self.memory: dict[int, Remembered] = {}
        self.given: list[int] = []
        self.pending: Pending | None = None
        self.next_index = 0
        self.features = torch.empty(0)  # of the latest frame

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        index, features = self._see(frame)
        probabilities = with_background(masks.to(self.device, torch.float32))
        self.pending = Pending(index, features, probabilities, self._to_grid(probabilities))
        self.given.append(index)

    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        self._commit()
        index, features = self._see(frame)
        scores = self._read(index, features)  # (K+1, h, w)
        probabilities = self._to_frame(scores, frame.shape[-2:])
        self.pending = Pending(index, features, probabilities, normalised(scores))
        return probabilities

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """`masks` (len(objects), H, W) in {0, 1} replace the pending frame's masks of these objects (0-based)."""
        pending = self._pending()
        masks = masks.to(self.device, torch.float32)
        grid = self._to_grid(with_background(masks))[1:]
        channels = [k + 1 for k in objects]
        pending.probabilities = impose(pending.probabilities, masks, channels)
        pending.scores = impose(pending.scores, grid, channels)
        if pending.index not in self.given:
            self.given.append(pending.index)

    def add(self, masks: Tensor) -> None:
        """New objects (N, H, W) in {0, 1} appear at the pending frame; they win over what was predicted."""
        pending, count = self._pending(), len(masks)
        known = len(pending.scores) - 1
        if isinstance(self.rule, BudgetRule) and self.memory:
            self._drop_unread(pending.index - 1, objects=known + count)
        pending.probabilities = append_empty(pending.probabilities, count)
        pending.scores = append_empty(pending.scores, count)
        for entry in self.memory.values():
            entry.labels = append_empty(entry.labels, count)
        self.correct(masks, list(range(known, known + count)))
        if self.knobs.backfill:
            self._backfill(known + 1)

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        pending = self._pending()
        pending.probabilities = drop(pending.probabilities, objects)
        pending.scores = drop(pending.scores, objects)
        for entry in self.memory.values():
            entry.labels = drop(entry.labels, objects)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the memory frames' features and labels."""
        return sum(t.nbytes for entry in self.memory.values() for t in (entry.features, entry.labels))

    # -- one frame

    def _pending(self) -> Pending:
        if self.pending is None:
            raise RuntimeError("start() comes before anything else")
        return self.pending

    def _see(self, frame: Tensor) -> tuple[int, Tensor]:
        """Index and features (C, h, w) of a new frame; shows it to the motion source."""
        index, self.next_index = self.next_index, self.next_index + 1
        frame = frame.to(self.device, torch.float32)
        if self.knobs.scale != 1:
            frame = resize(frame, self._scaled(frame.shape[-2:]))
        # padded after normalising, as published: the network's 0 is a mid grey
        self.features = self._encode(self._fit(rgb_to_lab(frame, self.encoder.lab)))
        if self.motion is not None:
            self.motion.see(index, self._fit(frame))
        return index, self.features

    def _encode(self, lab: Tensor) -> Tensor:
        """Features (C, h, w) of normalised Lab (3, H, W), of all views joined; of unit length when compared by cosine."""
        hidden = self.knobs.views == "hidden"
        views = torch.stack([drop_channel(lab, channel) for channel in CHROMA] if hidden else [lab])
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            features = self.model(
                views.contiguous(memory_format=torch.channels_last)
            ).float()  # (views, C, h, w)
        if self.encoder.similarity == "cosine":
            features = F.normalize(features, dim=1)
        # dot products are then means over the views
        return (features.flatten(0, 1) / len(views) ** 0.5).contiguous()

    def _read(self, index: int, features: Tensor) -> Tensor:
        """Scores (K+1, h, w) of the query from the memory frames; sums may be below 1 near borders."""
        chosen = self.rule.read(index - 1, self.given)
        keys = [self.memory[i].features for i in chosen]  # M of (C, h, w)
        values = [self.memory[i].labels for i in chosen]  # M of (K+1, h, w)
        if self.motion is not None:
            far = 5 if self.knobs.memory == "youtube" else 15  # frames apart, as published (A7)
            for n, i in enumerate(chosen):
                flow = self.motion.flow(index, i, iterations=FAR if index - i > far else NEAR)
                if flow is not None:
                    flow = clean_flow(flow.to(self.device))[None]
                    keys[n], values[n] = warp(keys[n][None], flow)[0], warp(values[n][None], flow)[0]
        return self._carry(features, keys, values)

    def _carry(self, features: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        return topk_readout(
            features,
            keys,
            values,
            radius=self.knobs.radius,
            top_k=self.knobs.top_k,
            temperature=self.temperature,
            outside=self.knobs.outside,
            tile=self.knobs.tile,
            max_bytes=self.knobs.max_mb * MB,
        )

    def _backfill(self, first: int) -> None:
        """Find the objects from channel `first` on in the memory frames too, where they pass for background."""
        pending = self._pending()
        for entry in self.memory.values():
            found = self._carry(entry.features, [pending.features], [pending.scores[first:]])
            entry.labels[first:] = found * entry.labels[0]
            entry.labels[0] -= entry.labels[first:].sum(0)

    def _commit(self) -> None:
        """Put the pending frame into memory, and drop what no later query can read."""
        pending = self._pending()
        labels = pending.scores
        if self.knobs.labels == "hard":
            winner = pending.probabilities.argmax(dim=0)  # first index wins ties
            labels = self._to_grid(F.one_hot(winner, len(pending.scores)).movedim(-1, 0).float())
        self.memory[pending.index] = Remembered(pending.features, labels)
        self._drop_unread(pending.index, objects=len(pending.scores) - 1)

    def _drop_unread(self, last: int, *, objects: int) -> None:
        """Drop what no query after frame `last` can read, with the labels of so many objects."""
        if isinstance(self.rule, BudgetRule):
            self.rule.capacity = self._frames_in_budget(objects)
        for index in [i for i in self.memory if not self._needed(i, last)]:
            del self.memory[index]
            if self.motion is not None:
                self.motion.forget(index)

    def _frames_in_budget(self, objects: int) -> int:
        channels, height, width = self._pending().features.shape
        frame = 4 * (channels + objects + 1) * height * width  # bytes
        if frame > self.knobs.budget_mb * MB:
            raise UserError(
                f"method.propagation.budget_mb={self.knobs.budget_mb:g} holds no memory frame of {frame / MB:.3g} MB;"
                f" set it to {math.ceil(2 * frame / MB)} or more"
            )
        return int(self.knobs.budget_mb * MB // frame)

    def _needed(self, index: int, last: int) -> bool:
        return index in self.rule.read(last, self.given) or self.rule.keeps(index, last, self.given)

    # -- between the frame and the feature grid

    def _scaled(self, size: tuple[int, ...]) -> tuple[int, int]:
        return round(size[0] * self.knobs.scale), round(size[1] * self.knobs.scale)

    def _fit(self, x: Tensor) -> Tensor:
        """(C, H, W) padded to the multiple, every n-th row and column kept."""
        return pad_to_multiple(x, self.knobs.pad)[:, :: self.knobs.subsample, :: self.knobs.subsample]

    def _to_grid(self, labels: Tensor) -> Tensor:
        """(K+1, H, W), background first -> (K+1, h, w): the pixel at each cell's centre, as published; soft labels keep small objects."""
        if self.knobs.scale != 1:
            labels = F.interpolate(labels[None], self._scaled(labels.shape[-2:]), mode="nearest-exact")[0]
        cells = self._fit(labels[1:])[:, ::STRIDE, ::STRIDE]
        if self.knobs.labels == "soft":
            padded = pad_to_multiple(labels[1:], self.knobs.pad)
            touched = F.max_pool2d(padded[None], self.cell, self.cell, ceil_mode=True)[0]
            cells = with_small_ones(cells, touched)
        return with_background(cells)

    def _to_frame(self, scores: Tensor, size: tuple[int, ...]) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W)."""
        height, width = self._scaled(size)
        padded = [-(-side // self.knobs.pad) * self.knobs.pad for side in (height, width)]
        centred = self.knobs.upsample == "centred"
        full = magnify(scores, self.cell, padded) if centred else resize(scores, padded)
        full = full[:, :height, :width]
        if self.knobs.scale != 1:
            full = resize(full, size)
        return normalised(full)


def magnify(scores: Tensor, cell: int, size: list[int]) -> Tensor:
    """(K+1, h, w) bilinearly to (K+1, H, W), cell i at pixel i * cell, where the encoder's receptive field has its centre."""
    height, width = ((side - 1) * cell + 1 for side in scores.shape[-2:])
    full = F.interpolate(scores[None], (height, width), mode="bilinear", align_corners=True)
    return F.pad(full, (0, size[1] - width, 0, size[0] - height), mode="replicate")[0]


def with_small_ones(cells: Tensor, touched: Tensor) -> Tensor:
    """(K, h, w) masks of cell centres, where an object that covers no centre gets the cells it touches instead."""
    small = (cells.flatten(1).sum(1) == 0) & (touched.flatten(1).sum(1) > 0)
    if not small.any():
        return cells
    gained = touched * small[:, None, None]
    together = gained / gained.sum(0).clamp(min=1)
    return cells * (1 - together.sum(0)) + together


def with_background(masks: Tensor) -> Tensor:
    """(K, H, W) disjoint masks -> (K+1, H, W), background first, summing to 1."""
    return torch.cat((1 - masks.sum(0, keepdim=True), masks))


def normalised(scores: Tensor) -> Tensor:
    """(K+1, ...) divided by the sum; where the sum is 0 it is background."""
    total = scores.sum(0, keepdim=True)
    background = torch.zeros_like(scores)
    background[0] = 1
    return torch.where(total > 0, scores / total.clamp(min=1e-12), background)


def impose(probabilities: Tensor, masks: Tensor, channels: list[int]) -> Tensor:
    """`masks` (N, ...) in [0, 1] become these channels of (K+1, ...); the others share what is left."""
    others = probabilities.clone()
    others[channels] = 0
    result = normalised(others) * (1 - masks.sum(0, keepdim=True)).clamp(min=0)
    result[channels] = masks
    return result


def append_empty(labels: Tensor, count: int) -> Tensor:
    """(K+1, ...) -> (K+1+count, ...), the new ones 0."""
    return torch.cat((labels, labels.new_zeros(count, *labels.shape[1:])))


def drop(labels: Tensor, objects: list[int]) -> Tensor:
    """(K+1, ...) without these objects (0-based); what was theirs becomes background."""
    gone = [k + 1 for k in objects]
    kept = [c for c in range(len(labels)) if c not in gone]
    result = labels[kept].clone()
    result[0] += labels[gone].sum(0)
    return result
