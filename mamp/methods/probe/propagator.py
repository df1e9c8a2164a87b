"""What happens per frame: resize it as the protocol says, encode it, read labels from the context frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.devices import working_bytes
from mamp.core.progress import say_once
from mamp.methods.probe.config import ON_CPU, ProbeConfig
from mamp.methods.probe.frames import input_size, normalise, prepare, whole_patches
from mamp.methods.probe.grids import to_frame, to_grid
from mamp.ops.sizes import size_of
from mamp.propagation.carrier import LabelCarrier, Reading
from mamp.propagation.labels import normalised, with_background, with_small_ones
from mamp.propagation.memory import MemoryRule, PaddedRule, RecentRule, TwiceRule

CHANNELS, STRIDE = 1024, 8  # of the features of a network without patches, for an estimate of memory
RULES: dict[str, Callable[[int], MemoryRule]] = {"none": RecentRule, "twice": TwiceRule, "padded": PaddedRule}
_printed: set[str] = set()


class ProbePropagator(LabelCarrier):
    """Carries K masks through one video by local matching of an encoder's features, under a published
    protocol.

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
        super().__init__(
            model,
            method,
            rule=rule,
            reading=reading,
            backfill=knobs.backfill,
            free_first=knobs.free_first,
            hard=knobs.labels == "hard",
            **places,
        )
        self.method, self.knobs = method, knobs
        self.input, self.grid, self.cell = (0, 0), (0, 0), 1  # of the latest frame

    def _features(self, index: int, frame: Tensor) -> Tensor:
        """Features (C, h, w) of a new frame, of unit length where the protocol compares cosines."""
        frame_size, patch = size_of(frame), self.model.patch
        wanted = input_size(frame_size, self.method.input, patch=patch)
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

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        patch = self.model.patch
        height, width = input_size(size, self.method.input, patch=patch)
        return whole_patches((max(height, patch), max(width, patch)), patch)

    def _feature_size(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """As large as most are: what an encoder gives is not known before it has run."""
        height, width = self._seen_size(size)
        side = self.model.patch if self.model.patch > 1 else STRIDE
        return CHANNELS, -(-height // side), -(-width // side)

    def _cells(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, H, W) -> (N, h, w), and the cells that each touches, where small objects are kept."""
        labels = labels.float()
        cells = to_grid(labels, self.grid, how=self.knobs.first_labels, between=self.input)
        if self.knobs.small_objects == "lost":
            return cells, None
        return cells, F.adaptive_max_pool2d(labels[None], self.grid)[0]

    def _joined(self, cells: Tensor, touched: Tensor | None) -> Tensor:
        """Labels (K+1, h, w)."""
        return cells if touched is None else with_background(with_small_ones(cells[1:], touched[1:]))

    def _to_frame(self, scores: Tensor, size: tuple[int, ...], *, norm: bool = True) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W)."""
        knobs = self.knobs
        full = to_frame(scores, size, how=knobs.upsample, stretch=knobs.stretch, cell=self.cell)
        return normalised(full, out=full) if norm else full
