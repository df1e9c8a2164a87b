"""The beginning of labelled videos, segmented and scored in memory: no file is written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from mamp.datasets import sequences as datasets
from mamp.scoring import ObjectScores, Scores
from mamp.scoring.protocols import Protocol, SequenceScorer, get_protocol, scored_frames
from mamp.segmentation.stream import Given, Steps, carry


def score_sequences(
    sequences: Sequence[datasets.Sequence],
    make_segmenter: Callable[[], Steps],
    protocol: str,
    *,
    frames: int | None = None,
    bad_frame: str = "error",
) -> Scores:
    """Score the first `frames` frames of each sequence (None: all), as if the video ended there.

    Sequences without truth in those frames are left out. Holds the masks of one frame at a time.
    Raises UserError for frames and masks that cannot be read.
    """
    rules = get_protocol(protocol)
    found = {}
    for sequence in sequences:
        masks = segmented(sequence, make_segmenter(), frames=frames, bad_frame=bad_frame)
        scores = _score(sequence, masks, rules, frames=frames)
        if scores:
            found[sequence.name] = scores
    return Scores(protocol, found)


def segmented(
    sequence: datasets.Sequence, segmenter: Steps, *, frames: int | None = None, bad_frame: str = "error"
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (index, frame uint8 (H, W, 3), label map (H, W)) of the first `frames` frames."""
    given = {
        index: Given(f"mask {path}", partial(sequence.read_given, index))
        for index, path in sequence.given.items()
        if _within(index, frames)
    }
    with sequence.open(bad_frame=bad_frame) as source:
        first = ((i, frame) for i, frame in islice(source.stream(), frames) if _within(i, frames))
        yield from carry(first, given, segmenter, names=[f"{sequence.name}/{name}" for name in source.names])


def _score(
    sequence: datasets.Sequence,
    masks: Iterator[tuple[int, np.ndarray, np.ndarray]],
    rules: Protocol,
    *,
    frames: int | None,
) -> dict[int, ObjectScores]:
    order = sorted(index for index in sequence.truth if _within(index, frames))
    if len(order) < 2:
        return {}
    begins = {
        number: bisect_right(order, index) - 1
        for number, index in sequence.first_frame.items()
        if _within(index, frames)
    }
    scorer = SequenceScorer(rules, first=begins or None)
    wanted = ((index, labels) for index, _, labels in masks if index in sequence.truth)
    for _, (index, labels) in scored_frames(wanted, rules):
        place = order.index(index)
        scorer.add(place, f"{index:05d}", sequence.read_truth(index), labels if place else None)
    return scorer.finish()


def _within(index: int, frames: int | None) -> bool:
    return frames is None or index < frames
