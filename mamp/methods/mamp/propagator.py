"""What happens per frame: encode it once, read labels from memory frames, remember it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.files import MB
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import STRIDE
from mamp.methods.mamp.trunk import encode_views
from mamp.ops.colour import rgb_to_lab
from mamp.ops.sizes import pad_to_multiple, resize, scaled, short_side_factor
from mamp.propagation.blocks import block_readout
from mamp.propagation.carrier import LabelCarrier, Reading
from mamp.propagation.guided import FINE, guided_filter
from mamp.propagation.labels import magnify, normalised, with_background, with_small_ones
from mamp.propagation.memory import memory_rule
from mamp.propagation.motion.build import build_motion
from mamp.propagation.warping import clean_flow, warp

# frames apart that RAFT takes for far, as published (A7): DAVIS, YouTube-VOS
FAR_FRAMES = (15, 5)


class MampPropagator(LabelCarrier):
    """Carries K masks through one video by local matching of features (MAMP, A6-A8).

    motion: where things were; None is what `method.motion` names, made anew for this video.
    """

    def __init__(self, model: nn.Module, method: MampConfig, **places: Any) -> None:
        knobs = method.propagation
        reading = Reading(
            radius=knobs.radius,
            top_k=knobs.top_k,
            temperature=knobs.temperature or method.encoder.resolved_temperature(),
            outside=knobs.outside,
            tile=knobs.tile,
            max_bytes=knobs.max_mb * MB,
        )
        rule = memory_rule(knobs.memory, knobs.memory_length, budget=int(knobs.budget_mb * MB))
        super().__init__(
            model,
            method,
            rule=rule,
            reading=reading,
            backfill=knobs.backfill,
            hard=knobs.labels == "hard",
            **places,
        )
        self.motion = self.motion or build_motion(
            method.motion,
            features=lambda: self.features,
            far=FAR_FRAMES[knobs.memory == "youtube"],
            device=self.device,
            dtype=self.dtype,
        )
        self.method, self.knobs, self.encoder = method, knobs, method.encoder
        self.cell = STRIDE * knobs.subsample  # padded pixels a feature cell stands for
        self.features = torch.empty(0)  # of the latest frame

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
        with self._mixed():
            return encode_views(self.model, lab, self.method)

    def _moved(self, query: int, memory: int, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A memory frame's features and labels, warped by its flow."""
        if self.motion is None:
            return features, labels
        flow = self.motion.flow(query, memory)
        if flow is None:
            return features, labels
        flow = clean_flow(flow.to(self.device))[None]
        return warp(features[None], flow)[0], warp(labels[None], flow)[0]

    def _forget(self, index: int) -> None:
        if self.motion is not None:
            self.motion.forget(index)

    def _carry(
        self,
        features: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        *,
        counts: list[int] | None = None,
        free: tuple[int, ...] = (),
    ) -> Tensor:
        """The labels (V, h, w) that a query reads, by the search that is set."""
        # memories that count more than once are read exactly
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
        """(K+1, H, W), background first -> (K+1, h, w): the pixel at each cell's centre, as published; soft
        labels keep small objects.
        """
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
