"""J and F of the masks of one frame, and the statistics of one object over a video.

J is region similarity, F boundary accuracy (Perazzi et al., CVPR 2016, section 4), as the official DAVIS tool
computes them. All objects of a frame are measured together, from the few pixels in which a label map changes:
they hold every object's boundary, and areas follow from where runs of equal labels end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from mamp.core.errors import UserError

Decay = Literal["exact", "official", "official_numpy2"]

_TOLERANCE = 0.008  # of the frame's diagonal: boundaries this near to each other match
_RECALL_ABOVE = 0.5
_DECAY_BINS = 4
_BITS = (np.uint8, np.uint16, np.uint32, np.uint64)
_MOST_AT_ONCE = 32  # objects whose boundaries fit the bits of a number, twice


# ---------------------------------------------------------------- one frame


def score_frame(
    truth: np.ndarray, result: np.ndarray, ids: Sequence[int], *, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of each object of a frame.

    truth, result: label maps (H, W) of an unsigned integer type. ids: the K labels to score. void: bool (H,
    W), pixels that count for nothing.
    Returns J and F, float64 (K,) in [0, 1]: J = |S & T| / |S | T|, 1 where both masks are empty; F is the
    harmonic mean of boundary precision and recall, 1 where neither mask has a boundary.
    """
    if void is not None:
        truth, result = np.where(void, 0, truth), np.where(void, 0, result)
    return FramePair(truth, result).score(ids)


