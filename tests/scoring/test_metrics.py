"""J, F and the statistics against plain definitions and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp.core.errors import UserError
from mamp.scoring import boundary_accuracy, boundary_map, region_similarity, score_frame, statistics
from mamp.scoring.metrics import boundary_radius, labels_in

# ---------------------------------------------------------------- the definition, plain and slow


def plain_boundary(mask: np.ndarray) -> set[tuple[int, int]]:
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            around = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if y == height - 1:
                around = [(y, x + 1)]
            if x == width - 1:
                around = [(y + 1, x)]
            if y == height - 1 and x == width - 1:
                around = []
            if any(mask[y, x] != mask[place] for place in around):
                found.add((y, x))
    return found


def plain_scores(truth: np.ndarray, result: np.ndarray, void: np.ndarray) -> tuple[float, float]:
    truth, result = truth & ~void, result & ~void
    union = (truth | result).sum()
    j = (truth & result).sum() / union if union else 1.0
    radius = math.ceil(0.008 * math.hypot(*truth.shape))
    ours, theirs = plain_boundary(result), plain_boundary(truth)
    if not ours and not theirs:
        return j, 1.0
    if not ours or not theirs:
        return j, 0.0
    a, b = np.array(sorted(ours)), np.array(sorted(theirs))
    near = ((a[:, None] - b[None]) ** 2).sum(axis=-1) <= radius**2
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    return j, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


KINDS = ("blobs", "noise", "specks", "lines", "border", "empty", "full", "corners")


def label_map(kind: str, rng: np.random.Generator, size: tuple[int, int], labels: list[int]) -> np.ndarray:
    """Label map (H, W) with the labels 0 and `labels`."""
    height, width = size
    out = np.zeros(size, dtype=np.uint16 if max(labels) > 255 else np.uint8)
    y, x = np.mgrid[:height, :width]
    if kind == "noise":
        return rng.choice([0, *labels], size=size).astype(out.dtype)
    if kind == "full":
        out[:] = labels[0]
    if kind == "corners":
        out[0, 0] = out[-1, -1] = labels[0]
        out[0, -1] = out[-1, 0] = labels[-1]
    for label in labels:
        cy, cx = rng.integers(0, height), rng.integers(0, width)
        if kind == "blobs":
            out[(y - cy) ** 2 / (1 + height / 4) ** 2 + (x - cx) ** 2 / (1 + width / 9) ** 2 < 1] = label
        if kind == "specks":
            out[rng.random(size) < 0.02] = label
        if kind == "lines":
            out[cy] = label
            out[:, cx] = label
        if kind == "border":
            out[:, : 1 + cx // 4] = label
            out[max(0, height - 1 - cy // 3) :] = label
    return out


SIZES = st.one_of(
    st.tuples(st.integers(1, 14), st.integers(1, 14)),  # radius 1
    st.tuples(st.integers(2, 9), st.sampled_from([126, 251, 380, 1000])),  # radius 2 to 9
    st.tuples(st.sampled_from([126, 300]), st.integers(2, 9)),
)


@settings(max_examples=120)
@given(
    size=SIZES,
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    labels=st.sampled_from([[1], [1, 2], [2, 5, 9], [7, 300], list(range(1, 6)), [255, 65535]]),
    with_void=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_frame_scores_as_the_plain_definition_says(
    size: tuple[int, int], kinds: tuple[str, str], labels: list[int], with_void: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth, result = (label_map(kind, rng, size, labels) for kind in kinds)
    void = label_map("blobs", rng, size, [1]) > 0 if with_void else np.zeros(size, dtype=bool)
    j, f = score_frame(truth, result, labels, void=void if with_void else None)
    expected = [plain_scores(truth == k, result == k, void) for k in labels]
    assert np.abs(np.array([j, f]).T - expected).max() < 1e-12


@settings(max_examples=30)
@given(size=SIZES, kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_the_boundary_is_where_a_mask_differs_from_right_and_below(
    size: tuple[int, int], kind: str, seed: int
) -> None:
    mask = label_map(kind, np.random.default_rng(seed), size, [1]) > 0
    assert set(map(tuple, np.argwhere(boundary_map(mask)).tolist())) == plain_boundary(mask)


@pytest.mark.parametrize("count", [4, 5, 8, 9, 16, 17, 32, 33, 70])
def test_any_number_of_objects_scores_as_each_alone(count: int) -> None:
    rng = np.random.default_rng(count)
    size, ids = (40, 200), list(range(1, count + 1))
    truth, result = (label_map("blobs", rng, size, ids) for _ in range(2))
    result[:, 100:] = truth[:, 100:]
    together = np.array(score_frame(truth, result, ids)).T
    alone = [
        (region_similarity(truth == k, result == k), boundary_accuracy(truth == k, result == k)) for k in ids
    ]
    assert np.array_equal(together, alone)


def test_objects_that_are_not_asked_for_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    truth, result = (label_map("noise", rng, (30, 40), [1, 2, 3]) for _ in range(2))
    both, one = score_frame(truth, result, [1, 2, 3]), score_frame(truth, result, [2])
    assert both[0][1] == one[0][0] and both[1][1] == one[1][0]


def test_no_objects_have_no_scores() -> None:
    j, f = score_frame(np.ones((5, 5), np.uint8), np.zeros((5, 5), np.uint8), [])
    assert j.shape == f.shape == (0,)


# ---------------------------------------------------------------- by hand


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((9, 9), bool)
    assert (region_similarity(empty, empty), boundary_accuracy(empty, empty)) == (1, 1)


def test_a_full_mask_has_no_boundary() -> None:
    empty, full = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    assert not boundary_map(full).any()
    assert (region_similarity(full, empty), boundary_accuracy(full, empty)) == (0, 1)


def test_a_missing_mask_scores_nothing() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    assert (region_similarity(mask, ~mask & mask), boundary_accuracy(mask, ~mask & mask)) == (0, 0)


@pytest.mark.parametrize(
    ("place", "count"), [((4, 4), 4), ((0, 0), 1), ((8, 8), 3), ((0, 8), 2), ((8, 0), 2)]
)
def test_a_single_pixel_has_as_many_boundary_pixels_as_the_border_leaves(
    place: tuple[int, int], count: int
) -> None:
    mask = np.zeros((9, 9), bool)
    mask[place] = True
    assert boundary_map(mask).sum() == count == len(plain_boundary(mask))


def test_a_square_moved_by_one_pixel() -> None:
    truth, result = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[2:10, 2:10] = True
    result[2:10, 3:11] = True
    assert region_similarity(truth, result) == 56 / 72
    assert boundary_accuracy(truth, result) == 1  # within the tolerance of one pixel


def test_void_pixels_count_for_nothing() -> None:
    truth, result, void = (np.zeros((20, 20), bool) for _ in range(3))
    truth[2:10, 2:10] = True
    result[2:10, 2:14] = True
    void[:, 10:] = True
    assert region_similarity(truth, result, void=void) == boundary_accuracy(truth, result, void=void) == 1
    assert region_similarity(truth, result) == 64 / 96


@pytest.mark.parametrize(
    ("size", "radius"), [((480, 854), 8), ((1, 1), 1), ((100, 75), 1), ((101, 75), 2), ((1080, 1920), 18)]
)
def test_the_tolerance_grows_with_the_diagonal(size: tuple[int, int], radius: int) -> None:
    assert boundary_radius(size) == radius


def test_labels_are_found_wherever_they_are() -> None:
    labels = np.zeros((4, 5), np.uint16)
    labels[0, 0], labels[-1, -1], labels[2] = 9, 300, 4
    assert labels_in(labels) == [4, 9, 300]


# ---------------------------------------------------------------- statistics


def test_mean_recall_and_decay_by_hand() -> None:
    # four bins over 0..8 that share their ends: 0-2, 2-4, 4-6, 6-8
    mean, recall, decay = statistics(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2]))
    assert mean == pytest.approx(4.9 / 9)
    assert recall == 4 / 9  # 0.5 is not above 0.5
    assert decay == pytest.approx(0.8 - 0.3)


def test_one_frame_does_not_decay() -> None:
    assert statistics(np.array([0.7])) == (0.7, 1.0, 0.0)


def test_no_frames_have_no_statistics() -> None:
    assert all(map(math.isnan, statistics(np.array([]))))


@pytest.mark.parametrize("length", [2, 7, 104, 255])
def test_official_decay_is_right_up_to_255_frames(length: int) -> None:
    values = np.linspace(1, 0, length) ** 2
    right = statistics(values)
    assert statistics(values, decay="official") == statistics(values, decay="official_numpy2") == right


def test_official_decay_wraps_in_8_bits_beyond_256_frames() -> None:
    values = np.linspace(1, 0, 256)
    assert statistics(values, decay="official") == statistics(values)
    assert math.isnan(statistics(values, decay="official_numpy2")[2])
    values = np.linspace(1, 0, 400)
    bins = values[0:101].mean(), values[299:400].mean(), values[299 - 256 : 399 - 256 + 1].mean()
    assert statistics(values)[2] == pytest.approx(bins[0] - bins[1])
    assert statistics(values, decay="official")[2] == pytest.approx(bins[0] - bins[2])


def test_an_unknown_decay_is_refused() -> None:
    with pytest.raises(
        UserError, match="decay=offical is not known; use one of exact, official, official_numpy2"
    ):
        statistics(np.ones(3), decay="offical")  # type: ignore[arg-type]
