"""Sequences -> clips: which frames of which video make a training sample; indices only, seeded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mamp.config import DataConfig
from mamp.core.errors import UserError
from mamp.loading.census import Census


@dataclass(frozen=True)
class Clip:
    """One training sample: `frames` are indices into sequence number `sequence`, in the order of learning.

    reference: the first of them is one by itself, from anywhere; the others stay where they are.
    """

    sequence: int
    frames: tuple[int, ...]
    reference: bool = False


def own_steps(intervals: Sequence[int], interval_fps: float | None, fps: float | None) -> tuple[int, ...]:
    """Convert intervals in frames at `interval_fps` to steps between frames stored at `fps`; at least 1.

    A rate that is None, on either side, leaves them as stored frames.
    """
    if interval_fps is None or fps is None:
        return tuple(intervals)
    return tuple(max(1, round(interval * fps / interval_fps)) for interval in intervals)


def published_epoch(
    start_counts: Sequence[tuple[int, int]],
    references: int,
    rng: np.random.RandomState,
    *,
    intervals: Sequence[Sequence[int]] = ((2, 5, 8),),
    chances: Sequence[float] = (0.4, 0.4, 0.2),
) -> list[tuple[int, ...]]:
    """The clips of one epoch as MAMP's training draws them: rows (video, frame, ..., frame).

    start_counts: per video the number of its first frame and how many frames it has. references: r, so that a
    clip has r+1 frames. rng: advanced by one shuffle of the videos and one choice for each of them.
    intervals: the steps to choose from, one row for all videos or one for each. Clips of a video are disjoint
    and in order, the videos in shuffled order; a video shorter than one clip gives none.
    """
    videos, steps = _shuffle_and_choose(len(start_counts), intervals, rng, chances)
    rows = []
    for video, step in zip(videos, steps, strict=True):
        start, count = start_counts[video]
        numbers = range(start, start + count, step)
        groups = len(numbers) // (references + 1)
        for g in range(groups):
            rows.append((int(video), *numbers[g * (references + 1) : (g + 1) * (references + 1)]))
    return rows


def _shuffle_and_choose(
    count: int, intervals: Sequence[Sequence[int]], rng: np.random.RandomState, chances: Sequence[float]
) -> tuple[np.ndarray, list[int]]:
    """All that an epoch draws for its videos: their order, and in that order the step of each."""
    videos = np.arange(count)
    rng.shuffle(videos)
    drawn = rng.choice(len(chances), size=count, p=chances)  # the same stream as one choice for each video
    steps = np.broadcast_to(np.asarray(intervals), (count, len(chances)))[videos, drawn]
    return videos, steps.tolist()


class Curriculum:
    """How far apart a clip's frames may be, and how often a video comes (STM-Cycle's data frequencies).

    Both follow from the settings and the epoch alone, so that a checkpoint, which holds the settings and the
    step, holds them too.
    """

    def __init__(self, data: DataConfig) -> None:
        self.data = data

    def repeat(self, root: int) -> int:
        """How often an epoch holds each video of this root."""
        return _of(self.data.repeat, root)

    def max_skip(self, root: int, epoch: int) -> int:
        """Most stored frames from one frame of a clip to the next, in this epoch (from 0)."""
        grown = epoch // self.data.skip_epochs * _of(self.data.skip_growth, root)
        first = _of(self.data.max_skip, root)
        return max(first, min(first + grown, self.data.skip_limit))


def _of(values: Sequence[int], root: int) -> int:
    """The value for one root; a single value is everyone's."""
    return values[root if len(values) > 1 else 0]


