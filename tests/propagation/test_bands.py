"""Label maps made in bands, an object at a time, against the dense way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mamp.ops.label_masks import LabelMasks
from mamp.ops.sizes import resize
from mamp.ops.taps import Shrinking, bilinear_taps, centred_taps, sampled
from mamp.propagation.bands import EdgeFit, Side, winners
from mamp.propagation.guided import guided_filter
from mamp.propagation.labels import magnify, normalised

CELL = 4
FITS = [None, EdgeFit(5, 1e-4, 1), EdgeFit(8, 1e-4, 2), EdgeFit(12, 1e-3, 4)]


def scene(
    seed: int, objects: int, size: tuple[int, int], inner: tuple[int, int]
) -> tuple[Tensor, Tensor, tuple[Side, Side]]:
    """Scores of objects that lie in boxes, with sums from 0 to 1, a frame in uint8, and the sides."""
    random = torch.Generator().manual_seed(seed)
    padded = [-(-side // CELL) * CELL for side in inner]
    height, width = (side // CELL for side in padded)
    scores = torch.zeros(objects + 1, height, width)
    for k in range(1, objects + 1):
        y, x = (int(torch.randint(0, max(1, n - 4), (), generator=random)) for n in (height, width))
        scores[k, y : y + 5, x : x + 5] = torch.rand(scores[k, y : y + 5, x : x + 5].shape, generator=random)
    scores /= scores.sum(0).clamp(min=1)
    scores[0] = 1 - scores.sum(0)
    scores *= torch.rand(height, width, generator=random).round(decimals=1)
    frame = torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
    sides = [
        Side(centred_taps(cells, CELL, whole)[:part], bilinear_taps(part, pixels))
        for cells, whole, part, pixels in zip((height, width), padded, inner, size, strict=True)
    ]
    return scores, frame, (sides[0], sides[1])


def dense(scores: Tensor, frame: Tensor, inner: tuple[int, int], fit: EdgeFit | None) -> Tensor:
    """Probabilities (K+1, H, W), as `MampPropagator` makes them of few objects."""
    padded = [-(-side // CELL) * CELL for side in inner]
    full = magnify(scores, CELL, padded)[:, : inner[0], : inner[1]]
    probabilities = normalised(resize(full, frame.shape[-2:]))
    if fit is None:
        return probabilities
    return normalised(guided_filter(frame.float() / 255, probabilities, **vars(fit)).clamp(0, 1))


@pytest.mark.parametrize("fit", FITS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    objects=st.integers(1, 12),
    size=st.sampled_from([(60, 90), (47, 61), (33, 120)]),
    factor=st.sampled_from([0.75, 1.0, 1.5]),
    rows=st.integers(1, 70),
)
def test_bands_of_any_height_give_the_masks_of_the_dense_way(fit, seed, objects, size, factor, rows):
    inner = round(size[0] * factor), round(size[1] * factor)
    scores, frame, sides = scene(seed, objects, size, inner)
    found = winners(scores, frame, sides, fit=fit, max_bytes=rows * 96 * size[1])
    probabilities = dense(scores, frame, inner, fit)
    other = found != probabilities.argmax(0)
    # only where two are equal but for rounding
    lost = probabilities.amax(0) - probabilities.gather(0, found[None].long())[0]
    assert (lost[other] < 2e-4).all() and other.float().mean() < 2e-3
    at_once = winners(scores, frame, sides, fit=fit)
    assert (found != at_once).float().mean() < 1e-3


@pytest.mark.parametrize("fit", FITS)
def test_a_channel_that_is_left_out_wins_nowhere_and_the_next_best_does(fit):
    scores, frame, sides = scene(3, 6, (60, 90), (60, 90))
    probabilities = dense(scores, frame, (60, 90), fit)
    probabilities[[2, 5]] = -1
    found = winners(scores, frame, sides, fit=fit, without=[2, 5], max_bytes=7 * 96 * 90)
    torch.testing.assert_close(found.long(), probabilities.argmax(0))


def test_where_no_score_is_left_there_is_background():
    scores, frame, sides = scene(4, 3, (40, 40), (40, 40))
    assert not winners(torch.zeros_like(scores), frame, sides, fit=FITS[2]).any()


@settings(max_examples=30, deadline=None)
@given(
    source=st.integers(1, 60), target=st.integers(1, 90), start=st.integers(0, 80), seed=st.integers(0, 999)
)
def test_a_part_of_a_resize_is_that_part(source, target, start, seed):
    x = torch.rand(2, source, source, generator=torch.Generator().manual_seed(seed))
    start = min(start, target - 1)
    taps = bilinear_taps(source, target)
    part = sampled(x, taps[start : start + 9], taps)
    torch.testing.assert_close(part, resize(x, (target, target))[:, start : start + 9], atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(source=st.integers(1, 80), shrunk=st.integers(1, 80), seed=st.integers(0, 999))
def test_shrinking_is_an_antialiased_resize(source, shrunk, seed):
    target = min(source, shrunk)
    x = torch.rand(1, source, 3, generator=torch.Generator().manual_seed(seed))
    whole = Shrinking(source, target, x.device).along(x, -2, (0, target), (0, source))
    torch.testing.assert_close(whole, resize(x, (target, 3), antialias=True), atol=1e-5, rtol=0)


@given(step=st.integers(1, 7), seed=st.integers(0, 99))
def test_masks_made_a_few_at_a_time_are_the_masks(step, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (9, 11), generator=random).to(torch.uint8).numpy()
    ids = [5, 1, 3]
    masks = LabelMasks(labels, ids)
    whole = torch.cat(list(masks.parts(4 * 99 * step)))
    torch.testing.assert_close(
        whole, torch.stack([torch.from_numpy(labels == i) for i in ids]).to(torch.uint8)
    )
    torch.testing.assert_close(masks.part(-1, 0)[0], 1 - whole.sum(0, dtype=torch.uint8))
