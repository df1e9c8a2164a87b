"""Masks carried forward, backward, or both ways through a video, and how the two are brought together.

Backward is the same run on the frames in reverse order. Where both reach a frame, each object is taken from
the run whose given mask of it is nearer in time, forward where they are equally near; a pixel that two
objects then have goes to the nearer one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch

from mamp.core.errors import UserError
from mamp.segmentation.stream import GivenMask, SegmenterLike, Timing, carry, decode_ahead
from mamp.segmentation.unfinished import Work
from mamp.video.masks import object_ids

DIRECTIONS = ("both", "forward", "backward")
_NEVER = np.iinfo(np.int64).max  # frames to a mask that is not given


class Frames(Protocol):
    """What is asked of a video: `FrameSource`, or frames in memory."""

    names: list[str]
    jumps: bool

    def __len__(self) -> int: ...

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (index, frame) in order."""

    def backward(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield (index, frame) from `start` down to 0."""


@dataclass
class Plan:
    """What is to be done with the masks given for a video.

    shown: frame index -> the ids in the mask given there. direction: one of DIRECTIONS.
    """

    given: Mapping[int, GivenMask]
    shown: dict[int, set[int]]
    direction: str

    @classmethod
    def of(cls, given: Mapping[int, GivenMask], direction: str | None) -> Plan:
        """Read the masks and choose the direction: both where the first object is given after frame 0."""
        if direction not in (None, *DIRECTIONS):
            raise UserError(f"direction {direction} is not known; use one of {', '.join(DIRECTIONS)}")
        shown = {index: set(object_ids(np.asarray(_read(one)))) for index, one in sorted(given.items())}
        marked = [index for index, ids in shown.items() if ids]
        if not marked:  # which is refused when the first frame is there
            return cls(given, shown, "forward")
        return cls(given, shown, direction or ("both" if marked[0] > 0 else "forward"))

    @property
    def first(self) -> int:
        """The first frame whose mask has an object."""
        return min((index for index, ids in self.shown.items() if ids), default=0)

    @property
    def last(self) -> int:
        """The last frame whose mask has an object."""
        return max((index for index, ids in self.shown.items() if ids), default=0)

    def backward(self, index: int) -> bool:
        """Whether the backward run says anything of frame `index`."""
        return self.direction != "forward" and index <= self.last

    def steps(self, count: int) -> int:
        """How many frames of a video of `count` are segmented, those of both runs counted twice."""
        ahead = {"forward": count, "backward": 0, "both": count - self.first}[self.direction]
        return ahead + (0 if self.direction == "forward" else self.last + 1)

    def distance(self, number: int, index: int, *, after: bool) -> int:
        """Frames from `index` to the nearest mask of object `number` at or before it, or at or after it."""
        there = [
            i for i, ids in self.shown.items() if number in ids and (i >= index if after else i <= index)
        ]
        return min((abs(i - index) for i in there), default=_NEVER)


def _read(given: GivenMask) -> Any:
    labels = given.read()
    return labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels


@dataclass
class Made:
    """A finished frame.

    frame: its pixels; None where they were not needed. labels: its label map (H, W); None where an earlier
    process has written it. sure: how sure each object is, by id, where that is asked for.
    """

    index: int
    frame: Any
    labels: np.ndarray | None
    sure: dict[int, float] = field(default_factory=dict)


@dataclass
class Carrier:
    """Carries the masks of a plan through a video. State: none but what is in `work`.

    make_segmenter: returns a new segmenter; it is called once for each direction. work: where the backward
    run's label maps and the state of both are kept. timing: its decode_seconds grow. pixels: whether each
    frame's pixels are needed; without them the frames that an earlier process finished are not decoded where
    the source can begin anywhere. stepped: called with the segmenter after each frame it has segmented.
    skipped: called with the number of frames that an earlier process has segmented.
    """

    source: Frames
    plan: Plan
    make_segmenter: Callable[[], SegmenterLike]
    work: Work
    timing: Timing
    pixels: bool = True
    stepped: Callable[[Any], None] = lambda segmenter: None
    skipped: Callable[[int], None] = lambda count: None

    def frames(self) -> Generator[Made, None, None]:
        """Yield every frame in order with its final label map; UserError as `carry`."""
        if self.plan.direction != "forward":
            self._backward()
        self.work.way("forward")
        if self.plan.direction == "backward":
            yield from self._finished(range(len(self.source)), after=-1)
        else:
            yield from self._forward(self.make_segmenter())

    def _backward(self) -> None:
        """Shelve the label maps of all frames from the last mask down to the first frame.

        Frames are counted from the last mask on here: 0 is that frame, 1 the one before it.
        """
        self.work.way("backward")
        last, segmenter = self.plan.last, self.make_segmenter()
        after = self.work.load(segmenter)
        self.skipped(after + 1)
        if after == last:
            return
        begin = after + 1 if self.source.jumps else 0
        turned = ((last - i, frame) for i, frame in self.source.backward(last - begin))
        given = {last - i: one for i, one in self.plan.given.items() if after < last - i <= last}
        names = list(self.source.names[: last + 1])[::-1]
        with closing(decode_ahead(turned, self.timing)) as frames:
            fresh = (item for item in frames if item[0] > after)
            for step, _, labels in carry(fresh, given, segmenter, names=names, begun=after >= 0):
                sure = self.work.sureness(segmenter, labels, self.plan.shown.get(last - step, ()))
                self.work.note(last - step, sure)
                self.work.shelve(last - step, labels)
                self.stepped(segmenter)
                self.work.keep(step, segmenter)

    def _forward(self, segmenter: Any) -> Iterator[Made]:
        plan, after = self.plan, self.work.load(segmenter)
        own = plan.first if plan.direction == "both" else 0  # its first frame
        start = max(after + 1, own)
        self.skipped(start - own)
        begin = start if self.source.jumps and not self.pixels else 0
        if begin:
            yield from self._finished(range(start), after=after)
        given = {i: one for i, one in plan.given.items() if i >= start}
        with closing(decode_ahead(self.source.stream(begin), self.timing)) as frames:
            waiting: Any = iter(frames)
            for index, frame in waiting:
                if index >= start:
                    waiting = chain([(index, frame)], waiting)
                    break
                yield from self._finished([index], after=after, frame=frame)
            begun = after >= plan.first
            for index, frame, labels in carry(
                waiting, given, segmenter, names=self.source.names, begun=begun
            ):
                sure = self.work.sureness(segmenter, labels, plan.shown.get(index, ()))
                made = Made(index, frame, labels, sure)
                if plan.backward(index) and (other := self.work.shelved(index)) is not None:
                    made.labels, made.sure = nearer(plan, index, (labels, sure), other)
                self.work.note(index, made.sure)
                self.stepped(segmenter)
                yield made
                self.work.keep(index, segmenter)

    def _finished(self, indices: Iterable[int], *, after: int, frame: Any = None) -> Iterator[Made]:
        """Frames that the forward run says nothing of, or that it finished earlier: those up to `after`."""
        for index in indices:
            if index <= after:
                other = self.work.shelved(index) if index < self.plan.first else None
                sure = other[1] if other is not None else self.work.surenesses.get(index, {})
                yield Made(index, frame, None, sure)
            elif index > self.plan.last:  # of a backward run: there is nothing after the last mask
                labels, _ = self.work.shelved(self.plan.last) or (np.zeros((1, 1), np.uint8), {})
                yield Made(index, frame, np.zeros_like(labels))
            elif (other := self.work.shelved(index)) is not None:
                yield Made(index, frame, *other)


def nearer(
    plan: Plan,
    index: int,
    forward: tuple[np.ndarray, dict[int, float]],
    backward: tuple[np.ndarray, dict[int, float]],
) -> tuple[np.ndarray, dict[int, float]]:
    """Bring both runs' label maps (H, W) of frame `index` together; and how sure each object is.

    An object is where the run says whose mask of it is nearer in time; forward of equals. A pixel that two
    objects then have goes to the one whose mask is nearer; forward of equals.
    """
    (ahead, sure_ahead), (behind, sure_behind) = forward, backward
    numbers = np.union1d(ahead, behind)  # with the background
    from_ahead, from_behind = (np.full(len(numbers), _NEVER) for _ in range(2))
    sure: dict[int, float] = {}
    for row, number in enumerate(int(n) for n in numbers):
        before = plan.distance(number, index, after=False)
        later = plan.distance(number, index, after=True)
        if number and before <= later:
            from_ahead[row] = before
            sure |= {number: sure_ahead[number]} if number in sure_ahead else {}
        elif number:
            from_behind[row] = later
            sure |= {number: sure_behind[number]} if number in sure_behind else {}
    near_ahead = from_ahead[np.searchsorted(numbers, ahead)]
    near_behind = from_behind[np.searchsorted(numbers, behind)]
    labels = np.where(near_ahead <= near_behind, ahead, behind)
    labels[(near_ahead == _NEVER) & (near_behind == _NEVER)] = 0
    return labels.astype(np.promote_types(ahead.dtype, behind.dtype)), sure
