import pickle
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import COLOUR, ColourPropagator, scene

from mamp import methods
from mamp.core.errors import UserError
from mamp.methods.base import Propagator
from mamp.segmentation.segmenter import MaskMode, Segmenter


def test_the_users_ids_come_back_in_every_frame(make_segmenter):
    segmenter = make_segmenter()
    for t in range(4):
        frame, truth = scene(t, ids=(7, 300))
        labels = segmenter.step(frame, truth if t == 0 else None)
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, truth)
    assert segmenter.ids == [7, 300]


def test_small_ids_stay_8_bit(make_segmenter):
    segmenter = make_segmenter()
    frame, truth = scene(0)
    assert segmenter.step(frame, truth.astype(np.int64)).dtype == np.uint8
    assert segmenter.step(scene(1)[0]).dtype == np.uint8


def test_before_the_first_mask_everything_is_background_and_the_method_sees_nothing(make_segmenter, calls):
    segmenter = make_segmenter()
    frame, truth = scene(0)
    assert not segmenter.step(frame).any()
    assert not segmenter.step(frame, np.zeros_like(truth)).any()
    assert calls == []
    segmenter.step(frame, truth)
    assert calls == ["build", "start"]


def test_a_late_object_leaves_the_others_alone(make_segmenter, calls):
    plain, late = make_segmenter(), make_segmenter()
    for t in range(5):
        frame, truth = scene(t, ids=(1, 2, 7))
        first = np.where(truth == 7, 0, truth)
        alone = plain.step(frame, first if t == 0 else None)
        mask = first if t == 0 else np.where(truth == 7, truth, 0) if t == 2 else None
        together = late.step(frame, mask)
        np.testing.assert_array_equal(np.where(truth == 7, 0, together), np.where(truth == 7, 0, alone))
        assert (together[truth == 7] == 7).all() == (t >= 2)
    assert late.ids == [1, 2, 7]
    assert "add 1" in calls


def test_a_corrected_object_has_exactly_its_given_pixels_and_others_stay_as_predicted(make_segmenter, calls):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    frame, truth = scene(1)
    correction = np.zeros_like(truth)
    correction[2:4, 2:4] = 1
    labels = segmenter.step(frame, correction)
    np.testing.assert_array_equal(labels == 1, correction == 1)
    np.testing.assert_array_equal(labels == 2, truth == 2)
    assert calls[-1] == "correct [0]"


def test_replace_returns_the_mask_as_given_and_forgets_absent_ids(make_segmenter, calls):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    frame, truth = scene(1, ids=(1, 2, 7))
    mask = np.where(truth == 1, 0, truth)
    np.testing.assert_array_equal(segmenter.step(frame, mask, mode="replace"), mask)
    assert segmenter.ids == [2, 7]
    assert calls[-3:] == ["remove [0]", "correct [0]", "add 1"]
    frame, truth = scene(2, ids=(1, 2, 7))
    np.testing.assert_array_equal(segmenter.step(frame), np.where(truth == 1, 0, truth))


def test_replace_by_an_empty_mask_ends_every_object_and_a_later_mask_starts_anew(make_segmenter, calls):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    frame, truth = scene(1)
    assert not segmenter.step(frame, np.zeros_like(truth), mode="replace").any()
    assert segmenter.ids == []
    assert not segmenter.step(scene(2)[0]).any()
    np.testing.assert_array_equal(segmenter.step(*scene(3)), scene(3)[1])
    np.testing.assert_array_equal(segmenter.step(scene(4)[0]), scene(4)[1])
    assert calls.count("start") == 2


def test_removed_ids_are_background_from_the_next_frame_on(make_segmenter):
    segmenter = make_segmenter()
    segmenter.step(*scene(0, ids=(1, 2, 7)))
    segmenter.step(scene(1, ids=(1, 2, 7))[0])
    segmenter.remove([2])
    assert segmenter.ids == [1, 7]
    frame, truth = scene(2, ids=(1, 2, 7))
    np.testing.assert_array_equal(segmenter.step(frame), np.where(truth == 2, 0, truth))


