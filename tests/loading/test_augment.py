from __future__ import annotations

import pytest
import torch

from mamp.config import Augment, DataConfig
from mamp.loading.augmentation.batches import augmented
from mamp.loading.augmentation.unlabelled import DRAWS, augment
from mamp.loading.batch import Batch


def clips(b=3, t=2, h=24, w=24):
    return torch.randint(
        0, 256, (b, t, 3, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def run(frames, size=24, seed=0, **knobs):
    draw = torch.rand(len(frames), DRAWS, generator=torch.Generator().manual_seed(seed))
    return augment(frames, Augment(**knobs), size=size, draw=draw)


def step(frames, *, seed=0, first=0, total=None, **knobs):
    """What these clips of a step become, and the number that is drawn next."""
    generator = torch.Generator().manual_seed(seed)
    batch = Batch(frames, None, ({},) * len(frames), first, total)
    found = augmented(batch, DataConfig(size=32, augment=Augment(**knobs)), generator)
    return found, float(torch.rand((), generator=generator))


def test_with_everything_off_frames_are_only_divided_by_255():
    assert torch.equal(run(clips()), clips().float() / 255)


def test_all_frames_of_a_clip_get_the_same_change_and_clips_different_ones():
    still = clips(t=1, b=4).expand(4, 3, 3, 24, 24)
    changed = run(still, size=16, crop=(0.3, 0.9), flip=0.5, brightness=0.3)
    assert torch.allclose(changed[:, :1].expand_as(changed), changed)
    same = clips(b=1).expand(4, 2, 3, 24, 24)
    changed = run(same, size=16, crop=(0.3, 0.9))
    assert all(not torch.allclose(changed[0], changed[i]) for i in range(1, 4))


def test_the_same_generator_state_gives_the_same_draw():
    knobs = {"crop": (0.3, 1.0), "flip": 0.5, "brightness": 0.4, "reverse": 0.5}
    assert torch.equal(run(clips(), **knobs), run(clips(), **knobs))
    assert not torch.equal(run(clips(), **knobs), run(clips(), seed=1, **knobs))


def test_switching_a_knob_on_leaves_the_draws_of_the_others_alone():
    flipped = run(clips(b=8), flip=0.5)
    both = run(clips(b=8), flip=0.5, reverse=1.0)
    assert torch.equal(both, flipped.flip(1))


def test_a_certain_flip_mirrors_and_a_certain_reverse_runs_backwards():
    assert torch.equal(run(clips(), flip=1.0), (clips().float() / 255).flip(-1))
    assert torch.equal(run(clips(), reverse=1.0), (clips().float() / 255).flip(1))


def test_the_whole_frame_as_crop_is_a_plain_resize():
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(1, 1, 3, 32, 32).contiguous()
    small = run(ramp, size=16)[0, 0, 0, 0]
    assert torch.allclose(small, torch.linspace(0, 248 / 255, 16), atol=1e-5)


def test_a_crop_is_a_box_of_the_asked_area_and_aspect_inside_the_frame():
    """Frames that hold their own coordinates tell which box was taken."""
    side = 64
    axis = torch.arange(side, dtype=torch.uint8) * 4
    frame = torch.stack((axis.expand(side, side), axis[:, None].expand(side, side), axis.expand(side, side)))
    for seed in range(20):
        box = run(frame[None, None], size=32, seed=seed, crop=(0.25, 0.5))[0, 0] * 255 / 4
        width, height = box[0, 0, -1] - box[0, 0, 0] + 1, box[1, -1, 0] - box[1, 0, 0] + 1
        assert box[:2].min() >= -1e-3 and box[:2].max() <= side - 1 + 1e-3
        assert 0.25 - 0.01 <= width * height / side**2 <= 0.5 + 0.01
        assert 0.74 <= width / height <= 1.35


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_brightness_stays_in_range(strength):
    changed = run(clips(), brightness=strength)
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.equal(changed, clips().float() / 255)


KNOBS = {
    "crop": (0.3, 1.0),
    "flip": 0.5,
    "brightness": 0.4,
    "saturation": 0.5,
    "hue": 0.1,
    "reverse": 0.5,
    "scales": (32, 40, 48),
}


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_a_batch_get_what_they_get_in_the_whole(seed):
    """Two processes, or two parts of a step, draw what one draws; and the numbers drawn next are the same."""
    frames = clips(b=6)
    whole, *ends = step(frames, seed=seed, **KNOBS)
    left, end = step(frames[:2], seed=seed, total=6, **KNOBS)
    right, other_end = step(frames[2:], seed=seed, first=2, total=6, **KNOBS)
    assert torch.allclose(torch.cat((left, right)), whole, atol=1e-5)
    assert ends == [end] == [other_end]


def test_one_of_the_scales_is_drawn_for_each_step():
    sides = [step(clips(), seed=seed, scales=(32, 64))[0].shape[-2:] for seed in range(20)]
    assert set(sides) == {(32, 32), (64, 64)}


def test_saturation_0_leaves_grey_and_hue_leaves_grey_alone():
    grey = clips(b=4)[:, :, :1].expand(4, 2, 3, 24, 24)
    assert torch.allclose(run(grey, hue=0.5), grey.float() / 255, atol=1e-5)
    assert torch.allclose(run(grey, saturation=1.0), grey.float() / 255, atol=1e-5)
    spread = (run(clips(b=16), saturation=1.0) - run(clips(b=16))).abs().flatten(1).amax(1)
    assert (spread > 0.02).sum() >= 12


def test_hue_turns_colours_and_keeps_brightest_and_darkest_channel():
    plain, turned = run(clips()), run(clips(), hue=0.5)
    assert not torch.allclose(plain, turned, atol=0.1)
    assert torch.allclose(plain.amax(2), turned.amax(2), atol=1e-4)
    assert torch.allclose(plain.amin(2), turned.amin(2), atol=1e-4)
