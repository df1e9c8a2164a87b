"""Clips with masks: which frames, whose labels, and what becomes of them on the way to a batch."""

import numpy as np
import pytest
import torch
from PIL import Image

from mamp import config
from mamp.config import Affine, DataConfig
from mamp.core.errors import UserError
from mamp.datasets.sequences import training_sequences
from mamp.loading.augmentation.labelled import DRAWS, augment_masked
from mamp.loading.census import Census, take_census
from mamp.loading.clips import ClipPlan, Curriculum
from mamp.loading.labels import fit_labels, upright
from mamp.loading.loader import ClipLoader
from mamp.video.masks import write_mask


def world(root, *, videos=("a", "b"), frames=8, empty=(), size=(40, 60)):
    for number, video in enumerate(videos):
        images, masks = root / "JPEGImages" / video, root / "Annotations" / video
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t in range(frames):
            labels = np.zeros(size, np.uint8)
            if t not in empty:
                labels[10:25, 10 + t : 25 + t] = 1 + number
            picture = np.repeat(100 * (labels > 0).astype(np.uint8)[..., None], 3, axis=2)
            Image.fromarray(picture).save(images / f"{t:05d}.png")
            write_mask(masks / f"{t:05d}.png", labels)
    return root


def first_batch(root, **knobs):
    data = DataConfig(
        root=(config.Root(path=root),), fit="letterbox", box=(32, 48), sampling="skip", workers=0, **knobs
    )
    videos = training_sequences(data.root, masks=True)
    plan = ClipPlan(take_census(videos), data, frames=3, batch=2, seed=0)
    return next(ClipLoader(videos, plan, data).batches())


def test_a_batch_has_the_labels_of_its_frames(tmp_path):
    frames, labels, _ = first_batch(world(tmp_path))
    assert frames.shape == (2, 3, 3, 32, 48)
    assert labels.shape == (2, 3, 32, 48)
    for shown, map_ in zip(frames.flatten(0, 1)[:, 0], labels.flatten(0, 1), strict=True):
        inside = (map_ > 0) & (map_ < 255)
        assert inside.any()
        assert (shown[inside] == 100).all()
        assert (shown[map_ == 0] == 0).all()


def test_a_clip_begins_where_an_object_shows(tmp_path):
    _, labels, about = first_batch(world(tmp_path, frames=12, empty=range(8)))
    assert ((labels[:, 0] > 0) & (labels[:, 0] < 255)).flatten(1).any(1).all()
    assert all(int(clip["frames"][0]) >= 8 for clip in about)


def test_a_video_without_any_object_is_refused(tmp_path):
    with pytest.raises(UserError, match="shows an object"):
        first_batch(world(tmp_path, empty=range(8)))


def test_a_video_without_masks_is_refused(tmp_path):
    world(tmp_path)
    for file in (tmp_path / "Annotations" / "a").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="Annotations/a holds no mask"):
        first_batch(tmp_path)


def test_a_letterbox_leaves_edges_and_margins_unlabelled():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 21:] = 3
    fitted = fit_labels(labels, (20, 30), fit="letterbox", place=None)
    assert fitted.shape == (20, 30)
    assert (fitted[:, :5] == 255).all()
    assert (fitted[:, 25:] == 255).all()
    assert set(np.unique(fitted[:, 5:25])) == {0, 3, 255}
    assert (fitted[:, 15] == 255).all()


def test_a_portrait_video_is_laid_across():
    assert upright(np.zeros((50, 30, 3))).shape == (30, 50, 3)
    assert upright(np.zeros((30, 50))).shape == (30, 50)


def plan(counts, roots, *, frames=3, **knobs):
    data = DataConfig(sampling="skip", **knobs)
    census = Census(tuple(counts), (None,) * len(counts), "", tuple(roots))
    return ClipPlan(census, data, frames=frames, batch=1, seed=0)


def test_each_root_has_its_own_frequency_and_reach():
    both = plan([60, 60], [0, 1], repeat=(5, 1), max_skip=(2, 9))
    clips = both.epoch(0)
    assert both.clips_in(0) == len(clips) == 6
    assert sum(clip.sequence == 0 for clip in clips) == 5
    for epoch in range(20):
        for clip in both.epoch(epoch):
            gaps = np.diff(clip.frames)
            assert gaps.min() >= 1
            assert gaps.max() <= both.curriculum.max_skip(clip.sequence, epoch)


