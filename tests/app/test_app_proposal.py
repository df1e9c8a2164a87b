"""Masks from clicks and boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mamp.app.cells import connected
from mamp.app.proposal import Proposer, Wish, of_person
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
    assert (mask & (labels == 1)).sum() > 0.95 * mask.sum() and overlap(mask, labels == 1) > 0.3
    more = proposer.mask(0, frame, Wish(inside=((50, 60), (50, 40))))
    more = proposer.mask(0, frame, Wish(inside=((50, 60), (50, 40), (50, 80))))
    assert overlap(more, labels == 1) > overlap(mask, labels == 1) and not more[labels == 2].any()


def test_a_box_finds_the_object_in_it(proposer, scene):
    frame, labels = scene
    mask = proposer.mask(0, frame, Wish(box=(98, 28, 163, 92)))
    assert overlap(mask, labels == 2) > 0.8 and not mask[:, :98].any()


@pytest.mark.parametrize("seed", range(12))
def test_a_click_on_the_object_only_adds_and_one_beside_only_takes_away(proposer, scene, seed):
    frame, _ = scene
    generator = np.random.default_rng(seed)
    wish = Wish(inside=((50, 60),), series=seed)
    mask = proposer.mask(0, frame, wish)
    for _ in range(3):
        point = (generator.uniform(0, 180), generator.uniform(0, 120))
        on = bool(generator.integers(2))
        side = "inside" if on else "outside"
        wish = replace(wish, **{side: (*getattr(wish, side), point)})
        after = proposer.mask(0, frame, wish)
        assert not (mask & ~after).any() if on else not (after & ~mask).any()
        assert after[int(point[1]), int(point[0])] == on
        mask = after


def test_clicks_correct_the_mask_that_is_there(proposer, scene):
    frame, labels = scene
    first, second = labels == 1, labels == 2
    mask = proposer.mask(0, frame, Wish(inside=((130, 60),), series=5), current=first)
    assert mask[first].all() and mask[second].any()
    wrong = np.zeros_like(first)
    wrong[40:80, 79:100] = True
    wrong &= ~second
    mask = proposer.mask(0, frame, Wish(outside=((90, 60),), series=6), current=first | wrong)
    assert mask[first].mean() > 0.95 and mask[wrong].mean() < 0.6


def test_a_mask_of_a_neighbouring_frame_gives_the_extent(proposer, scene):
    frame, labels = scene
    near = np.roll(labels == 1, 4, axis=1)
    alone = proposer.mask(0, frame, Wish(inside=((50, 60),), series=1))
    mask = proposer.mask(0, frame, Wish(inside=((50, 60),), series=2), near=near)
    assert overlap(mask, labels == 1) > max(0.8, overlap(alone, labels == 1))
    elsewhere = proposer.mask(0, frame, Wish(inside=((130, 60),), series=3), near=near)
    assert elsewhere[60, 130] and not (elsewhere & (labels == 1)).any()


def test_another_frame_is_looked_at_anew(proposer, scene):
    frame, labels = scene
    proposer.mask(0, frame, Wish(box=(17, 28, 82, 92)))
    turned = np.ascontiguousarray(frame[:, ::-1][:, 20:])
    mask = proposer.mask(0, turned, Wish(box=(77, 28, 142, 92)))
    assert overlap(mask, labels[:, ::-1][:, 20:] == 1) > 0.8


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (17, 5), (40, 56)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_and_tiny_frames_have_an_answer(proposer, size, value):
    frame = np.full((*size, 3), value, np.uint8)
    for wish in (Wish(inside=((0.5, 0.5),)), Wish(box=(0, 0, size[1], size[0])), Wish(box=(0, 0, 0.2, 0.2))):
        assert proposer.mask(0, frame, wish).shape == size


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


def suggest(frame, points, labels, box, mask):
    """A person's function: the left or the right half of the frame, by the last click."""
    made = np.zeros(frame.shape[:2], int)
    made[:, : frame.shape[1] // 2] = labels[-1] if box is None else 1
    return made if mask is None else made | mask


def fails(*_):
    raise ValueError("no weights\nat all")


def narrow(frame, *_):
    return np.zeros((2, 2))


NOTHING = 3


def test_a_persons_function_answers_in_place_of_ours(scene, monkeypatch):
    model = load(None, device="cpu")
    own = of_person(f"{__name__}:suggest")
    proposer = Proposer(model.network, model.config.method, torch.device("cpu"), suggest=own)
    mask = proposer.mask(0, scene[0], Wish(inside=((3, 4),)))
    assert mask.dtype == bool and mask[:, :90].all() and not mask[:, 90:].any()
    current = np.zeros((120, 180), bool)
    current[5, 170] = True
    mask = proposer.mask(0, scene[0], Wish(outside=((3, 4),), series=1), current=current)
    assert mask.sum() == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_to_be_found:suggest", "cannot be imported"),
        (f"{__name__}:missing", "cannot be imported"),
        (f"{__name__}:NOTHING", "no function"),
        (__name__, "no function"),
        (":x", "no function"),
    ],
)
def test_a_function_that_is_not_there_is_refused_in_a_sentence(name, words):
    with pytest.raises(UserError, match=words) as error:
        of_person(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"), [("fails", "ValueError: no weights"), ("narrow", r"returned \(2, 2\)")]
)
def test_a_function_that_fails_says_so_in_a_sentence(scene, name, words):
    own = of_person(f"{__name__}:{name}")
    with pytest.raises(UserError, match=words) as error:
        own(scene[0], Wish(inside=((3, 4),)), None)
    assert "\n" not in str(error.value)
