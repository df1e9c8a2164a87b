"""The rules of each benchmark: which frames count, which objects there are, what 255 means.

Under every protocol the frame in which an object is given is not scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeVar, cast

import numpy as np

from mamp.core.errors import UserError
from mamp.scoring.metrics import FramePair, labels_in
from mamp.scoring.scores import ObjectScores

VOID = 255

_NO_OBJECT = {
    "first": (
        "the first truth shows no object (255 is void here; score DAVIS-2016 masks with --protocol davis2016)"
    ),
    "late": "the truth shows no object",
}

T = TypeVar("T")


def _as_it_is(labels: np.ndarray) -> np.ndarray:
    return labels


def _without_void(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == VOID, 0, labels) if labels.max() >= VOID else labels


def _merged_truth(labels: np.ndarray) -> np.ndarray:
    """One foreground: 255 where nothing else is labelled, as in DAVIS-2016, else all labels but 255."""
    others = (labels != 0) & (labels != VOID)
    return (others if others.any() else labels == VOID).view(np.uint8)


def _merged_result(labels: np.ndarray) -> np.ndarray:
    return (labels != 0).view(np.uint8)


def _highest_255_as_1(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == VOID, 1, labels) if labels.max() == VOID else labels


MOST_OBJECTS = 1000  # of one video; truth with more is no truth


@dataclass(frozen=True)
class Protocol:
    """How one benchmark scores.

    drops_last: the last frame is not scored. objects: `one`, number 1; `first`, 1 to the highest label of the
    first truth frame; `late`, any ids, each beginning where the truth first shows it and scored after that.
    void: 255 in a truth
    file is no object. truth, result: what is done to a label map (H, W) before it is scored.
    """

    name: str
    drops_last: bool
    objects: Literal["one", "first", "late"]
    void: bool
    truth: Callable[[np.ndarray], np.ndarray]
    result: Callable[[np.ndarray], np.ndarray]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("davis2016", True, "one", False, _merged_truth, _merged_result),
        Protocol("davis2017", True, "first", True, _without_void, _as_it_is),
        Protocol("youtubevos", False, "late", False, _as_it_is, _as_it_is),
        Protocol("longvideos", False, "first", True, _without_void, _highest_255_as_1),
        Protocol("folder", False, "late", False, _as_it_is, _as_it_is),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`; UserError when there is none."""
    if name not in PROTOCOLS:
        raise UserError(f"protocol {name} is not known; use one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def score_sequence(
    truth: Iterable[np.ndarray | None],
    result: Iterable[np.ndarray | None],
    protocol: str,
    *,
    names: Sequence[str] | None = None,
    first: Mapping[int, int] | None = None,
) -> dict[int, ObjectScores]:
    """Scores of one video, object id -> its scores.

    truth, result: label maps (H, W) of the same frames in order, all that have truth, from the first frame
    on. They are read one at a time. A frame that is not scored may be None: the first one's result, and where
    the protocol drops the last frame, that one's truth and result. names: the frames' names; by default
    00000, 00001, ...
    first: object id -> index of the frame it is given in, for protocols where objects come late; by default
    that of the first truth that shows it.

    Raises UserError listing all that is wrong: sizes that differ, labels in the result that the truth has
    not.
    """
    scorer = SequenceScorer(get_protocol(protocol), first=first)
    for index, (true, found) in scored_frames(zip(truth, result, strict=True), scorer.protocol):
        if true is None:
            raise ValueError(f"the truth of frame {index} is None, but {protocol} scores it")
        scorer.add(index, names[index] if names is not None else f"{index:05d}", true, found)
    scores = scorer.finish()
    if scorer.problems:
        raise UserError("result does not fit the truth: " + "; ".join(scorer.problems))
    return scores