def test_frames_lie_farther_apart_every_few_epochs_up_to_a_limit():
    steps = Curriculum(DataConfig(max_skip=(5, 3), skip_growth=(5, 1), skip_epochs=5, skip_limit=12))
    assert [steps.max_skip(0, epoch) for epoch in (0, 4, 5, 9, 10, 50)] == [5, 5, 10, 10, 12, 12]
    assert [steps.max_skip(1, epoch) for epoch in (0, 5, 10)] == [3, 4, 5]


def test_a_clip_fits_the_shortest_video():
    for epoch in range(10):
        assert plan([3], [0], max_skip=(9,)).epoch(epoch)[0].frames == (0, 1, 2)


def test_every_frame_comes_once_behind_a_reference_from_anywhere():
    census = Census(counts=(1, 7), rates=(None, None), digest="", roots=(0, 1))
    data = DataConfig(sampling="reference", repeat=(1, 2), root=("a", "b"))
    plan = ClipPlan(census, data, frames=3, batch=1, seed=0)
    clips = plan.epoch(0)
    assert len(clips) == plan.clips_in(0) == 1 + 2 * 7
    assert sorted(clip.frames[1:] for clip in clips if clip.sequence)[::2] == [
        (0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6),
    ]  # fmt: skip
    assert len({clip.frames[0] for clip in clips if clip.sequence}) > 3


def test_a_reference_is_drawn_again_until_it_shows_an_object_and_the_frames_stay(tmp_path):
    root = world(tmp_path, videos=("a",), empty=range(4, 8))
    data = DataConfig(root=(config.Root(path=root),), sampling="reference", workers=0)
    videos = training_sequences(data.root, masks=True)
    plan = ClipPlan(take_census(videos), data, frames=3, batch=8, seed=0)
    assert max(clip.frames[0] for clip in plan.epoch(0)) >= 4
    _, labels, about = next(ClipLoader(videos, plan, data).batches())
    assert all(names["frames"][0] < "00004" for names in about)
    assert sorted(names["frames"][2] for names in about) == [f"{t:05d}" for t in range(8)]
    assert (labels[:, 0] > 0).flatten(1).any(1).all()


def test_a_number_for_each_root_wants_as_many_roots(tmp_path):
    roots = tuple(config.Root(path=tmp_path) for _ in range(3))
    with pytest.raises(ValueError, match="one for each of the 3"):
        DataConfig(root=roots, repeat=(5, 1))


# ---------------------------------------------------------------- augmentation


def clip(side=33):
    labels = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    labels[:, :, 8:20, 10:22] = 7
    return (100 * (labels[:, :, None] > 0)).to(torch.uint8).expand(-1, -1, 3, -1, -1), labels


def test_with_everything_off_nothing_changes():
    frames, labels = clip()
    moved, maps = augment_masked(frames, labels, Affine(), draw=torch.rand(2, DRAWS))
    assert torch.equal(moved, frames.float() / 255)
    assert torch.equal(maps, labels)


@pytest.mark.parametrize(
    "knobs", [{"rotate": 40}, {"crop": 0.3}, {"shear": 30}, {"scale": 0.4}, {"flip": 1.0}]
)
def test_labels_move_with_the_pixels(knobs):
    frames, labels = clip()
    draw = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(1))
    moved, maps = augment_masked(frames, labels, Affine(**knobs), draw=draw)
    bright = moved[:, :, 0] > 50 / 255
    assert not torch.equal(maps, labels)
    assert set(maps.unique().tolist()) == {0, 7}
    assert ((maps == 7) != bright).float().mean() < 0.02
    assert torch.equal(moved[:, 0], moved[:, 2])


def test_contrast_and_shift_are_not_cut_off():
    frames, labels = clip()
    draw = torch.ones(2, DRAWS)
    moved, _ = augment_masked(frames, labels, Affine(contrast=0.5, shift=1.0), draw=draw)
    assert torch.allclose(moved, frames.float() / 255 * 1.5 + 1.0)