class ClipPlan:
    """The clips of every epoch, from a census and a seed alone.

    Any epoch can be drawn without the ones before it, so that a run goes on at any step.
    census: frames and rate of each sequence. frames: T, frames in a clip. batch: clips in a step; what is
    left of an epoch after whole batches is dropped.
    Raises UserError when the sequences do not fill one batch.
    """

    def __init__(self, census: Census, data: DataConfig, *, frames: int, batch: int, seed: int):
        self.counts = census.counts
        self.frames = frames
        self.batch = batch
        self.seed = seed
        self.sampling = data.sampling
        self.clips_per_video = data.clips_per_video
        self.chances = tuple(chance / sum(data.interval_chances) for chance in data.interval_chances)
        self.roots = census.roots or (0,) * len(census.counts)
        self.curriculum = Curriculum(data)
        self.steps = [own_steps(data.intervals, data.interval_fps, rate) for rate in census.rates]
        self.epoch = lru_cache(maxsize=2)(self._epoch)
        self._ends = [0]  # steps before each epoch, as far as they are counted
        clips = self.clips_in(0)
        if clips < batch:
            raise UserError(
                f"an epoch has {clips} clips of {frames} frames from {len(self.counts)} videos, fewer than"
                f" train.batch={batch}; add video with data.root, lower train.batch, or raise"
                " data.clips_per_video with data.sampling=random"
            )

    def clips_in(self, epoch: int) -> int:
        """How many clips epoch `epoch` has; published sampling draws intervals, so that epochs differ."""
        if self.sampling == "random":
            return self.clips_per_video * sum(count >= self.frames for count in self.counts)
        if self.sampling == "stills":
            copies = (self.curriculum.repeat(root) for root in self.roots)
            return sum(n * count for n, count in zip(copies, self.counts, strict=True))
        if self.sampling in ("skip", "shuffled"):
            copies = (self.curriculum.repeat(root) for root in self.roots)
            long = (count >= self.frames for count in self.counts)
            return self.clips_per_video * sum(n for n, fits in zip(copies, long, strict=True) if fits)
        if self.sampling == "reference":
            return sum(n * self.curriculum.repeat(r) for n, r in zip(self.counts, self.roots, strict=True))
        videos, steps = _shuffle_and_choose(len(self.counts), self.steps, self._rng(epoch), self.chances)
        return sum(
            -(-self.counts[video] // step) // self.frames for video, step in zip(videos, steps, strict=True)
        )

    def steps_for(self, epochs: float) -> int:
        """Optimiser steps in `epochs` epochs, the last of which may be a part of one."""
        whole = int(epochs)
        part = epochs - whole
        steps = sum(self.clips_in(epoch) // self.batch for epoch in range(whole))
        return steps + (int(part * (self.clips_in(whole) // self.batch)) if part else 0)

    def locate(self, step: int) -> tuple[int, int]:
        """(epoch, step within it) of step number `step`, both from 0."""
        self._count_to(step + 1)
        epoch = bisect_right(self._ends, step) - 1
        return epoch, step - self._ends[epoch]

    def ended(self, step: int) -> int | None:
        """How many epochs are over after `step` steps, if the last of them ends an epoch."""
        self._count_to(step)
        epoch = bisect_left(self._ends, step)
        return epoch if step and self._ends[epoch] == step else None

    def epochs_after(self, step: int) -> float:
        """How many epochs are over after `step` steps, with the part of the one at hand."""
        self._count_to(step)
        epoch = bisect_left(self._ends, step)
        if self._ends[epoch] == step:
            return float(epoch)
        begin, end = self._ends[epoch - 1 : epoch + 1]
        return epoch - 1 + (step - begin) / (end - begin)

    def _count_to(self, step: int) -> None:
        """Count the steps of epochs until `step` of them are counted."""
        while self._ends[-1] < step:
            self._ends.append(self._ends[-1] + self.clips_in(len(self._ends) - 1) // self.batch)

    def _epoch(self, epoch: int) -> list[Clip]:
        """The clips of one epoch, in the order they are trained on."""
        rng = self._rng(epoch)
        if self.sampling == "published":
            spans = [(0, count) for count in self.counts]
            rows = published_epoch(spans, self.frames - 1, rng, intervals=self.steps, chances=self.chances)
            clips = [Clip(video, tuple(frames)) for video, *frames in rows]
        elif self.sampling == "skip":
            clips = self._skipping_clips(epoch, rng)
        elif self.sampling == "shuffled":
            clips = self._shuffled_clips(rng)
        elif self.sampling == "stills":
            clips = self._stills()
        elif self.sampling == "reference":
            clips = self._referring_clips(rng)
        else:
            clips = self._random_clips(rng)
        return [clips[i] for i in rng.permutation(len(clips))]

    def _random_clips(self, rng: np.random.RandomState) -> list[Clip]:
        """`clips_per_video` clips of each video; an interval too long for it is shortened to what fits."""
        clips = []
        for video, count in enumerate(self.counts):
            longest = (count - 1) // max(self.frames - 1, 1)
            if count < self.frames:
                continue
            for drawn in rng.choice(len(self.chances), size=self.clips_per_video, p=self.chances):
                step = max(1, min(self.steps[video][drawn], longest))
                start = rng.randint(count - step * (self.frames - 1))
                clips.append(Clip(video, tuple(range(start, start + step * (self.frames - 1) + 1, step))))
        return clips

    def _skipping_clips(self, epoch: int, rng: np.random.RandomState) -> list[Clip]:
        """Clips of each copy of each video.

        Any first frame that the rest fits after. Each next one is up to the epoch's most frames later.
        """
        clips = []
        for video, count, root in self._copies():
            most = self.curriculum.max_skip(root, epoch)
            for _ in range(self.clips_per_video):
                chosen = [int(rng.randint(count - self.frames + 1))]
                while len(chosen) < self.frames:
                    room = count - (self.frames - len(chosen)) - chosen[-1]  # the last place for the next one
                    chosen.append(chosen[-1] + int(rng.randint(1, min(most, room) + 1)))
                clips.append(Clip(video, tuple(chosen)))
        return clips

    def _shuffled_clips(self, rng: np.random.RandomState) -> list[Clip]:
        """Clips of each copy of each video, of any frames in any order."""
        return [
            Clip(video, tuple(rng.permutation(count)[: self.frames].tolist()))
            for video, count, _ in self._copies()
            for _ in range(self.clips_per_video)
        ]

    def _stills(self) -> list[Clip]:
        """A clip of each copy of each picture."""
        return [
            Clip(video, (picture,) * self.frames)
            for video, (count, root) in enumerate(zip(self.counts, self.roots, strict=True))
            for _ in range(self.curriculum.repeat(root))
            for picture in range(count)
        ]

    def _copies(self) -> Iterator[tuple[int, int, int]]:
        """(number, frames, root) of each copy of each video that is long enough."""
        for video, (count, root) in enumerate(zip(self.counts, self.roots, strict=True)):
            for _ in range(self.curriculum.repeat(root) if count >= self.frames else 0):
                yield video, count, root

    def _referring_clips(self, rng: np.random.RandomState) -> list[Clip]:
        """A clip for each frame of each copy of each video.

        It is any frame, then those before the frame, the first one repeated, and the frame.
        """
        clips = []
        for video, (count, root) in enumerate(zip(self.counts, self.roots, strict=True)):
            for end in np.tile(np.arange(count), self.curriculum.repeat(root)).tolist():
                run = (max(0, end - back) for back in reversed(range(self.frames - 1)))
                clips.append(Clip(video, (int(rng.randint(count)), *run), reference=True))
        return clips

    def _rng(self, epoch: int) -> np.random.RandomState:
        """The legacy generator for one epoch; its `shuffle` and `choice` make the published order."""
        return np.random.RandomState(np.random.SeedSequence((self.seed, epoch)).generate_state(8))
