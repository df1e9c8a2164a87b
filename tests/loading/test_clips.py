from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp.config import DataConfig
from mamp.core.errors import UserError
from mamp.loading.census import Census
from mamp.loading.clips import ClipPlan, own_steps, published_epoch

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "mamp_dev.npz"


def census(counts, rates=None):
    return Census(tuple(counts), tuple(rates or [None] * len(counts)), "")


def plan(counts, rates=None, *, frames=2, batch=1, seed=0, **data):
    return ClipPlan(census(counts, rates), DataConfig(**data), frames=frames, batch=batch, seed=seed)


@pytest.mark.parametrize("references", [1, 2])
def test_published_sampling_gives_the_recorded_clips(references):
    recorded = np.load(GOLDEN)
    starts, counts, seeds = recorded["in.sampling.start_count_seed"]
    rows = published_epoch(
        list(zip(starts, counts, strict=True)), references, np.random.RandomState(int(seeds[0]))
    )
    np.testing.assert_array_equal(np.array(rows), recorded[f"out.sampling.ref{references}"])


@pytest.mark.parametrize(
    ("fps", "steps"), [(8, (1, 1, 2)), (24, (2, 4, 6)), (30, (2, 5, 8)), (None, (2, 5, 8))]
)
def test_an_interval_told_at_30_fps_spans_the_same_time_at_another_rate(fps, steps):
    assert own_steps((2, 5, 8), 30.0, fps) == steps


def test_without_a_nominal_rate_intervals_are_stored_frames():
    assert own_steps((2, 5, 8), None, 8.0) == (2, 5, 8)


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    frames=st.integers(1, 4),
    sampling=st.sampled_from(["published", "random"]),
    epoch=st.integers(0, 3),
)
def test_clips_are_evenly_spaced_frames_inside_their_video(counts, frames, sampling, epoch):
    try:
        clips_of = plan(counts, frames=frames, sampling=sampling, clips_per_video=3)
    except UserError:
        return
    clips = clips_of.epoch(epoch)
    assert len(clips) == clips_of.clips_in(epoch)
    for clip in clips:
        assert len(clip.frames) == frames
        assert clip.frames[0] >= 0 and clip.frames[-1] < counts[clip.sequence]
        assert len(set(np.diff(clip.frames))) <= 1 and all(np.diff(clip.frames) >= 1)


def test_published_clips_of_a_video_share_no_frame():
    clips = plan([100, 90], frames=3).epoch(0)
    for video in (0, 1):
        frames = [frame for clip in clips if clip.sequence == video for frame in clip.frames]
        assert len(frames) == len(set(frames))


def test_a_video_too_short_for_the_interval_gets_a_shorter_one_when_starts_are_random():
    clips = plan([3], frames=2, sampling="random", intervals=(8,), interval_chances=(1.0,)).epoch(0)
    assert [clip.frames for clip in clips] == [(0, 2)]


def test_a_video_too_short_for_any_clip_is_left_out():
    for sampling in ("published", "random"):
        clips = plan([1, 0, 40], frames=2, sampling=sampling).epoch(0)
        assert {clip.sequence for clip in clips} == {2}


def test_an_epoch_does_not_depend_on_epochs_drawn_before():
    one, other = plan([50, 60, 70]), plan([50, 60, 70])
    for epoch in range(3):
        one.epoch(epoch)
    assert one.epoch(3) == other.epoch(3)
    assert one.epoch(3) != one.epoch(2)


def test_another_seed_gives_another_order():
    assert plan([50, 60, 70], seed=1).epoch(0) != plan([50, 60, 70], seed=2).epoch(0)


def test_a_step_is_located_in_the_epoch_that_holds_it():
    clips_of = plan([50, 60, 70], batch=4)
    walked = [(epoch, step) for epoch in range(5) for step in range(clips_of.clips_in(epoch) // 4)]
    assert [clips_of.locate(step) for step in range(len(walked))] == walked
    assert clips_of.steps_for(5) == len(walked)


def test_the_steps_that_end_an_epoch_are_known_in_any_order():
    clips_of = plan([50, 60, 70], batch=4)
    ends = [clips_of.steps_for(epoch) for epoch in range(1, 5)]
    assert [clips_of.ended(step) for step in reversed(ends)] == [4, 3, 2, 1]
    assert [step for step in range(ends[-1]) if clips_of.ended(step)] == ends[:-1]


def test_half_an_epoch_is_half_its_steps():
    clips_of = plan([100, 100], sampling="random", clips_per_video=10, batch=2)
    assert clips_of.steps_for(1.5) == 15


def test_too_little_video_for_one_batch_is_refused():
    with pytest.raises(UserError, match="fewer than train.batch=24"):
        plan([30], batch=24)
