"""J and F of the masks of one frame, and the statistics of one object over a video.

J is region similarity, F boundary accuracy (Perazzi et al., CVPR 2016, section 4), as the official DAVIS tool
computes them. All objects of a frame are measured together. Two things make that fast without changing a bit of it:
a label map is long runs of equal labels, so areas are counted run by run; and every boundary of every object
lies where the label map changes, so boundaries are short lists of pixels, which are widened inside their own box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from mamp.errors import UserError

Decay = Literal["exact", "official", "official_numpy2"]

_TOLERANCE = 0.008  # of the frame's diagonal: boundaries this near to each other match
_RECALL_ABOVE = 0.5
_DECAY_BINS = 4


# ---------------------------------------------------------------- one frame


def score_frame(
    truth: np.ndarray, result: np.ndarray, ids: Sequence[int], *, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of each object of a frame.

    truth, result: label maps (H, W) of an unsigned integer type. ids: the K labels to score. void: bool (H, W),
    pixels that count for nothing.
    Returns J and F, float64 (K,) in [0, 1]: J = |S & T| / |S | T|, 1 where both masks are empty; F is the harmonic
    mean of boundary precision and recall, 1 where neither mask has a boundary.
    """
    if void is not None:
        truth, result = np.where(void, 0, truth), np.where(void, 0, result)
    return FramePair(truth, result).score(ids)


