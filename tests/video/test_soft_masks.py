"""Masks with soft edges of many kinds, and photographs, which are no masks."""

from __future__ import annotations

import numpy as np
import pytest
from painted import (
    BRIGHT,
    SIZE,
    as_jpeg,
    coloured,
    count,
    grey,
    overlap,
    painted,
    photograph,
    saved,
)
from PIL import Image, ImageFilter

from mamp.core.errors import UserError
from mamp.video.first_masks.reading import read
from mamp.video.masks import PALETTE

SEEDS = range(4)
BLUR = ImageFilter.GaussianBlur
BOX = ImageFilter.BoxBlur


def ids(labels):
    return [int(i) for i in np.unique(labels) if i]


# ---------------------------------------------------------------- soft edges

SOFT = {
    "blurred by 1": lambda image: image.filter(BLUR(1)),
    "blurred by 3": lambda image: image.filter(BLUR(3)),
    "box of 2": lambda image: image.filter(BOX(2)),
    "JPEG 95": lambda image: as_jpeg(image, 95),
    "JPEG 75": lambda image: as_jpeg(image, 75),
    "JPEG 40": lambda image: as_jpeg(image, 40),
    "blurred JPEG": lambda image: as_jpeg(image.filter(BLUR(1.5)), 85),
    "smoothed": (
        lambda image: image.resize((80, 60), Image.Resampling.BOX).resize(
            (160, 120), Image.Resampling.BICUBIC
        )
    ),
}
SCALED = {
    "half": lambda image: image.resize((80, 60), Image.Resampling.BILINEAR),
    "half, sharp": lambda image: image.resize((80, 60), Image.Resampling.LANCZOS),
    "twice": lambda image: image.resize((320, 240), Image.Resampling.BICUBIC),
    "one and a half": lambda image: image.resize((240, 180), Image.Resampling.BILINEAR),
    "three times": lambda image: image.resize((480, 360), Image.Resampling.LANCZOS),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [*SOFT, *SCALED])
def test_a_white_object_with_soft_edges_is_one_object(tmp_path, kind, seed):
    labels = painted(seed)
    found = read(saved(tmp_path / "a.png", {**SOFT, **SCALED}[kind](grey(labels))), size=SIZE).labels
    assert ids(found) == [1]
    assert overlap(found, labels) > (0.95 if kind in SOFT else 0.9)


@pytest.mark.parametrize("kind", [*SOFT, *SCALED])
@pytest.mark.parametrize("colours", [
    [(0, 0, 0), (255, 0, 0)], [(255, 255, 255), (255, 0, 0)], [(0, 0, 0), (128, 0, 0)],
    [(255, 255, 255), (0, 90, 200)], [(0, 0, 0), (128, 128, 128)],
])  # fmt: skip
def test_one_colour_with_soft_edges_is_object_1(tmp_path, kind, colours):
    labels = painted(3)
    found = read(
        saved(tmp_path / "a.png", {**SOFT, **SCALED}[kind](coloured(labels, colours))), size=SIZE
    ).labels
    assert ids(found) == [1]
    assert overlap(found, labels) > (0.93 if kind in SOFT else 0.9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [*SOFT, *SCALED])
@pytest.mark.parametrize(
    "table", [PALETTE[:4].tolist(), BRIGHT, [(0, 0, 0), (255, 90, 0), (0, 160, 255), (250, 250, 250)]]
)
def test_several_colours_with_soft_edges_stay_several(tmp_path, kind, seed, table):
    labels = painted(seed, 3)
    found = read(
        saved(tmp_path / "a.png", {**SOFT, **SCALED}[kind](coloured(labels, table))), size=SIZE
    ).labels
    assert count(found) == 3 and overlap(found, labels) > 0.85


@pytest.mark.parametrize("levels", [[0, 128, 255], [0, 100, 200], [0, 85, 170, 255]])
@pytest.mark.parametrize("kind", [*SOFT, *SCALED])
def test_several_greys_with_soft_edges_stay_several(tmp_path, kind, levels):
    labels = painted(12, len(levels) - 1)
    found = read(saved(tmp_path / "a.png", {**SOFT, **SCALED}[kind](grey(labels, levels))), size=SIZE).labels
    assert count(found) == len(levels) - 1 and overlap(found, labels) > 0.85


@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_object_numbers_that_were_enlarged_softly_stay_as_many(tmp_path, how):
    labels = painted(13, 4)
    large = Image.fromarray(labels).resize((480, 360), how)
    found = read(saved(tmp_path / "a.png", large), size=SIZE).labels
    assert ids(found) == [1, 2, 3, 4] and overlap(found, labels) > 0.85


def test_a_smoothed_corner_is_no_object(tmp_path):
    pixels = np.zeros(SIZE, np.uint8)
    pixels[30:80, 40:110] = 255
    for y, x in ((30, 40), (30, 109), (79, 40), (79, 109)):
        pixels[y, x] = 90
    assert ids(read(saved(tmp_path / "a.png", Image.fromarray(pixels))).labels) == [1]


def test_a_16_bit_picture_with_soft_edges_is_one_object(tmp_path):
    labels = painted(1)
    soft = np.array(grey(labels).filter(BLUR(1))).astype(np.uint16) * 257
    found = read(saved(tmp_path / "a.png", Image.fromarray(soft))).labels
    assert ids(found) == [1] and overlap(found, labels) > 0.95


def test_a_jpeg_file_is_read(tmp_path):
    labels = painted(2)
    found = read(saved(tmp_path / "a.jpg", grey(labels), quality=70)).labels
    assert ids(found) == [1] and overlap(found, labels) > 0.98


# ---------------------------------------------------------------- photographs


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "jpeg", "P"])
def test_a_photograph_is_refused(tmp_path, seed, mode):
    image = photograph(seed)
    image = as_jpeg(image) if mode == "jpeg" else image.quantize(64) if mode == "P" else image.convert(mode)
    with pytest.raises(UserError, match="a.png looks like a photograph.*save the layer of paint alone"):
        read(saved(tmp_path / "a.png", image))