def region_similarity(truth: np.ndarray, result: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """Return J, the intersection over union, of a pair of masks (H, W).

    truth, result: bool or any number, non-zero inside. void: bool (H, W), pixels left out.
    """
    return float(score_frame(_mask(truth), _mask(result), [1], void=void)[0][0])


def boundary_accuracy(truth: np.ndarray, result: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """Return F, the F-measure of the boundaries, of a pair of masks (H, W).

    truth, result: bool or any number, non-zero inside. void: bool (H, W), pixels left out.
    """
    return float(score_frame(_mask(truth), _mask(result), [1], void=void)[1][0])


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """The boundary of a mask (H, W), bool (H, W).

    A pixel is on it when it differs from its right, lower or lower right neighbour; beyond the last row and
    column the frame repeats itself, so that a mask that touches the border has no boundary there.
    """
    return _changes(_mask(mask))


def boundary_radius(size: tuple[int, ...]) -> int:
    """How far apart boundaries of a frame of `size` (H, W) may be to match, in pixels: 8 at 480x854."""
    return math.ceil(_TOLERANCE * math.sqrt(size[0] ** 2 + size[1] ** 2))


def labels_in(labels: np.ndarray) -> list[int]:
    """Return the non-zero labels of a label map (H, W), ascending.

    It reads runs of labels, which is quicker than sorting pixels.
    """
    flat = labels.reshape(-1)
    return _distinct(flat[1:][flat[1:] != flat[:-1]], flat[:1])


def _distinct(*labels: np.ndarray) -> list[int]:
    """The non-zero labels in one-dimensional arrays, ascending."""
    there = np.zeros(1 + max(int(part.max(initial=0)) for part in labels), dtype=bool)
    for part in labels:
        there[part] = True
    return [label for label in np.flatnonzero(there).tolist() if label != 0]


def _mask(mask: np.ndarray) -> np.ndarray:
    return (np.asarray(mask) != 0).view(np.uint8)


class FramePair:
    """The true and the predicted label map of one frame, (H, W) each.

    Kept are the N pixels in which either map differs from a neighbour to the right or below, which hold every
    boundary, and the labels that meet there. Both maps are first cut to the box (h, w) in which either shows
    an object.
    """

    def __init__(self, truth: np.ndarray, result: np.ndarray) -> None:
        self._radius = boundary_radius(truth.shape)
        box, highest = _box(truth | result)
        bits, kind = next(
            (b, k) for b, k in ((4, np.uint8), (8, np.uint16), (16, np.uint32)) if highest < 1 << b
        )
        pairs = truth[box].astype(kind)  # both labels of a pixel in one number, as small as may be
        pairs <<= bits
        pairs |= result[box].astype(kind, copy=False)
        self._size = height, width = pairs.shape
        at = np.flatnonzero(_changes(pairs))
        self._y = at // width
        self._x = at - self._y * width
        right = (self._x < width - 1).astype(np.intp)
        below = np.where(self._y < height - 1, width, 0)
        here = pairs.reshape(-1).take(np.stack([at, at + right, at + below, at + right + below]))  # (4, N)
        self._labels = np.stack([here >> bits, here & ((1 << bits) - 1)])  # (2, 4, N), truth and result
        ends = pairs[:, -1]
        self._ends = np.stack([ends >> bits, ends & ((1 << bits) - 1)])  # (2, h)

    def labels(self) -> tuple[list[int], list[int]]:
        """The non-zero labels of the truth and of the result, ascending."""
        truth, result = (
            _distinct(here[0], ends) for here, ends in zip(self._labels, self._ends, strict=True)
        )
        return truth, result

    def score(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """J and F of the objects called `ids`, float64 (K,) each; see `score_frame`."""
        groups = [ids[i : i + _MOST_AT_ONCE] for i in range(0, len(ids), _MOST_AT_ONCE)]
        return self._j(ids), np.concatenate([np.empty(0), *(self._f(group) for group in groups)])

    def _j(self, ids: Sequence[int]) -> np.ndarray:
        """J from the areas of each label in the truth, in the result, and in both at once.

        A row is runs of equal pairs of labels. Each adds where it ends, and takes away where it begins, to
        the area of its pair; where a pixel is kept for another reason than an end, both cancel out.
        """
        column = self._table(ids, np.arange(1, len(ids) + 1), kind=np.intp)  # label -> 1..K; 0 is not scored
        places = [
            np.concatenate(p) for p in zip(self._labels[:, 0], self._labels[:, 1], self._ends, strict=True)
        ]
        true, found = (column.take(labels) for labels in places)  # where a run ends, begins, and a row ends
        ends = np.full(self._ends.shape[1], float(self._size[1]))
        areas = np.concatenate([self._x + 1.0, -(self._x + 1.0), ends])
        same = true == found
        side = len(ids) + 1
        both = np.bincount(true[same], weights=areas[same], minlength=side)[1:]
        either = np.bincount(true, weights=areas, minlength=side)[1:]
        either += np.bincount(found, weights=areas, minlength=side)[1:] - both
        return np.divide(both, either, out=np.ones(len(ids)), where=either > 0)

    def _f(self, ids: Sequence[int]) -> np.ndarray:
        """F of at most 32 objects. Each has a bit for the truth's boundary and one for the result's."""
        count, radius = len(ids), self._radius
        kind = next(kind for kind in _BITS if 2 * count <= 8 * kind().itemsize)
        flag = self._table(ids, 1 << np.arange(count, dtype=np.uint64), kind=kind)
        bits = flag.take(self._labels)  # (2, 4, N)
        truth, result = np.bitwise_or.reduce(bits[:, :1] ^ bits[:, 1:], axis=1)  # (N,) each
        stride = self._size[1] + 2 * radius
        at = self._y * stride + self._x
        canvas = np.zeros((self._size[0] + 2 * radius) * stride, dtype=kind)
        canvas[at + radius * stride + radius] = truth | result << kind(count)
        near = _widen(canvas, stride, radius).take(at)
        sets = np.stack([truth, truth & (near >> kind(count)), result, result & near])  # (4, N)
        n_truth, found_truth, n_result, found_result = np.array(
            [np.count_nonzero(sets & kind(1 << k), axis=1) for k in range(count)]
        ).T
        precision = np.divide(found_result, n_result, out=np.ones(count), where=n_result > 0)
        recall = np.divide(found_truth, n_truth, out=np.ones(count), where=n_truth > 0)
        total = precision + recall
        return np.divide(2 * precision * recall, total, out=np.zeros(count), where=total > 0)

    def _table(self, ids: Sequence[int], values: np.ndarray, *, kind: type[np.generic]) -> np.ndarray:
        """label -> its object's value, 0 for labels that are not asked for."""
        highest = max(int(self._labels.max(initial=0)), int(self._ends.max(initial=0)), *ids, 0)
        table = np.zeros(highest + 1, dtype=kind)
        table[np.asarray(ids, dtype=np.intp)] = values
        return table


def _box(labels: np.ndarray) -> tuple[tuple[slice, slice], int]:
    """The box around what is not 0 in (H, W), and the highest label.

    The box is one pixel wider where the frame goes on, so that boundaries in it stay what they are.
    """
    lines = labels.max(axis=1)
    rows = _span(lines)
    return (rows, _span(labels[rows].max(axis=0))), int(lines.max())


def _span(line: np.ndarray) -> slice:
    """From one before the first to one after the last place that is not 0; the first place where all are."""
    at = np.flatnonzero(line)
    return slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) if at.size else slice(0, 1)


def _changes(labels: np.ndarray) -> np.ndarray:
    """Where a label map differs from its right, lower or lower right neighbour, bool (H, W)."""
    changes = np.zeros(labels.shape, dtype=bool)
    changes[:, :-1] = labels[:, :-1] != labels[:, 1:]
    changes[:-1] |= labels[:-1] != labels[1:]
    changes[:-1, :-1] |= labels[:-1, :-1] != labels[1:, 1:]
    return changes


def _widen(canvas: np.ndarray, stride: int, radius: int) -> np.ndarray:
    """Dilate every bit of a map by the disk dy^2 + dx^2 <= radius^2; the map has a margin of `radius`.

    canvas: its pixels in one line, `stride` a row. Returns those from the first pixel inside the margin to
    the last. Runs along the row are grown to each width the disk has, by doubling, and laid over the rows
    above and below. What a shift carries over a row's end falls into a margin.
    """
    first = radius * stride + radius
    wide = np.zeros(canvas.size - 2 * first, dtype=canvas.dtype)
    run, length = canvas, 1
    for half, offsets in _disk(radius):
        while length < 2 * half + 1:
            step = min(length, 2 * half + 1 - length)
            longer = np.empty_like(run)
            longer[:step] = run[:step]
            np.bitwise_or(run[step:], run[:-step], out=longer[step:])
            run, length = longer, length + step
        for dy in offsets:
            start = first + dy * stride + half  # a run of 2 half + 1 ends `half` to the right of its middle
            np.bitwise_or(wide, run[start : start + wide.size], out=wide)
    return wide


@lru_cache(maxsize=64)
def _disk(radius: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """(half width, row offsets that are so wide) of a disk, narrow to wide."""
    rows: dict[int, list[int]] = {}
    for dy in range(-radius, radius + 1):
        rows.setdefault(math.isqrt(radius * radius - dy * dy), []).append(dy)
    return tuple((half, tuple(rows[half])) for half in sorted(rows))


# ---------------------------------------------------------------- one object over a video


def statistics(values: np.ndarray, *, decay: Decay = "exact") -> tuple[float, float, float]:
    """Mean, recall and decay of one object's per-frame values, float (n,); NaN marks a frame without a value.

    Recall is the part of all frames above 0.5. Decay is the mean of the first quarter of frames minus that of
    the last.
    decay: `exact`; or what the official tool prints, whose bins are wrong beyond 256 frames because their
    ends are
    stored in 8 bits (`official`: under NumPy 1, as published figures were; `official_numpy2`: under NumPy 2).
    All three agree up to 255 frames. Without any frame all three statistics are NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return math.nan, math.nan, math.nan
    return _nanmean(values), float(np.mean(values > _RECALL_ABOVE)), _decay(values, decay)


def _decay(values: np.ndarray, kind: Decay) -> float:
    if kind not in get_args(Decay):
        raise UserError(f"decay={kind} is not known; use one of {', '.join(get_args(Decay))}")
    ends = np.round(np.linspace(1, len(values), _DECAY_BINS + 1) + 1e-10).astype(np.int64) - 1  # halves go up
    if kind != "exact":
        ends = ends % 256
    stops = ends + 1  # bins hold both their ends
    if kind == "official_numpy2":
        stops = stops % 256
    return _nanmean(values[ends[0] : stops[1]]) - _nanmean(values[ends[-2] : stops[-1]])


def _nanmean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if known.size else math.nan