def region_similarity(truth: np.ndarray, result: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """J of one pair of masks (H, W), bool or any number, non-zero inside; void: bool (H, W), pixels left out."""
    return float(score_frame(_mask(truth), _mask(result), [1], void=void)[0][0])


def boundary_accuracy(truth: np.ndarray, result: np.ndarray, *, void: np.ndarray | None = None) -> float:
    """F of one pair of masks (H, W), bool or any number, non-zero inside; void: bool (H, W), pixels left out."""
    return float(score_frame(_mask(truth), _mask(result), [1], void=void)[1][0])


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """The boundary of a mask (H, W), bool (H, W).

    A pixel is on it when it differs from its right, lower or lower right neighbour; beyond the last row and column
    the frame repeats itself, so that a mask that touches the border has no boundary there.
    """
    return _changes(_mask(mask))


def boundary_radius(size: tuple[int, ...]) -> int:
    """How far apart boundaries of a frame of `size` (H, W) may be to match, in pixels: 8 at 480x854."""
    return math.ceil(_TOLERANCE * math.sqrt(size[0] ** 2 + size[1] ** 2))


def labels_in(labels: np.ndarray) -> list[int]:
    """The non-zero labels of a label map (H, W), ascending; reads runs of labels, which is quicker than sorting pixels."""
    flat = labels.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return [int(i) for i in np.unique(np.append(flat[starts], flat[:1])) if i != 0]


def _mask(mask: np.ndarray) -> np.ndarray:
    return (np.asarray(mask) != 0).view(np.uint8)


class FramePair:
    """The true and the predicted label map of one frame, (H, W) each, cut to the box in which either shows an object."""

    def __init__(self, truth: np.ndarray, result: np.ndarray) -> None:
        self._radius = boundary_radius(truth.shape)
        box = _box(truth | result)
        self._truth, self._result = np.ascontiguousarray(truth[box]), np.ascontiguousarray(result[box])
        t, r = self._truth.reshape(-1), self._result.reshape(-1)
        changed = t[1:] != t[:-1]
        changed |= r[1:] != r[:-1]
        starts = np.append(0, np.flatnonzero(changed) + 1)
        self._runs = t[starts], r[starts], np.diff(starts, append=t.size)  # labels and lengths of runs

    def labels(self) -> tuple[set[int], set[int]]:
        """The non-zero labels of the truth and of the result."""
        truth, result = (set(np.unique(values).tolist()) - {0} for values in self._runs[:2])
        return truth, result

    def score(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """J and F of the objects called `ids`, float64 (K,) each; see `score_frame`."""
        truth, result = _Edges(self._truth), _Edges(self._result)
        f = [_boundary_f(truth.of(k), result.of(k), self._radius) for k in ids]
        return self._j(ids), np.array(f, dtype=np.float64)

    def _j(self, ids: Sequence[int]) -> np.ndarray:
        """J from one joint histogram of the two maps."""
        truth, result, lengths = self._runs
        column = np.zeros(max(int(truth.max()), int(result.max()), *ids, 0) + 1, dtype=np.intp)
        column[np.asarray(ids, dtype=np.intp)] = np.arange(1, len(ids) + 1)  # label -> 1..K; 0 is not scored
        side = len(ids) + 1
        pairs = column[truth] * side + column[result]
        joint = np.bincount(pairs, weights=lengths, minlength=side * side).reshape(side, side)
        both = joint.diagonal()[1:]
        either = (joint.sum(axis=1) + joint.sum(axis=0))[1:] - both
        return np.divide(both, either, out=np.ones(len(ids)), where=either > 0)


def _box(inside: np.ndarray) -> tuple[slice, slice]:
    """The box around what is not 0 in (H, W), one wider where the frame goes on, so that boundaries stay what they are."""
    spans = []
    for axis in (1, 0):
        at = np.flatnonzero(inside.max(axis=axis, initial=0))
        spans.append(slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) if at.size else slice(0, 1))
    return spans[0], spans[1]


def _changes(labels: np.ndarray) -> np.ndarray:
    """Where a label map differs from its right, lower or lower right neighbour, bool (H, W)."""
    changes = np.zeros(labels.shape, dtype=bool)
    changes[:, :-1] = labels[:, :-1] != labels[:, 1:]
    changes[:-1] |= labels[:-1] != labels[1:]
    changes[:-1, :-1] |= labels[:-1, :-1] != labels[1:, 1:]
    return changes


class _Edges:
    """The pixels where a label map changes, with the labels that meet there: every object's boundary is among them."""

    def __init__(self, labels: np.ndarray) -> None:
        height, width = labels.shape
        here = np.flatnonzero(_changes(labels))
        self.y, self.x = np.divmod(here, width)
        right = (self.x < width - 1).astype(np.intp)
        down = np.where(self.y < height - 1, width, 0)
        flat = labels.reshape(-1)
        self.here = flat[here]
        self.neighbours = flat[np.stack([here + right, here + down, here + right + down])]  # (3, N)

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the boundary of one object."""
        on = ((self.neighbours == label) != (self.here == label)).any(axis=0)
        return self.y[on], self.x[on]


def _boundary_f(truth: tuple[np.ndarray, np.ndarray], result: tuple[np.ndarray, np.ndarray], radius: int) -> float:
    """F of two boundaries given as (rows, columns)."""
    n_truth, n_result = len(truth[0]), len(result[0])
    if n_truth == 0 and n_result == 0:
        return 1.0
    if n_truth == 0 or n_result == 0:
        return 0.0
    precision = _near(result, truth, radius) / n_result
    recall = _near(truth, result, radius) / n_truth
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _near(points: tuple[np.ndarray, np.ndarray], targets: tuple[np.ndarray, np.ndarray], radius: int) -> int:
    """How many points lie within `radius` of a target, by widening the targets inside the points' box."""
    (y, x), (ty, tx) = points, targets
    top, left = int(y.min()), int(x.min())
    height, width = int(y.max()) - top + 1, int(x.max()) - left + 1
    ty, tx = ty - (top - radius), tx - (left - radius)
    inside = (ty >= 0) & (ty < height + 2 * radius) & (tx >= 0) & (tx < width + 2 * radius)
    canvas = np.zeros((height + 2 * radius, width + 2 * radius), dtype=bool)
    canvas[ty[inside], tx[inside]] = True
    return int(np.count_nonzero(_widen(canvas, radius)[y - top, x - left]))


def _widen(canvas: np.ndarray, radius: int) -> np.ndarray:
    """Dilation by the disk dy^2 + dx^2 <= radius^2 of a bool map (h + 2 radius, w + 2 radius), without its margin (h, w).

    Runs along the row are grown to each width the disk has, by doubling, and laid over the rows above and below. The map
    is worked on as one line: what a shift carries over a row's end falls into a margin.
    """
    rows, stride = canvas.shape
    first = radius * stride + radius
    count = (rows - 2 * radius - 1) * stride + stride - 2 * radius
    run = canvas.reshape(-1)
    wide = np.zeros((rows - 2 * radius) * stride, dtype=bool)
    out = wide[:count]
    length = 1
    for half, offsets in _disk(radius):
        while length < 2 * half + 1:
            step = min(length, 2 * half + 1 - length)
            longer = np.empty_like(run)
            longer[:step] = run[:step]
            np.logical_or(run[step:], run[:-step], out=longer[step:])
            run, length = longer, length + step
        for dy in offsets:
            start = first + dy * stride + half  # a run of 2 half + 1 ends `half` to the right of its middle
            np.logical_or(out, run[start : start + count], out=out)
    return wide.reshape(-1, stride)[:, : stride - 2 * radius]


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

    Recall is the part of all frames above 0.5. Decay is the mean of the first quarter of frames minus that of the last.
    decay: `exact`; or what the official tool prints, whose bins are wrong beyond 256 frames because their ends are
    stored in 8 bits (`official`: under NumPy 1, as published figures were; `official_numpy2`: under NumPy 2). All
    three agree up to 255 frames. Without any frame all three statistics are NaN.
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
