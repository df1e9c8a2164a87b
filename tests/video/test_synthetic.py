"""Rendered clips: what they say of themselves is true of their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mamp.video.synthetic import SyntheticClip, render_clip, write_dataset

SIZE = (96, 144)


@pytest.fixture(scope="module", params=[1, 2, 3])
def clip(request: pytest.FixtureRequest) -> SyntheticClip:
    return render_clip((7, request.param), frames=14, size=SIZE, objects=3)


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Samples of `picture` (H, W, C) at `x`, `y`; coordinates beyond the border are moved onto it."""
    height, width = picture.shape[:2]
    x, y = x.clip(0, width - 1.001), y.clip(0, height - 1.001)
    x0, y0 = x.astype(int), y.astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = picture[y0, x0] * (1 - fx) + picture[y0, x0 + 1] * fx
    return top * (1 - fy) + (picture[y0 + 1, x0] * (1 - fx) + picture[y0 + 1, x0 + 1] * fx) * fy


def warp_error(clip: SyntheticClip, *, shift: tuple[float, float] = (0, 0), scale: float = 1) -> float:
    """Mean difference, in [0, 1], of visible pixels and those their flow (scaled, shifted) leads to."""
    frames = clip.frames / 255
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    errors = []
    for t in range(1, len(frames)):
        dx, dy = scale * clip.flow[t - 1] + np.reshape(shift, (2, 1, 1))
        errors.append(np.abs(bilinear(frames[t - 1], x + dx, y + dy) - frames[t])[clip.visible[t - 1]])
    return float(np.concatenate(errors).mean())


def test_the_flow_leads_to_the_same_colour_one_frame_back(clip):
    assert warp_error(clip) < 0.03
    assert warp_error(clip) < 0.6 * warp_error(clip, scale=0)


@pytest.mark.parametrize("shift", [(0.7, 0), (-0.7, 0), (0, 0.7), (0, -0.7)])
def test_a_flow_seven_tenths_of_a_pixel_beside_it_fits_worse(clip, shift):
    assert warp_error(clip, shift=shift) > 1.2 * warp_error(clip)


def test_visible_pixels_carry_their_label_back(clip):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    for t in range(1, len(clip.frames)):
        dx, dy = clip.flow[t - 1]
        for label in range(4):
            share = bilinear((clip.labels[t - 1] == label)[..., None].astype(float), x + dx, y + dy)[..., 0]
            here = clip.visible[t - 1] & (clip.labels[t] == label)
            assert (
                share[here] > 0.24
            ).all()  # the nearest of four pixels has at least a quarter of the weight
            assert share[here].mean() > 0.9


def test_what_is_not_visible_left_the_frame_or_is_covered(clip):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    assert 0.9 < clip.visible.mean() < 1
    for t in range(1, len(clip.frames)):
        hidden = ~clip.visible[t - 1]
        xs, ys = (
            np.rint(x + clip.flow[t - 1, 0]).astype(int)[hidden],
            np.rint(y + clip.flow[t - 1, 1]).astype(int)[hidden],
        )
        for x0, y0, label in zip(xs, ys, clip.labels[t][hidden], strict=True):
            inside = 0 <= x0 < SIZE[1] and 0 <= y0 < SIZE[0]
            assert not inside or clip.labels[t - 1][y0, x0] != label


def test_every_pixel_of_a_mask_moves_with_its_object_also_where_it_is_partly_covered(clip):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    z = x + 1j * y
    for t in range(1, len(clip.frames)):
        flow = clip.flow[t - 1, 0] + 1j * clip.flow[t - 1, 1]
        for label in range(4):
            here = clip.labels[t] == label
            if here.sum() < 3:
                continue
            similarity = np.stack([z[here], np.ones(here.sum())], 1)  # before = a z + b
            found = np.linalg.lstsq(similarity, flow[here], rcond=None)[0]
            assert np.abs(similarity @ found - flow[here]).max() < 1e-3


