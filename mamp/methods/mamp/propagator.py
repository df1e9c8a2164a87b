"""What happens per frame: encode it once, read labels from memory frames, remember it."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.config import MampConfig
from mamp.errors import UserError
from mamp.files import MB
from mamp.methods.base import Motion
from mamp.methods.carrier import LabelCarrier, Reading
from mamp.methods.labels import magnify, normalised, with_background, with_small_ones
from mamp.methods.mamp.encoder import STRIDE
from mamp.methods.mamp.trunk import encode_views
from mamp.methods.memory import RULES, BudgetRule
from mamp.motion import build_motion
from mamp.motion.source import FAR, NEAR
from mamp.ops.blocks import block_readout
from mamp.ops.colour import rgb_to_lab
from mamp.ops.guided import FINE, guided_filter
from mamp.ops.sizes import pad_to_multiple, resize, scaled, short_side_factor
from mamp.ops.warping import clean_flow, warp

class MampPropagator(LabelCarrier):
    """Carries K masks through one video by local matching of features (MAMP, A6-A8).

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
        knobs = method.propagation
        reading = Reading(
            radius=knobs.radius,
            top_k=knobs.top_k,
            temperature=knobs.temperature or method.encoder.resolved_temperature(),
            outside=knobs.outside,
            tile=knobs.tile,
            max_bytes=knobs.max_mb * MB,
        )
        rule = RULES[knobs.memory](knobs.memory_length)
        super().__init__(rule, reading, device=device, backfill=knobs.backfill, hard=knobs.labels == "hard")
        self.model, self.dtype = model, dtype
        self.motion = motion or build_motion(
            method.motion, features=lambda: self.features, device=self.device, dtype=dtype
        )
        self.method, self.knobs, self.encoder = method, knobs, method.encoder
        self.cell = STRIDE * knobs.subsample  # padded pixels a feature cell stands for
        self.features = torch.empty(0)  # of the latest frame

    def twin(self) -> MampPropagator:
        """Another one that goes on from here by itself; NotImplementedError with a motion source, which has a state of its own."""
        if self.motion is not None:
            raise NotImplementedError
        return cast("MampPropagator", super().twin())

    # -- one frame

    def _features(self, index: int, frame: Tensor) -> Tensor:
        """Features (C, h, w) of a new frame; shows it to the motion source."""
        size = self._scaled(frame.shape[-2:])
        frame = resize(frame, size, antialias=size < frame.shape[-2:])
        # padded after normalising, as published: the network's 0 is a mid grey
        self.features = self._encode(self._fit(rgb_to_lab(frame, self.encoder.lab)))
        if self.motion is not None:
            self.motion.see(index, self._fit(frame))
        return self.features

    def _encode(self, lab: Tensor) -> Tensor:
        """Features (C, h, w) of normalised Lab (3, H, W)."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            return encode_views(self.model, lab, self.method)

    def _moved(self, query: int, memory: int, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A memory frame's features and labels, warped by its flow."""
        if self.motion is None:
            return features, labels
        far = 5 if self.knobs.memory == "youtube" else 15  # frames apart, as published (A7)
        flow = self.motion.flow(query, memory, iterations=FAR if query - memory > far else NEAR)
        if flow is None:
            return features, labels
        flow = clean_flow(flow.to(self.device))[None]
        return warp(features[None], flow)[0], warp(labels[None], flow)[0]

    def _forget(self, index: int) -> None:
        if self.motion is not None:
            self.motion.forget(index)

    def _make_room(self, objects: int) -> None:
        if isinstance(self.rule, BudgetRule) and self.memory:
            self._drop_unread(self._pending().index - 1, objects=objects)

    def _drop_unread(self, last: int, *, objects: int) -> None:
        """Drop what no query after frame `last` can read, with the labels of so many objects."""
        if isinstance(self.rule, BudgetRule):
            self.rule.capacity = self._frames_in_budget(objects)
        super()._drop_unread(last, objects=objects)

    def _frames_in_budget(self, objects: int) -> int:
        channels, height, width = self._pending().features.shape
        frame = 4 * (channels + objects + 1) * height * width  # bytes
        if frame > self.knobs.budget_mb * MB:
            raise UserError(
                f"method.propagation.budget_mb={self.knobs.budget_mb:g} holds no memory frame of {frame / MB:.3g} MB;"
                f" set it to {math.ceil(2 * frame / MB)} or more"
            )
        return int(self.knobs.budget_mb * MB // frame)

    def _carry(
        self,
        features: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        *,
        counts: list[int] | None = None,
        free: tuple[int, ...] = (),
    ) -> Tensor:
        """The labels (V, h, w) that a query reads, by the search that is set; memories that count more than once are read exactly."""
        repeated = free or (counts is not None and counts != [1] * len(keys))
        if self.knobs.resolved_search() == "exact" or repeated:
            return super()._carry(features, keys, values, counts=counts, free=free)
        return block_readout(
            features,
            keys,
            values,
            radius=self.reading.radius,
            top_k=self.reading.top_k,
            temperature=self.reading.temperature,
            blocks=self.knobs.blocks_read(),
            tile=self.reading.tile,
            max_bytes=self.reading.max_bytes,
        )

    # -- between the frame and the feature grid

    def _scaled(self, size: tuple[int, ...]) -> tuple[int, int]:
        """The size at which the network sees frames of `size`."""
        return scaled(size, self._factor(size))

    def _factor(self, size: tuple[int, ...]) -> float:
        return short_side_factor(size, self.knobs.short_side, enlarge=self.knobs.enlarge)

    def _fit(self, x: Tensor) -> Tensor:
        """(C, H, W) padded to the multiple, every n-th row and column kept."""
        return pad_to_multiple(x, self.knobs.pad)[:, :: self.knobs.subsample, :: self.knobs.subsample]

    def _to_grid(self, labels: Tensor) -> Tensor:
        """(K+1, H, W), background first -> (K+1, h, w): the pixel at each cell's centre, as published; soft labels keep small objects."""
        if (size := self._scaled(labels.shape[-2:])) != labels.shape[-2:]:
            labels = F.interpolate(labels[None], size, mode="nearest-exact")[0]
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
        return normalised(resize(full[:, :height, :width], size))

    def _fitted(self, probabilities: Tensor, frame: Tensor) -> Tensor:
        """Fitted to the frame's edges, which a cell of four pixels does not know."""
        if not self.knobs.edge_radius:
            return probabilities
        cell = self.cell / self._factor(frame.shape[-2:])  # in pixels of the video
        radius = max(1, round(self.knobs.edge_radius * cell))
        step = max(1, radius // FINE) if self.knobs.edge_fit == "fast" else 1
        fitted = guided_filter(frame, probabilities, radius=radius, eps=self.knobs.edge_eps, step=step)
        return normalised(fitted.clamp(0, 1))
