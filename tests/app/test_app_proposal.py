"""Masks from clicks and boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mamp.app.proposal import Proposer, Wish, connected
from mamp.core.errors import UserError
from mamp.segmentation.model import load

pytest.importorskip("scipy", reason="needs scipy, of the extra app")


@pytest.fixture(scope="module")
def proposer() -> Proposer:
    model = load(None, device="cpu")
    return Proposer(model.network, model.config.method, torch.device("cpu"))


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Two discs of one texture on another one; and a label map of the discs."""
    generator = np.random.default_rng(0)
    frame = np.clip(generator.normal((90, 120, 90), 12, (120, 180, 3)), 0, 255)
    y, x = np.mgrid[:120, :180]
    labels = np.zeros((120, 180), np.uint8)
    for number, (row, column) in enumerate(((60, 50), (60, 130)), start=1):
        labels[np.hypot(y - row, x - column) < 28] = number
    frame[labels > 0] = np.clip(generator.normal((190, 90, 60), 12, ((labels > 0).sum(), 3)), 0, 255)
    return frame.astype(np.uint8), labels


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return (mask & truth).sum() / (mask | truth).sum()


def test_a_click_finds_the_object_and_no_other_that_looks_the_same(proposer, scene):
    frame, labels = scene
    mask = proposer.mask(0, frame, Wish(inside=((50, 60),)))
    assert overlap(mask, labels == 1) > 0.85


def test_a_box_finds_the_object_in_it(proposer, scene):
    frame, labels = scene
    mask = proposer.mask(0, frame, Wish(box=(98, 28, 163, 92)))
    assert overlap(mask, labels == 2) > 0.85 and not mask[:, :98].any()


def test_a_click_beside_takes_away(proposer, scene):
    frame, labels = scene
    mask = proposer.mask(0, frame, Wish(inside=((50, 60), (130, 60)), outside=((90, 60), (90, 20))))
    assert overlap(mask, labels > 0) > 0.85
    assert not proposer.mask(0, frame, Wish(inside=((50, 60),), outside=((60, 60),)))[60, 60]


def test_another_frame_is_looked_at_anew(proposer, scene):
    frame, labels = scene
    proposer.mask(0, frame, Wish(inside=((50, 60),)))
    turned = np.ascontiguousarray(frame[:, ::-1][:, 20:])
    assert overlap(proposer.mask(1, turned, Wish(inside=((110, 60),))), labels[:, ::-1][:, 20:] == 1) > 0.85


@pytest.mark.parametrize("wish", [Wish(), Wish(outside=((3, 3),)), Wish(inside=((500, 3), (-1, 2)))])
def test_a_wish_that_shows_nothing_is_refused(proposer, scene, wish):
    with pytest.raises(UserError, match="no click or box shows"):
        proposer.mask(0, scene[0], wish)


@settings(max_examples=60)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.data())
def test_what_hangs_together_is_found_as_by_flooding(mask, data):
    touched = data.draw(arrays(bool, mask.shape))
    flooded = mask & touched
    while True:
        wider = flooded.copy()
        wider[1:] |= flooded[:-1]
        wider[:-1] |= flooded[1:]
        wider[:, 1:] |= flooded[:, :-1]
        wider[:, :-1] |= flooded[:, 1:]
        wider &= mask
        if (wider == flooded).all():
            break
        flooded = wider
    np.testing.assert_array_equal(connected(mask, touched), flooded)