def scored_frames(frames: Iterable[T], protocol: Protocol) -> Iterator[tuple[int, T]]:
    """(index, frame) of the first frame, which shows the objects, and of those that are scored."""
    missing = object()
    ahead = iter(frames)
    current: object = next(ahead, missing)
    for index in count():
        if current is missing:
            return
        following = next(ahead, missing)
        if index == 0 or following is not missing or not protocol.drops_last:
            yield index, cast(T, current)
        current = following


class SequenceScorer:
    """Scores one video, frame by frame; holds two numbers an object and frame, and no mask.

    problems: what was wrong, one clause each. unscored: labels of the truth that are no objects under this
    protocol.
    """

    def __init__(self, protocol: Protocol, *, first: Mapping[int, int] | None = None) -> None:
        self.protocol = protocol
        self.problems: list[str] = []
        self.unscored: set[int] = set()
        self._first_known = first is not None
        self._first = dict(first or {})  # object id -> index of the frame it is given in
        self._strange: dict[int, list[str]] = defaultdict(list)  # label, no object when it was met -> frames
        self._frames: dict[int, list[str]] = defaultdict(list)
        self._j: dict[int, list[float]] = defaultdict(list)
        self._f: dict[int, list[float]] = defaultdict(list)

    def add(self, index: int, name: str, truth: np.ndarray, result: np.ndarray | None) -> None:
        """Score one frame. The result is None in frame 0, and where it could not be read."""
        truth = self.protocol.truth(truth)
        if index > 0 and result is not None:
            labels = self._score(index, name, truth, self.protocol.result(result))
        else:
            labels = labels_in(truth)
        self._find_objects(index, labels)

    def finish(self) -> dict[int, ObjectScores]:
        """The scores of every object, ascending."""
        if not self._first:
            self.problems.append(_NO_OBJECT[self.protocol.objects])
        for label in sorted(self._strange.keys() - self._first.keys()):
            self.problems.append(unknown_label(label, self._strange[label]))
        return {
            k: ObjectScores(tuple(self._frames[k]), np.array(self._j[k]), np.array(self._f[k]))
            for k in sorted(self._first)
        }

    def _score(self, index: int, name: str, truth: np.ndarray, result: np.ndarray) -> list[int]:
        """Score a frame and return the labels of its truth."""
        if result.shape != truth.shape:
            self.problems.append(f"{name} is {size(result.shape)} but its truth {size(truth.shape)}")
            return labels_in(truth)
        pair = FramePair(truth, result)
        true_labels, found_labels = pair.labels()
        for label in found_labels:
            if label not in self._first:
                self._strange[label].append(name)
        ids = [k for k, start in self._first.items() if start < index]
        for k, j, f in zip(ids, *pair.score(ids), strict=True):
            self._frames[k].append(name)
            self._j[k].append(float(j))
            self._f[k].append(float(f))
        return true_labels

    def _find_objects(self, index: int, labels: list[int]) -> None:
        if index == 0 and self.protocol.objects != "late":
            highest = 1 if self.protocol.objects == "one" else max(labels, default=0)
            if highest > MOST_OBJECTS:
                self.problems.append(
                    f"its first frame shows object {highest}, and this protocol counts objects from 1 to the"
                    " highest; number them from 1 on, or score with the protocol folder"
                )
                highest = 0
            self._first = dict.fromkeys(range(1, highest + 1), 0)
        new = set(labels) - self._first.keys()
        if len(new) > MOST_OBJECTS:
            self.problems.append(f"its truth shows {len(new):,} objects at once, and looks like a photograph")
            return
        if self.protocol.objects == "late" and not self._first_known:
            self._first |= dict.fromkeys(new, index)
        else:
            self.unscored.update(new)


def size(shape: tuple[int, ...]) -> str:
    """(H, W) as people write it: 854x480."""
    return f"{shape[1]}x{shape[0]}"


def unknown_label(label: int, names: Sequence[str]) -> str:
    """What is said of a label that no object has."""
    return (
        f"label {label}, no object of the truth, in {'frame' if len(names) == 1 else 'frames'}"
        f" {', '.join(names)}"
    )
