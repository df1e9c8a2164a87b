"""Frames of a clip moved each by itself, and clips of still pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from mamp.config import DataConfig, Moves, Root
from mamp.datasets.sequences import training_sequences
from mamp.loading.augmentation.batches import moved
from mamp.loading.augmentation.moves import DRAWS, move_frames
from mamp.loading.batch import Batch
from mamp.loading.census import Census, take_census
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.video.masks import write_mask

SIZE = (40, 56)
PUBLISHED = Moves(
    flip=0.3,
    brightness=0.1,
    contrast=0.1,
    saturation=0.1,
    hue=0.03,
    rotate=20,
    shift=0.1,
    scale=0.1,
    shear=10,
    crop=(0.8, 1),
    ratio=(0.75, 1.3333),
)


def still(clips=2, length=3, *, seed=0):
    """The same picture throughout: a bright box, which is object 1, on a dark ground."""
    labels = torch.zeros(clips, length, *SIZE, dtype=torch.uint8)
    labels[..., 12:28, 20:36] = 1
    noise = torch.randint(0, 40, (clips, 1, 3, *SIZE), generator=torch.Generator().manual_seed(seed))
    frames = (noise + 160 * labels[:, :, None]).to(torch.uint8)
    return frames, labels


def draw(clips=2, length=3, *, seed=0):
    return torch.rand(clips, length, DRAWS, generator=torch.Generator().manual_seed(seed))


def move(knobs, *, size=SIZE, seed=0):
    return move_frames(*still(), knobs, size=size, draw=draw(seed=seed))


def test_nothing_is_moved_by_default():
    frames, labels = still()
    found = move(Moves())
    assert torch.equal(found[0], frames)
    assert torch.equal(found[1], labels)


@pytest.mark.parametrize(
    "knobs", [PUBLISHED, Moves(warp=0.1), Moves(rotate=20), Moves(crop=(0.4, 0.5)), Moves(flip=1)]
)
def test_labels_go_where_their_pixels_go(knobs):
    frames, labels = move(knobs)
    bright = frames.float().mean(2) > 90
    assert ((labels == 1) == bright).float().mean() > 0.97
    assert set(labels.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize(
    "knobs", [PUBLISHED.model_copy(update={"crop": (1.0, 1.0), "ratio": (1.0, 1.0)}), Moves(warp=0.1)]
)
def test_the_first_frame_stays_and_each_other_is_moved_by_itself(knobs):
    frames, labels = move(knobs)
    assert torch.equal(frames[:, 0], still()[0][:, 0])
    assert not torch.equal(labels[:, 1], labels[:, 0])
    assert not torch.equal(labels[:, 1], labels[:, 2])
    assert not torch.equal(labels[0, 1], labels[1, 1])


def test_the_first_frame_is_cropped_too():
    frames, _ = move(Moves(crop=(0.4, 0.5)), size=(32, 32))
    assert frames.shape == (2, 3, 3, 32, 32)
    assert not torch.equal(frames[0, 0], frames[0, 1])


def test_a_crop_shows_its_part_of_the_frame():
    frames, labels = still()
    labels[:] = 1
    _, found = move_frames(frames, labels, Moves(crop=(0.25, 0.25)), size=SIZE, draw=draw())
    assert (found == 1).all()  # no crop looks beyond the frame
    ramp = torch.arange(SIZE[1]).expand(2, 3, 3, *SIZE).to(torch.uint8)
    seen, _ = move_frames(ramp, None, Moves(crop=(0.25, 0.25)), size=SIZE, draw=draw())
    reach = (seen[..., -1].float() - seen[..., 0].float()).flatten()
    assert (reach - SIZE[1] / 2).abs().max() <= 2


def test_a_turn_is_by_so_many_degrees():
    numbers = torch.full((1, 2, DRAWS), 0.5)
    numbers[0, 1, 4] = 1  # as far as it goes
    labels = torch.zeros(1, 2, 41, 41, dtype=torch.uint8)
    labels[..., 20, 30] = 1
    frames = labels[:, :, None].expand(-1, -1, 3, -1, -1)
    _, found = move_frames(frames, labels, Moves(rotate=90), size=(41, 41), draw=numbers)
    y, x = (found[0, 1] == 1).nonzero()[0].tolist()
    assert (x, y) in ((20, 10), (20, 30))


def test_colours_change_within_their_bounds():
    frames, _ = still()
    found, _ = move(Moves(brightness=0.1))
    ratio = found[:, 1:].float().mean((-3, -2, -1)) / frames[:, 1:].float().mean((-3, -2, -1))
    assert ((ratio > 0.89) & (ratio < 1.11) & (ratio != 1)).all()


def test_a_clip_moves_the_same_however_the_batch_is_split():
    frames, labels = still()
    data = DataConfig(moves=PUBLISHED, fit="letterbox", box=SIZE)
    whole = moved(Batch(frames, labels, ({}, {})), data, torch.Generator().manual_seed(3))
    part = moved(Batch(frames[1:], labels[1:], ({},), 1, 2), data, torch.Generator().manual_seed(3))
    assert torch.equal(part.frames[0], whole.frames[1])
    assert torch.equal(part.labels[0], whole.labels[1])


def test_crops_come_out_at_the_size_that_is_trained_on():
    frames, labels = still()
    data = DataConfig(moves=PUBLISHED, fit="crop", load_size=40, size=32)
    found = moved(Batch(frames, labels, ({}, {})), data, torch.Generator().manual_seed(3))
    assert found.frames.shape[-2:] == (32, 32) == found.labels.shape[-2:]


# ---------------------------------------------------------------- clips


def pictures(root, *, count=5, empty=()):
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / "SET").mkdir(parents=True)
    for n in range(count):
        labels = np.zeros(SIZE, np.uint8)
        if n not in empty:
            labels[10:30, 10 + n : 30 + n] = 1
        Image.fromarray(np.full((*SIZE, 3), 40 * n, np.uint8)).save(root / "JPEGImages" / "SET" / f"{n}.png")
        write_mask(root / "Annotations" / "SET" / f"{n}.png", labels)
    return root


def plan(counts=(5, 2), *, frames=3, **knobs):
    data = DataConfig(**{"sampling": "stills", **knobs})
    roots = tuple(range(len(counts)))
    return ClipPlan(Census(counts, (None,) * len(counts), "", roots), data, frames=frames, batch=1, seed=0)


def test_an_epoch_of_stills_has_each_picture_once():
    clips = plan().epoch(0)
    assert sorted((clip.sequence, clip.frames) for clip in clips) == [
        *((0, (n,) * 3) for n in range(5)), *((1, (n,) * 3) for n in range(2)),
    ]  # fmt: skip
    assert plan().clips_in(0) == 7


def test_pictures_are_repeated_as_their_root_is():
    made = plan(repeat=(1, 4))
    assert made.clips_in(0) == 5 + 4 * 2 == len(made.epoch(0))


def test_shuffled_clips_have_different_frames_in_any_order():
    made = plan((9, 2), frames=3, sampling="shuffled", repeat=(40, 40))
    clips = made.epoch(0)
    assert made.clips_in(0) == len(clips) == 40
    assert all(clip.sequence == 0 and len(set(clip.frames)) == 3 for clip in clips)
    assert any(clip.frames != tuple(sorted(clip.frames)) for clip in clips)
    assert {frame for clip in clips for frame in clip.frames} == set(range(9))


@pytest.mark.parametrize("sampling", ["stills", "shuffled"])
def test_a_picture_without_an_object_gives_way_to_another(tmp_path, sampling):
    root = Root(path=pictures(tmp_path, empty=(1, 3)))
    data = DataConfig(root=(root,), fit="letterbox", box=SIZE, sampling=sampling, repeat=(5,), workers=0)
    videos = training_sequences(data.root, masks=True)
    made = ClipPlan(take_census(videos), data, frames=3, batch=5, seed=0)
    frames, labels, about = next(ClipLoader(videos, made, data).batches())
    assert (labels[:, 0] == 1).flatten(1).any(1).all()
    for shown, told in zip(frames, about, strict=True):
        assert shown[:, 0, 20, 28].tolist() == [40 * int(name) for name in told["frames"]]
        assert (len(set(told["frames"])) == 1) == (sampling == "stills")
