"""The state of label propagation and its life: memory frames, the pending frame, objects that come and go."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.files import MB
from mamp.methods.base import DENSE_BYTES, Propagator
from mamp.ops.label_masks import LabelMasks
from mamp.propagation.correlation import topk_readout
from mamp.propagation.labels import append_empty, drop, impose, lost, normalised, sharpened, with_background
from mamp.propagation.memory import MemoryRule

# an estimate of what a network holds of a frame at once, in floats for each pixel that it sees
ENCODING = 125
WORKING_BYTES = 200 * MB  # a band or a group of maps, with all that it takes
GROUP_BYTES = 64 * MB  # of maps as large as the frame that are made at once, of many objects


@dataclass
class Remembered:
    """A memory frame: features (C, h, w) and labels (K+1, h, w), background first."""

    features: Tensor
    labels: Tensor


@dataclass
class Pending:
    """The frame just stepped: features, probabilities (K+1, H, W), scores (K+1, h, w) on the feature grid.

    Of many objects there are no probabilities, but `read`, the scores before they were normalised, and where
    label maps are remembered `winner`, int32 (H, W), the channel of each pixel.
    """

    index: int
    features: Tensor
    probabilities: Tensor | None
    scores: Tensor
    read: Tensor | None = None
    winner: Tensor | None = None


@dataclass(frozen=True)
class Reading:
    """How a query reads the memory; the arguments of `topk_readout`."""

    radius: int
    top_k: int
    temperature: float
    outside: str
    tile: int
    max_bytes: int
    shape: str = "square"
    ties: str = "cut"


class LabelCarrier(Propagator):
    """Carry K masks by local matching of features. A method says how a frame becomes features.

    State: the memory frames that the memory rule can still read, and the pending frame. The rule bounds it.
    backfill: a late object is also looked for in the memory frames. free_first: the first frame is read once
    without a window.
    hard: memory keeps a finished frame's label map instead of its scores. sharpen: the power that scores are
    raised to before they are remembered and shown; background: what the background's is multiplied by then.

    A method gives `_features`, `_feature_size`, `_cells`, `_joined` and `_to_frame`, and may give
    `_winners`, `_fitted`, `_moved` and `_forget`.
    places: motion, device and dtype, as every `Propagator` takes them.
    """

    many = True

    def __init__(
        self,
        model: nn.Module,
        method: Any,
        *,
        rule: MemoryRule,
        reading: Reading,
        backfill: bool = False,
        free_first: bool = False,
        hard: bool = False,
        sharpen: float = 1.0,
        background: float = 1.0,
        **places: Any,
    ) -> None:
        super().__init__(model, method, **places)
        self.rule, self.reading = rule, reading
        self.backfill, self.free_first, self.hard = backfill, free_first, hard
        self.sharpen, self.background = sharpen, background
        self.memory: dict[int, Remembered] = {}
        self.given: list[int] = []
        self.pending: Pending | None = None

    def start(self, frame: Tensor, masks: Tensor | LabelMasks) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        index, features = self._see(frame)
        if isinstance(masks, LabelMasks):
            winner = masks.number.int() + 1 if self.hard else None
            self.pending = Pending(index, features, None, self._grid_of(masks), winner=winner)
        else:
            probabilities = with_background(self._here(masks))
            self.pending = Pending(index, features, probabilities, self._to_grid(probabilities))
        self.given.append(index)

    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        self._commit()
        frame = self._here(frame)
        index, features = self._see(frame)
        scores = self._read(index, features)  # (K+1, h, w)
        probabilities = self._fitted(self._to_frame(scores, frame.shape[-2:]), frame)
        self.pending = Pending(index, features, probabilities, normalised(scores))
        return probabilities

    def step_labels(self, frame: Tensor) -> Tensor:
        """Step without a probability for each object and pixel: the most probable object's k+1, (H, W)."""
        self._commit()
        index, features = self._see(frame)
        scores = self._read(index, features)
        self.pending = Pending(index, features, None, normalised(scores), read=scores)
        winner = self._winners(scores, frame.to(self.device))
        if self.hard:
            self.pending.winner = winner.int()
        return winner

    def labels_without(self, frame: Tensor, objects: list[int]) -> Tensor:
        """What `step_labels` would have returned, if these objects (0-based) lay nowhere."""
        pending = self._pending()
        assert pending.read is not None
        winner = self._winners(pending.read, frame.to(self.device), without=[k + 1 for k in objects])
        if self.hard:
            pending.winner = winner.int()
        return winner

    def correct(self, masks: Tensor | LabelMasks, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W)."""
        pending = self._pending()
        grid = self._grid_of(masks)[1:]
        channels = [k + 1 for k in objects]
        if pending.probabilities is not None and not isinstance(masks, LabelMasks):
            pending.probabilities = impose(pending.probabilities, self._here(masks), channels)
        else:
            self._impose_winner(masks, channels)
        pending.scores = impose(pending.scores, grid, channels)
        if pending.index not in self.given:
            self.given.append(pending.index)

    def add(self, masks: Tensor | LabelMasks) -> None:
        """New objects (N, H, W) in {0, 1} appear at the pending frame; they win over what was predicted."""
        pending, count = self._pending(), len(masks)
        known = len(pending.scores) - 1
        if self.memory:  # room for the labels of the new objects
            self._admit(pending.index - 1, objects=known + count)
        if pending.probabilities is not None and not isinstance(masks, LabelMasks):
            pending.probabilities = append_empty(pending.probabilities, count)
        pending.scores = append_empty(pending.scores, count)
        for entry in self.memory.values():
            entry.labels = append_empty(entry.labels, count)
        self.correct(masks, list(range(known, known + count)))
        if self.backfill:
            self._backfill(known + 1)

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        pending = self._pending()
        if pending.probabilities is not None:
            pending.probabilities = drop(pending.probabilities, objects)
        if pending.winner is not None:  # later ones move up; a pixel goes to background, not to the next best
            kept = [k for k in range(len(pending.scores) - 1) if k not in objects]
            moved = torch.zeros(len(pending.scores), dtype=torch.int32, device=self.device)
            moved[[k + 1 for k in kept]] = torch.arange(
                1, len(kept) + 1, dtype=torch.int32, device=self.device
            )
            pending.winner = moved[pending.winner]
        pending.scores = drop(pending.scores, objects)
        for entry in self.memory.values():
            entry.labels = drop(entry.labels, objects)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the memory frames' features and labels."""
        return sum(t.nbytes for entry in self.memory.values() for t in (entry.features, entry.labels))

    def bytes_needed(self, size: tuple[int, int], objects: int) -> int:
        """Estimate the memory for so many objects on frames of (H, W), in bytes, all in all.

        The memory frames and four more of their kind, the network, and what is as large as the frame: masks
        of a few objects densely (six float32 maps for each), of many in bands.
        """
        channels, height, width = self._feature_size(size)
        cells, pixels = height * width, size[0] * size[1]
        frames = self.rule.most(frame_bytes=4 * cells * (channels + objects + 1)) + 4
        dense = 4 * (objects + 1) * pixels
        maps = 6 * dense + 12 * pixels if dense <= DENSE_BYTES else 18 * pixels + WORKING_BYTES
        seen = self._seen_size(size)
        held = cells * frames * (objects + 1 + channels) + ENCODING * seen[0] * seen[1]
        return 4 * held + maps + 2 * self.reading.max_bytes

    def twin(self) -> LabelCarrier | None:
        """Copy the carrier; both go on independently and share tensors, which never change once remembered.

        None with a motion source, which has state that cannot be copied.
        """
        if self.motion is not None:
            return None
        other = copy.copy(self)
        other.rule, other.given = copy.deepcopy(self.rule), list(self.given)
        other.memory = {index: replace(entry) for index, entry in self.memory.items()}
        other.pending = self.pending and replace(self.pending)
        return other

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held of frames; twins have most of them in common."""
        held: list[Any] = [*self.memory.values(), *([self.pending] if self.pending else [])]
        yield from (value for entry in held for value in vars(entry).values() if isinstance(value, Tensor))

    # -- what a method gives

    def _features(self, index: int, frame: Tensor) -> Tensor:
        """Features (C, h, w) of a frame float (3, H, W) in [0, 1] on the device."""
        raise NotImplementedError

    def _cells(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, H, W) in {0, 1}, float or uint8 -> float (N, h, w), and where each touches a cell, or None."""
        raise NotImplementedError

    def _joined(self, cells: Tensor, touched: Tensor | None) -> Tensor:
        """What `_cells` gave of all K+1, background first -> labels (K+1, h, w)."""
        raise NotImplementedError

    def _feature_size(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """(C, h, w) of the features of frames of (H, W)."""
        raise NotImplementedError

    def _to_frame(self, scores: Tensor, size: tuple[int, ...], *, norm: bool = True) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W); without `norm` each channel by itself, any of them."""
        raise NotImplementedError

    def _winners(self, scores: Tensor, frame: Tensor, *, without: list[int] | None = None) -> Tensor:
        """Most probable channel of each pixel (H, W), from scores (K+1, h, w); `without` win nowhere.

        Here so many objects at a time as fit.
        """
        size = frame.shape[-2:]
        best = scores.new_full(size, -1.0)
        winner = torch.zeros_like(best, dtype=torch.int32)
        step = max(1, GROUP_BYTES // (4 * size[0] * size[1]))
        for start in range(0, len(scores), step):
            planes = self._to_frame(scores[start : start + step], size, norm=False)
            for k, plane in enumerate(planes, start=start):
                if k not in (without or ()):
                    better = plane > best
                    best = torch.where(better, plane, best)
                    winner.masked_fill_(better, k)
        return winner

    def _fitted(self, probabilities: Tensor, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) in the light of the frame (3, H, W) itself."""
        return probabilities

    def _moved(self, query: int, memory: int, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A memory frame's features and labels, brought to where the query's are."""
        return features, labels

    def _forget(self, index: int) -> None:
        """A memory frame was dropped."""

    # -- one frame

    def _see(self, frame: Tensor) -> tuple[int, Tensor]:
        """Index and features (C, h, w) of a new frame, float in [0, 1] or uint8."""
        index = self._next()
        return index, self._features(index, frame)

    def _to_grid(self, labels: Tensor) -> Tensor:
        """(K+1, H, W), background first -> (K+1, h, w)."""
        return self._joined(*self._cells(labels))

    def _grid_of(self, masks: Tensor | LabelMasks) -> Tensor:
        """Masks (K, H, W) -> labels (K+1, h, w), background first; of many objects some at a time."""
        if not isinstance(masks, LabelMasks):
            return self._to_grid(with_background(self._here(masks)))
        cells, first, small = torch.empty(0), 0, []
        for part in itertools.chain([masks.part(-1, 0)], masks.parts()):  # background first
            found, touched = self._cells(part)
            if first == 0:
                cells = found.new_empty(len(masks) + 1, *found.shape[1:])
            cells[first : first + len(part)] = found
            if touched is not None and first:
                small += [
                    (first + k, touched[k].clone()) for k in lost(found, touched).nonzero()[:, 0].tolist()
                ]
            first += len(part)
        return self._gained(cells, small) if small else self._joined(cells, None)

    def _gained(self, cells: Tensor, small: list[tuple[int, Tensor]]) -> Tensor:
        """As `_joined`, where these channels alone get the cells that they touch."""
        touched = torch.stack([plane for _, plane in small])
        together = touched.div_(touched.sum(0).clamp(min=1))
        cells[1:] *= 1 - together.sum(0)
        cells[[k for k, _ in small]] += together
        cells[0] = 1 - cells[1:].sum(0)
        return cells

    def _impose_winner(self, masks: Tensor | LabelMasks, channels: list[int]) -> None:
        """As `impose`, on the pending frame's label map; what is taken from an object becomes background."""
        pending = self._pending()
        probabilities, pending.probabilities = pending.probabilities, None
        if not self.hard:
            return
        number = masks.number if isinstance(masks, LabelMasks) else (masks > 0).int().argmax(0)
        there = number >= 0 if isinstance(masks, LabelMasks) else masks.amax(0) > 0
        if probabilities is not None:
            pending.winner = probabilities.argmax(0).int()
        own = torch.tensor(channels, dtype=torch.int32, device=self.device)
        assert pending.winner is not None
        winner = pending.winner.masked_fill(torch.isin(pending.winner, own), 0)
        pending.winner = torch.where(
            there.to(self.device), own[number.to(self.device).clamp(min=0).long()], winner
        )

    def _read(self, index: int, features: Tensor) -> Tensor:
        """Scores (K+1, h, w) of the query from the memory frames; sums may be below 1 near borders."""
        read = self.rule.read(index - 1, self.given)  # an index may be there more than once
        first = self.given[0]
        counts = Counter({first: 0} if self.free_first else {})
        counts.update(read)
        chosen = sorted(counts)
        moved: dict[int, tuple[Tensor, Tensor]] = {}
        # a frame that is named twice is moved twice, as published: the recorded flow requests count it
        for i in sorted([*read, *(i for i in chosen if not counts[i])]):
            moved[i] = self._moved(index, i, self.memory[i].features, self.memory[i].labels)
        keys = [moved[i][0] for i in chosen]  # M of (C, h, w)
        values = [moved[i][1] for i in chosen]  # M of (K+1, h, w)
        free = (chosen.index(first),) if self.free_first else ()
        scores = self._carry(features, keys, values, counts=[counts[i] for i in chosen], free=free)
        return sharpened(scores, self.sharpen, self.background)

    def _carry(
        self,
        features: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        *,
        counts: list[int] | None = None,
        free: tuple[int, ...] = (),
    ) -> Tensor:
        return topk_readout(features, keys, values, counts=counts, free=free, **vars(self.reading))

    def _backfill(self, first: int) -> None:
        """Find the objects from channel `first` on also in memory frames, where they pass for background."""
        pending = self._pending()
        for entry in self.memory.values():
            found = self._carry(entry.features, [pending.features], [pending.scores[first:]])
            entry.labels[first:] = found * entry.labels[0]
            entry.labels[0] -= entry.labels[first:].sum(0)

    def _commit(self) -> None:
        """Put the pending frame into memory, and drop what no later query can read."""
        pending = self._pending()
        self.memory[pending.index] = Remembered(pending.features, self._remembered(pending))
        self._admit(pending.index, objects=len(pending.scores) - 1)

    def _remembered(self, pending: Pending) -> Tensor:
        """The labels (K+1, h, w) that memory keeps of a finished frame: its scores, or its label map."""
        if not self.hard:
            return pending.scores
        if pending.probabilities is None:
            assert pending.winner is not None
            labels = pending.winner.cpu().numpy().astype(np.uint16)
            return self._grid_of(LabelMasks(labels, range(1, len(pending.scores)), device=self.device))
        winner = pending.probabilities.argmax(dim=0)  # first index wins ties
        return self._to_grid(F.one_hot(winner, len(pending.scores)).movedim(-1, 0).float())

    def _admit(self, last: int, *, objects: int) -> None:
        """Show the rule the last finished frame, and drop what no query after it can read."""
        channels, height, width = self._pending().features.shape
        frame_bytes = 4 * (channels + objects + 1) * height * width
        self.rule.admit(last, self.given, frame_bytes=frame_bytes)
        for index in [i for i in self.memory if not self._needed(i, last)]:
            del self.memory[index]
            self._forget(index)

    def _needed(self, index: int, last: int) -> bool:
        if self.free_first and index == self.given[0]:
            return True
        return index in self.rule.read(last, self.given) or self.rule.keeps(index, last, self.given)