def test_removing_an_unknown_id_is_refused_and_changes_nothing(make_segmenter):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    with pytest.raises(UserError, match=r"id 5 is not followed; remove one of \[1, 2\]"):
        segmenter.remove([1, 5])
    assert segmenter.ids == [1, 2]


def test_arrays_and_tensors_of_either_kind_give_the_same(make_segmenter):
    frames = [scene(t)[0] for t in range(3)]
    forms = [
        lambda f: f,
        lambda f: torch.from_numpy(f).permute(2, 0, 1),
        lambda f: torch.from_numpy(f).permute(2, 0, 1).float() / 255,
    ]
    results = []
    for form in forms:
        segmenter = make_segmenter()
        mask = torch.from_numpy(scene(0)[1])
        results.append([segmenter.step(form(f), mask if t == 0 else None) for t, f in enumerate(frames)])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_of_equal_scores_background_wins_then_the_first_id(make_segmenter, monkeypatch):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    tied = torch.zeros(3, 24, 32)
    tied[:, :12] = 1 / 3
    tied[1:, 12:] = 0.5
    monkeypatch.setattr(ColourPropagator, "step", lambda self, frame: tied)
    labels = segmenter.step(scene(1)[0])
    assert (labels[:12] == 0).all() and (labels[12:] == 1).all()


def test_probabilities_are_those_of_the_last_predicted_frame(make_segmenter):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    assert segmenter.probabilities is None
    segmenter.step(scene(1)[0])
    assert segmenter.probabilities.shape == (3, 24, 32)
    torch.testing.assert_close(segmenter.probabilities.sum(0), torch.ones(24, 32))


@pytest.mark.parametrize(
    ("frame", "mask", "message"),
    [
        (np.zeros((24, 30, 3), np.uint8), None, "a frame is 30x24 pixels where the video began with 32x24"),
        (np.zeros((24, 32, 3), np.float32), None, "give uint8"),
        (torch.full((3, 24, 32), 255.0), None, "values from 255 to 255"),
        (torch.full((3, 24, 32), torch.nan), None, "values from nan to nan"),
        (np.zeros((24, 32), np.uint8), None, "give uint8"),
        (torch.zeros(24, 32, 3), None, r"\(3, height, width\)"),
        ("frame.jpg", None, "a frame is a str"),
        (
            np.zeros((24, 32, 3), np.uint8),
            np.zeros((24, 30), np.uint8),
            "a mask is 30x24 pixels and its frame 32x24",
        ),
        (np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32)), "integer"),
        (np.zeros((24, 32, 3), np.uint8), np.full((24, 32), 70000), "has the id 70000"),
        (np.zeros((24, 32, 3), np.uint8), np.full((24, 32), -1), "has the id -1"),
    ],
)
def test_a_frame_or_mask_that_does_not_fit_is_refused_and_changes_nothing(
    make_segmenter, calls, frame, mask, message
):
    segmenter = make_segmenter()
    segmenter.step(*scene(0))
    with pytest.raises(UserError, match=message):
        segmenter.step(frame, mask)
    assert calls == ["build", "start"]
    np.testing.assert_array_equal(segmenter.step(scene(1)[0]), scene(1)[1])