def test_objects_hide_one_another_in_one_order():
    clip = render_clip(4, frames=30, size=(64, 64), objects=5)
    areas = [(clip.labels == label).sum(axis=(1, 2)) for label in range(1, 6)]
    assert all(area[0] > 0 for area in areas)
    assert min(area.min() / area.max() for area in areas) < 0.5


def test_the_same_seed_gives_the_same_clip_and_another_seed_another():
    first, again, other = (render_clip(seed, frames=3, size=(48, 64), objects=2) for seed in (3, 3, 4))
    for name in ("frames", "labels", "flow", "visible"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("size", [(64, 96), (128, 192), (97, 61)])
def test_every_object_shows_in_the_first_frame(size):
    for seed in range(12):
        labels = render_clip(seed, frames=1, size=size, objects=3).labels[0]
        areas = np.bincount(labels.ravel(), minlength=4)
        assert len(areas) == 4
        assert areas[1:].min() > 0.02 * min(size) ** 2


def test_shapes_and_types_are_as_told():
    clip = render_clip(0, frames=5, size=(40, 56), objects=2)
    assert (clip.frames.shape, clip.frames.dtype) == ((5, 40, 56, 3), np.uint8)
    assert (clip.labels.shape, clip.labels.dtype) == ((5, 40, 56), np.uint8)
    assert (clip.flow.shape, clip.flow.dtype) == ((4, 2, 40, 56), np.float32)
    assert (clip.visible.shape, clip.visible.dtype) == ((4, 40, 56), np.bool_)


def test_objects_move_off_their_first_mask_yet_slowly_from_frame_to_frame():
    for seed in range(4):
        clip = render_clip(seed, frames=25, size=(128, 192), objects=2)
        speed = np.hypot(clip.flow[:, 0], clip.flow[:, 1])[clip.labels[1:] > 0]
        assert speed.mean() > 1.5
        assert speed.max() < 6.5
        copied = [np.logical_and(clip.labels[0] == k, clip.labels[-1] == k).sum() for k in (1, 2)]
        union = [np.logical_or(clip.labels[0] == k, clip.labels[-1] == k).sum() for k in (1, 2)]
        assert sum(copied) / sum(union) < 0.4


def test_mean_colour_does_not_tell_objects_from_the_background():
    apart = []
    for seed in range(20):
        clip = render_clip(seed, frames=1, size=(96, 144), objects=1)
        colour, object_ = clip.frames[0] / 255, clip.labels[0] == 1
        means = colour[object_].mean(0), colour[~object_].mean(0)
        nearer = np.abs(colour - means[0]).sum(-1) < np.abs(colour - means[1]).sum(-1)
        apart.append(np.logical_and(nearer, object_).sum() / np.logical_or(nearer, object_).sum())
    assert np.mean(apart) < 0.5  # J of the best split by the true mean colours


def test_a_written_data_set_has_the_layout_of_davis(tmp_path: Path):
    write_dataset(tmp_path, clips=3, frames=2, size=(32, 48), seed=5, split="val")
    names = (tmp_path / "ImageSets/2017/val.txt").read_text().split()
    assert names == ["val-000", "val-001", "val-002"]
    for index, name in enumerate(names):
        clip = render_clip((5, index), frames=2, size=(32, 48), objects=1 + index)
        for t in range(2):
            frame = Image.open(tmp_path / f"JPEGImages/480p/{name}/{t:05d}.jpg")
            mask = Image.open(tmp_path / f"Annotations/480p/{name}/{t:05d}.png")
            assert np.abs(np.asarray(frame, int) - clip.frames[t]).mean() < 8
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), clip.labels[t])
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in {".jpg", ".png", ".txt"}
    ]


def test_a_training_set_is_written_without_masks(tmp_path: Path):
    write_dataset(tmp_path, clips=1, frames=2, size=(32, 48), seed=5, split="train", masks="none")
    assert len(list(tmp_path.rglob("*.jpg"))) == 2
    assert not (tmp_path / "Annotations").exists()
