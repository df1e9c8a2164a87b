import itertools
import threading

import numpy as np
import pytest
from scenes import scene

from mamp.core.errors import UserError
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.stream import GivenMask, Timing, carry, decode_ahead


def given(labels: np.ndarray) -> GivenMask:
    return GivenMask("mask first.png", lambda: labels)


def test_items_come_in_order_and_the_source_runs_at_most_a_few_ahead():
    made = []

    def source():
        for i in itertools.count():  # a camera never ends
            made.append(i)
            yield i

    items = decode_ahead(source(), Timing(), depth=3)
    assert list(itertools.islice(items, 50)) == list(range(50))
    assert len(made) <= 50 + 3 + 2
    items.close()


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield from range(10)
        raise UserError("frame 10 is cut short")

    seen = []
    with pytest.raises(UserError, match="frame 10"):
        for item in decode_ahead(source(), Timing()):
            seen.append(item)
    assert seen == list(range(10))


def test_no_thread_is_left_when_the_frames_are_no_longer_wanted():
    before = threading.active_count()
    items = decode_ahead(iter(range(1000)), Timing(), depth=2)
    next(items)
    items.close()
    assert threading.active_count() == before


def test_every_frame_is_stepped_once_with_the_mask_given_there():
    class Recorder:
        def __init__(self):
            self.steps = []

        def refuse_too_many(self, objects, size):
            self.steps.append((objects, size))

        def step(self, frame, mask=None):
            self.steps.append((int(frame[0, 0, 0]), mask is not None))
            return np.zeros(frame.shape[:2], np.uint8)

    frames = [np.full((4, 5, 3), t, np.uint8) for t in range(5)]
    mask = np.ones((4, 5), np.uint8)
    recorder = Recorder()
    indices = [i for i, _, _ in carry(enumerate(frames), {1: given(mask), 3: given(mask)}, recorder)]
    assert indices == list(range(5))
    assert recorder.steps == [(1, (4, 5)), (0, False), (1, True), (2, False), (3, True), (4, False)]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({}, "no mask is given"),
        ({0: given(np.ones((24, 30), np.uint8))}, "first.png is 30x24 pixels and its frame 32x24"),
        ({3: given(np.ones((24, 30), np.uint8))}, "first.png is 30x24 pixels and its frame 32x24"),
        ({0: given(np.zeros((24, 32), np.uint8))}, "first.png has no object"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_before_the_first_step(masks, message):
    with pytest.raises(UserError, match=message):
        next(carry(((t, scene(t)[0]) for t in range(5)), masks, CopySegmenter()))


def test_a_mask_for_a_frame_that_never_comes_is_an_error():
    masks = {0: given(scene(0)[1]), 9: given(scene(0)[1])}
    with pytest.raises(UserError, match="given for frame 9, which is not in the video"):
        list(carry(((t, scene(t)[0]) for t in range(5)), masks, CopySegmenter()))


def test_a_mask_for_a_frame_that_was_skipped_is_an_error():
    masks = {0: given(scene(0)[1]), 2: given(scene(0)[1])}
    with pytest.raises(UserError, match="given for frame 2, which is not in the video or cannot be read"):
        list(carry(((t, scene(t)[0]) for t in (0, 1, 3, 4)), masks, CopySegmenter()))


def test_a_frame_that_does_not_fit_is_named(make_segmenter):
    frames = [(0, scene(0)[0]), (1, np.zeros((24, 30, 3), np.uint8))]
    with pytest.raises(UserError, match="^frame bear/00007: a frame is 30x24"):
        list(carry(frames, {0: given(scene(0)[1])}, make_segmenter(), names=["bear/00006", "bear/00007"]))


def test_the_copy_baseline_keeps_each_object_where_it_was_last_given():
    segmenter = CopySegmenter()
    (frame, first), second = scene(0), scene(3)[1]
    assert not segmenter.step(frame).any()
    np.testing.assert_array_equal(segmenter.step(frame, first), first)
    np.testing.assert_array_equal(segmenter.step(frame), first)
    only_2 = np.where(second == 2, second, 0)
    np.testing.assert_array_equal(segmenter.step(frame, only_2), np.where(first == 1, 1, only_2))
    np.testing.assert_array_equal(segmenter.step(frame, only_2, mode="replace"), only_2)
