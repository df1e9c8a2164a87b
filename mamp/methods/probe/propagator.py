"""What happens per frame: resize it as the protocol says, encode it, read labels from the context frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.devices import working_bytes
from mamp.core.files import MB
from mamp.core.progress import say_once
from mamp.methods.probe.config import ON_CPU, ProbeConfig
from mamp.methods.probe.frames import input_size, normalise, prepare, whole_patches
from mamp.methods.probe.grids import stretched, to_frame, to_grid
from mamp.ops.sizes import size_of
from mamp.ops.taps import Taps, bilinear_taps, placed_taps, sampled
from mamp.propagation.bands import EdgeFit, Side, edge_fit, fitted, winners
from mamp.propagation.carrier import LabelCarrier, Reading
from mamp.propagation.labels import normalised, with_background, with_small_ones
from mamp.propagation.memory import MemoryRule, PaddedRule, RecentRule, TwiceRule, memory_rule

CHANNELS, STRIDE = 1024, 8  # of the features of a network without patches, for an estimate of memory
ASKED = 128  # side of the image that an encoder is asked its stride with
RULES: dict[str, Callable[[int], MemoryRule]] = {"none": RecentRule, "twice": TwiceRule, "padded": PaddedRule}
_printed: set[str] = set()


class ProbePropagator(LabelCarrier):
    """Carry K masks by local matching of an encoder's features, under a published protocol.

    model: an encoder, images (1, 3, H, W) -> features (1, C, h, w); see `encoders.Encoder`. motion is not
    used.
    """

    def __init__(self, model: nn.Module, method: ProbeConfig, **places: Any) -> None:
        knobs = method.propagation
        reading = Reading(
            radius=knobs.radius,
            top_k=knobs.top_k,
            temperature=knobs.temperature,
            outside="masked",
            tile=knobs.tile,
            max_bytes=working_bytes(knobs.max_mb, torch.device(places.get("device", "cpu")), on_cpu=ON_CPU),
            shape=knobs.window,
            ties=knobs.ties,
        )
        rule = RULES[knobs.repeats](knobs.context)
        if knobs.memory == "budget":
            rule = memory_rule("budget", knobs.context, budget=int(knobs.budget_mb * MB))
        super().__init__(
            model,
            method,
            rule=rule,
            reading=reading,
            backfill=knobs.backfill,
            free_first=knobs.free_first,
            hard=knobs.labels == "hard",
            sharpen=knobs.sharpen,
            **places,
        )
        self.method, self.knobs = method, knobs
        self.input, self.grid, self.cell = (0, 0), (0, 0), 1  # of the latest frame
        self._stride = 0  # pixels of a cell; 0: not known yet

    def _features(self, index: int, frame: Tensor) -> Tensor:
        """Features (C, h, w) of a new frame, of unit length where the protocol compares cosines."""
        frame_size, patch = size_of(frame), self.model.patch
        wanted = input_size(frame_size, self.method.input, patch=patch, stride=self._pixels_a_cell())
        self.input = whole_patches((max(wanted[0], patch), max(wanted[1], patch)), patch)
        if self.input != wanted:
            say_once(
                f"frames of {frame_size[1]}x{frame_size[0]} make {wanted[1]}x{wanted[0]} pixels, no whole"
                f" patches of {patch}: they are resized to {self.input[1]}x{self.input[0]}"
            )
        image = prepare(self._here(frame), self.input, self.method.input)
        if not self.model.normalises:
            image = normalise(image, self.method.input)
        with self._mixed():
            features = self.model(image[None].contiguous(memory_format=torch.channels_last))[0].float()
        self.grid = size_of(features)
        self.cell = round(self.input[0] / self.grid[0])
        return (F.normalize(features, dim=0) if self.knobs.normalise else features).contiguous()

    def _pixels_a_cell(self) -> int:
        """Pixels of the input to a cell of features; asked of the encoder where `cells` needs it."""
        if self.model.patch > 1 or self.method.input.rule != "cells":
            return int(self.model.patch)
        if not self._stride:
            with torch.inference_mode():
                side = self.model(torch.zeros(1, 3, ASKED, ASKED, device=self.device)).shape[-1]
            self._stride = max(1, round(ASKED / side))
        return self._stride

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        patch = self.model.patch
        height, width = input_size(size, self.method.input, patch=patch, stride=self._pixels_a_cell())
        return whole_patches((max(height, patch), max(width, patch)), patch)

    def _feature_size(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """As large as most are: what an encoder gives is not known before it has run."""
        height, width = self._seen_size(size)
        side = self._stride or (self.model.patch if self.model.patch > 1 else STRIDE)
        return CHANNELS, -(-height // side), -(-width // side)

    def _cells(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, H, W) -> (N, h, w), and the cells that each touches, where small objects are kept."""
        labels = labels.float()
        if self.knobs.first_labels == "centred":
            rows, columns = (self._centres(n, side) for n, side in enumerate(labels.shape[-2:]))
            cells = labels[:, rows[:, None], columns]
        else:
            cells = self._by_published_rule(labels)
        if self.knobs.small_objects == "lost":
            return cells, None
        return cells, F.adaptive_max_pool2d(labels[None], self.grid)[0]

    def _by_published_rule(self, labels: Tensor) -> Tensor:
        return to_grid(labels, self.grid, how=self.knobs.first_labels, between=self.input)

    def _offset(self) -> float:
        """Centre of the first cell, in input pixels: a patch's middle; of convolutions the first pixel."""
        return self.cell / 2 if self.model.patch > 1 else 0.5

    def _centres(self, axis: int, pixels: int) -> Tensor:
        """The pixel of the frame that each cell along a side is centred on, int64."""
        place = torch.arange(self.grid[axis], dtype=torch.float64) * self.cell + self._offset()
        return (place * pixels / self.input[axis]).long().clamp(max=pixels - 1).to(self.device)

    def _taps(self, axis: int, pixels: int) -> Taps:
        """What each pixel of the frame reads of the cells along a side."""
        if self.knobs.upsample == "bilinear":
            return bilinear_taps(self.grid[axis], pixels).to(self.device)
        return placed_taps(
            self.grid[axis], pixels, cell=self.cell, offset=self._offset(), between=self.input[axis]
        ).to(self.device)

    def _joined(self, cells: Tensor, touched: Tensor | None) -> Tensor:
        """Labels (K+1, h, w)."""
        return cells if touched is None else with_background(with_small_ones(cells[1:], touched[1:]))

    def _to_frame(self, scores: Tensor, size: tuple[int, ...], *, norm: bool = True) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W)."""
        knobs = self.knobs
        if knobs.upsample == "centred":
            full = sampled(scores, self._taps(0, size[0]), self._taps(1, size[1]))
            full = stretched(full, knobs.stretch)
            return normalised(full, out=full) if norm else full
        full = to_frame(scores, size, how=knobs.upsample, stretch=knobs.stretch, cell=self.cell)
        return normalised(full, out=full) if norm else full

    def _edge_fit(self, size: tuple[int, ...]) -> EdgeFit | None:
        """The windows of the guided filter on frames of (H, W); None where masks are not fitted."""
        if not self.knobs.edge_radius:
            return None
        cell = self.cell * size[0] / self.input[0]  # in pixels of the video
        return edge_fit(self.knobs.edge_radius * cell, size, eps=self.knobs.edge_eps, fit=self.knobs.edge_fit)

    def _fitted(self, probabilities: Tensor, frame: Tensor) -> Tensor:
        """Fitted to the frame's edges, which cells do not know."""
        fit = self._edge_fit(size_of(frame))
        return probabilities if fit is None else fitted(probabilities, frame, fit)

    def _winners(self, scores: Tensor, frame: Tensor, *, without: list[int] | None = None) -> Tensor:
        """In bands where masks are fitted; else some objects at a time."""
        if (fit := self._edge_fit(size_of(frame))) is None:
            return super()._winners(scores, frame, without=without)
        rows, columns = (
            Side(self._taps(axis, pixels), bilinear_taps(pixels, pixels).to(self.device))
            for axis, pixels in enumerate(size_of(frame))
        )
        return winners(scores, frame, (rows, columns), fit=fit, without=without)
