"""What happens per frame: encode it once, read labels from memory frames, remember it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.devices import working_bytes
from mamp.core.files import MB
from mamp.methods.mamp.config import ON_CPU, MampConfig
from mamp.methods.mamp.encoder import STRIDE
from mamp.methods.mamp.joined import NAME, Joining
from mamp.methods.mamp.trunk import encode_views
from mamp.ops.colour import rgb_to_lab
from mamp.ops.sizes import pad_to_multiple, resize, scaled, short_side_factor, size_of
from mamp.ops.taps import bilinear_taps, centred_taps
from mamp.propagation.bands import EdgeFit, Side, edge_fit, fitted, winners
from mamp.propagation.blocks import block_readout
from mamp.propagation.carrier import ENCODING, LabelCarrier, Reading
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
            max_bytes=working_bytes(knobs.max_mb, torch.device(places.get("device", "cpu")), on_cpu=ON_CPU),
        )
        rule = memory_rule(knobs.memory, knobs.memory_length, budget=int(knobs.budget_mb * MB))
        super().__init__(
            model,
            method,
            rule=rule,
            reading=reading,
            backfill=knobs.backfill,
            hard=knobs.labels == "hard",
            sharpen=knobs.sharpen,
            background=knobs.background,
            **places,
        )
        self.motion = self.motion or build_motion(
            method.motion,
            features=lambda _: self.features,
            far=FAR_FRAMES[knobs.memory == "youtube"],
            device=self.device,
            dtype=self.dtype,
        )
        self.method, self.knobs, self.encoder = method, knobs, method.encoder
        self.cell = STRIDE * knobs.subsample  # padded pixels a feature cell stands for
        self.features: Tensor = torch.empty(0)  # of the latest frame
        self.joining = Joining(method) if method.encoder.joined else None

    # -- one frame

    def _features(self, index: int, frame: Tensor) -> Tensor:
        """Features (C, h, w) of a new frame; shows it to the motion source."""
        shown = self._shown(frame)
        # padded after normalising, as published: the network's 0 is a mid grey
        self.features = self._encode(self._fit(rgb_to_lab(shown, self.encoder.lab)))
        if self.joining is not None:
            others = dict(self.model.named_children())[NAME]
            with self._mixed():
                self.features = self.joining(
                    self.features, others, self._here(frame), inner=size_of(shown), cell=self.cell
                )
        if self.motion is not None:
            self.motion.see(index, self._fit(shown))
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
            near=self.knobs.search_near,
            top_k=self.reading.top_k,
            temperature=self.reading.temperature,
            blocks=self.knobs.search_blocks,
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

    def _shown(self, frame: Tensor) -> Tensor:
        """The frame as the network sees it, float; a colour at a time, as a large frame takes much."""
        size = self._scaled(frame.shape[-2:])
        shrinks = size < frame.shape[-2:]
        return torch.cat([resize(self._here(plane[None]), size, antialias=shrinks) for plane in frame])

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = self._scaled(size)
        return height // self.knobs.subsample, width // self.knobs.subsample

    def _feature_size(self, size: tuple[int, int]) -> tuple[int, int, int]:
        height, width = (-(-side // self.knobs.pad) * self.knobs.pad for side in self._scaled(size))
        views = 2 if self.knobs.views == "hidden" else 1
        channels = views * self.encoder.features + (self.joining.channels if self.joining else 0)
        return channels, -(-height // self.cell), -(-width // self.cell)

    def bytes_needed(self, size: tuple[int, int], objects: int) -> int:
        """As of every `LabelCarrier`, with what the joined encoders take."""
        joined = self.joining.pixels(self._scaled(size)) if self.joining else 0
        return super().bytes_needed(size, objects) + 4 * ENCODING * joined

    def twin(self) -> LabelCarrier | None:
        """As of every `LabelCarrier`."""
        other = super().twin()
        if isinstance(other, MampPropagator) and self.joining is not None:
            other.joining = self.joining.copied()
        return other

    def tensors(self) -> Iterator[Tensor]:
        """As of every `LabelCarrier`, with the directions of joined features."""
        yield from super().tensors()
        yield from (d for d in (self.joining.directions if self.joining else ()) if d is not None)

    def _cells(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, H, W) -> (N, h, w): the pixel at each cell's centre, as published; and cells that are touched.

        Soft labels keep small objects by the touched cells.
        """
        if (size := self._scaled(labels.shape[-2:])) != labels.shape[-2:]:
            labels = F.interpolate(labels[None], size, mode="nearest-exact")[0]
        labels = labels.float()
        cells = self._fit(labels)[:, ::STRIDE, ::STRIDE]
        if self.knobs.labels != "soft":
            return cells, None
        padded = pad_to_multiple(labels, self.knobs.pad)
        return cells, F.max_pool2d(padded[None], self.cell, self.cell, ceil_mode=True)[0]

    def _joined(self, cells: Tensor, touched: Tensor | None) -> Tensor:
        """Labels (K+1, h, w); the background is what no object has."""
        return with_background(cells[1:] if touched is None else with_small_ones(cells[1:], touched[1:]))

    def _to_frame(self, scores: Tensor, size: tuple[int, ...], *, norm: bool = True) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W)."""
        height, width = self._scaled(size)
        padded = [-(-side // self.knobs.pad) * self.knobs.pad for side in (height, width)]
        centred = self.knobs.upsample == "centred"
        full = magnify(scores, self.cell, padded) if centred else resize(scores, padded)
        full = resize(full[:, :height, :width], size)
        return normalised(full) if norm else full

    def _winners(self, scores: Tensor, frame: Tensor, *, without: list[int] | None = None) -> Tensor:
        """In bands, as `_to_frame` and `_fitted` would have it but for rounding."""
        sides = []
        size = size_of(frame)
        for cells, inner, pixels in zip(scores.shape[-2:], self._scaled(size), size, strict=True):
            padded = -(-inner // self.knobs.pad) * self.knobs.pad
            centred = self.knobs.upsample == "centred"
            taps = centred_taps(cells, self.cell, padded) if centred else bilinear_taps(cells, padded)
            sides.append(Side(taps[:inner].to(self.device), bilinear_taps(inner, pixels).to(self.device)))
        return winners(scores, frame, (sides[0], sides[1]), fit=self._edge_fit(size), without=without)

    def _edge_fit(self, size: tuple[int, ...]) -> EdgeFit | None:
        """The windows of the guided filter on frames of (H, W); None where masks are not fitted."""
        if not self.knobs.edge_radius:
            return None
        cell = self.cell / self._factor(size)  # in pixels of the video
        return edge_fit(self.knobs.edge_radius * cell, size, eps=self.knobs.edge_eps, fit=self.knobs.edge_fit)

    def _fitted(self, probabilities: Tensor, frame: Tensor) -> Tensor:
        """Fitted to the frame's edges, which a cell of four pixels does not know."""
        fit = self._edge_fit(size_of(frame))
        return probabilities if fit is None else fitted(probabilities, frame, fit)