class NoisePropagator(Propagator):
    """Random probabilities; as many rows as there are objects."""

    memory_bytes = 0

    def __init__(self, seed: int):
        super().__init__(torch.nn.Identity(), None)
        self.generator, self.count = torch.Generator().manual_seed(seed), 0

    def start(self, frame, masks):
        self.size, self.count = frame.shape[-2:], len(masks)

    def step(self, frame):
        return torch.rand(self.count + 1, *self.size, generator=self.generator).round(decimals=1)

    def correct(self, masks, objects):
        assert len(masks) == len(objects) and max(objects) < self.count

    def add(self, masks):
        self.count += len(masks)

    def remove(self, objects):
        assert sorted(set(objects)) == objects and max(objects) < self.count
        self.count -= len(objects)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_is_given_holds_and_everything_else_is_the_best_of_the_rest(seed):
    """Against a plain loop over pixels, for random masks, ids, and choices between adding, correcting and
    replacing.
    """
    rng = np.random.default_rng(seed)
    noise = replace(COLOUR, build_propagator=lambda *_, **__: NoisePropagator(int(rng.integers(1000))))
    segmenter = Segmenter(torch.nn.Identity(), SimpleNamespace(name="noise"))
    followed: list[int] = []
    for _ in range(6):
        mask = rng.choice([0, 0, 3, 9, 260], (4, 5)).astype(np.uint16) if rng.random() < 0.6 else None
        whole = bool(rng.random() < 0.4)
        mode = MaskMode.REPLACE if whole else MaskMode.OBJECTS
        with patch.dict(methods.METHODS, noise=noise):
            labels = segmenter.step(np.zeros((4, 5, 3), np.uint8), mask, mode=mode)
        scores, shown = segmenter.probabilities, [] if mask is None else sorted(set(mask.flat) - {0})
        for y in range(4):
            for x in range(5):
                rest = [0, *followed] if scores is not None else [0]
                best = (
                    max((float(scores[k, y, x]), -k) for k, i in enumerate(rest) if i not in shown)
                    if followed
                    else (0, 0)
                )
                wanted = rest[-best[1]]
                if mask is not None and (whole or mask[y, x]):
                    wanted = mask[y, x]
                assert labels[y, x] == wanted
        if mask is not None:
            kept = [i for i in followed if i in shown] if whole else followed
            followed = kept + [i for i in shown if i not in kept]
        assert segmenter.ids == followed


def test_pil_images_are_frames(make_segmenter):
    one, other = make_segmenter(), make_segmenter()
    for t in range(3):
        frame, truth = scene(t)
        mask = truth if t == 0 else None
        np.testing.assert_array_equal(one.step(Image.fromarray(frame), mask), other.step(frame, mask))


def test_a_reset_segmenter_is_as_new(make_segmenter, calls):
    segmenter = make_segmenter()
    segmenter.step(*scene(0, ids=(1, 300)))
    segmenter.reset()
    assert segmenter.ids == [] and segmenter.memory_bytes == 0
    frame, truth = scene(2, size=(30, 40))
    assert segmenter.step(frame, truth).dtype == np.uint8
    assert calls == ["build", "start", "build", "start"]


def test_another_video_on_an_old_segmenter_is_warned_of(make_segmenter):
    segmenter = make_segmenter()
    frame, truth = scene(0)
    segmenter.step(frame, truth)
    with pytest.warns(UserWarning, match=r"call reset\(\)"):
        segmenter.step((255 * (frame < 128)).astype(np.uint8), truth)


def test_corrections_and_late_objects_are_not_taken_for_another_video(make_segmenter, recwarn):
    segmenter = make_segmenter()
    for t in range(4):
        frame, truth = scene(t)
        segmenter.step(frame, truth)
    segmenter.step((255 * (frame < 128)).astype(np.uint8), np.where(truth == 1, 7, 0).astype(np.uint8))
    assert not [warning for warning in recwarn if "reset" in str(warning.message)]


def test_old_names_of_the_mode_go_on_with_a_warning(make_segmenter):
    for name in ("replace", "whole"):
        old, new = make_segmenter(), make_segmenter()
        for segmenter in (old, new):
            segmenter.step(*scene(0))
        frame, truth = scene(1)
        mask = np.where(truth == 1, 0, truth)
        with pytest.warns(DeprecationWarning, match=f'mode="{name}"'):
            labels = old.step(frame, mask, **{name: True})
        np.testing.assert_array_equal(labels, new.step(frame, mask, mode=name))
        assert old.ids == new.ids


def test_an_unknown_mode_is_refused(make_segmenter):
    with pytest.raises(UserError, match="mode=some is not known"):
        make_segmenter().step(*scene(0), mode="some")


def test_a_segmenter_says_why_it_cannot_be_pickled(make_segmenter):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make_segmenter())


@pytest.mark.parametrize("mode", ["whole", "replace", "objects"])
def test_small_masks_after_large_ids(make_segmenter, mode):
    segmenter = make_segmenter()
    segmenter.step(*scene(0, ids=(1, 300)))
    frame, truth = scene(1)
    labels = segmenter.step(frame, (truth == 1).astype(np.uint8), mode=mode)
    np.testing.assert_array_equal(labels == 1, truth == 1)
