"""The state of label propagation and its life: memory frames, the pending frame, objects that come and go."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mamp.methods.base import Propagator
from mamp.propagation.correlation import topk_readout
from mamp.propagation.labels import append_empty, drop, impose, normalised, with_background
from mamp.propagation.memory import MemoryRule


@dataclass
class Remembered:
    """A memory frame: features (C, h, w) and labels (K+1, h, w), background first."""

    features: Tensor
    labels: Tensor


@dataclass
class Pending:
    """The frame just stepped: features, probabilities (K+1, H, W), and scores (K+1, h, w) on the feature
    grid.
    """

    index: int
    features: Tensor
    probabilities: Tensor
    scores: Tensor


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
    """Carries K masks through one video by local matching of features; a method says how a frame becomes
    features.

    State: the memory frames that the memory rule can still read, and the pending frame. The rule bounds it.
    backfill: a late object is also looked for in the memory frames. free_first: the first frame is read once
    without a window.
    hard: memory keeps a finished frame's label map instead of its scores.

    A method gives `_features`, `_to_grid` and `_to_frame`, and may give `_fitted`, `_moved` and `_forget`.
    places: motion, device and dtype, as every `Propagator` takes them.
    """

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
        **places: Any,
    ) -> None:
        super().__init__(model, method, **places)
        self.rule, self.reading = rule, reading
        self.backfill, self.free_first, self.hard = backfill, free_first, hard
        self.memory: dict[int, Remembered] = {}
        self.given: list[int] = []
        self.pending: Pending | None = None

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        index, features = self._see(self._here(frame))
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

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """`masks` (len(objects), H, W) in {0, 1} replace the pending frame's masks of these objects
        (0-based).
        """
        pending = self._pending()
        masks = self._here(masks)
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
        if self.memory:  # room for the labels of the new objects
            self._admit(pending.index - 1, objects=known + count)
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
        pending.probabilities = drop(pending.probabilities, objects)
        pending.scores = drop(pending.scores, objects)
        for entry in self.memory.values():
            entry.labels = drop(entry.labels, objects)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the memory frames' features and labels."""
        return sum(t.nbytes for entry in self.memory.values() for t in (entry.features, entry.labels))

    def twin(self) -> LabelCarrier | None:
        """Return a copy that goes on from here by itself; it shares all tensors, which never change once
        remembered.

        None with a motion source, which has a state of its own.
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

    def _to_grid(self, labels: Tensor) -> Tensor:
        """(K+1, H, W), background first -> (K+1, h, w)."""
        raise NotImplementedError

    def _to_frame(self, scores: Tensor, size: tuple[int, ...]) -> Tensor:
        """(K+1, h, w) -> probabilities (K+1, H, W)."""
        raise NotImplementedError

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
        """Index and features (C, h, w) of a new frame, on the device."""
        index = self._next()
        return index, self._features(index, frame)

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
        return self._carry(features, keys, values, counts=[counts[i] for i in chosen], free=free)

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
        """Find the objects from channel `first` on in the memory frames too, where they pass for
        background.
        """
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
