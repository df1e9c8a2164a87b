"""Masks of thin things, as a blur, a JPEG, a palette or a cut-out leave them."""

from __future__ import annotations

import numpy as np
import pytest
from painted import as_jpeg, coloured, count, davis, grey, overlap, painted, saved
from PIL import Image, ImageDraw, ImageFilter

from mamp.video.first_masks.reading import read
from mamp.video.masks import PALETTE

SIZE = (120, 160)


def thin(seed: int, *, scale: int = 1) -> np.ndarray:
    """uint8 (H, W): an object with spokes of two or three pixels, times `scale`."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(painted(seed) * np.uint8(255))
    draw = ImageDraw.Draw(image)
    for turn in rng.uniform(0, 2 * np.pi, 7):
        end = 80 + 62 * np.cos(turn), 60 + 46 * np.sin(turn)
        draw.line([(80, 60), end], fill=255, width=int(rng.integers(2, 4)))
    return np.kron((np.array(image) > 0).astype(np.uint8), np.ones((scale, scale), np.uint8))


def halves(labels: np.ndarray) -> np.ndarray:
    """The object cut in two: 1 left, 2 right."""
    two = labels.copy()
    two[:, labels.shape[1] // 2 :] *= 2
    return two


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "blur", [ImageFilter.GaussianBlur(1), ImageFilter.GaussianBlur(2), ImageFilter.BoxBlur(2)]
)
def test_the_blur_of_a_thin_thing_is_undone(seed, blur):
    labels = thin(seed)
    found = read(grey(labels).filter(blur)).labels
    assert count(found) == 1 and overlap(found, labels) > 0.95


@pytest.mark.parametrize("scale", [2, 5])
@pytest.mark.parametrize("blur", [3, 6])
def test_a_blur_makes_no_objects_of_its_own_shades(scale, blur):
    labels = thin(4, scale=scale)
    found = read(grey(labels).filter(ImageFilter.GaussianBlur(blur))).labels
    assert count(found) == 1 and overlap(found, labels) > 0.85


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("blur", [1, 2])
def test_two_blurred_davis_colours_keep_their_ids(seed, blur):
    labels = halves(thin(seed))
    image = coloured(labels, PALETTE[:3].tolist()).filter(ImageFilter.GaussianBlur(blur))
    found = read(image).labels
    assert set(np.unique(found)) == {0, 1, 2}
    assert min(overlap(found == k, labels == k) for k in (1, 2)) > 0.9


@pytest.mark.parametrize("quality", [60, 80, 93, 95, 97, 99, 100])
@pytest.mark.parametrize("seed", range(3))
def test_a_jpeg_of_any_quality_has_one_object(seed, quality):
    labels = thin(seed)
    for image in (grey(labels), coloured(labels, [(0, 0, 0), (255, 0, 0)])):
        found = read(as_jpeg(image, quality)).labels
        assert count(found) == 1 and overlap(found, labels) > 0.93


@pytest.mark.parametrize("quality", [75, 90])
def test_two_davis_colours_in_a_jpeg_keep_their_ids(quality):
    labels = halves(thin(5))
    found = read(as_jpeg(coloured(labels, PALETTE[:3].tolist()), quality)).labels
    assert set(np.unique(found)) == {0, 1, 2}
    assert min(overlap(found == k, labels == k) for k in (1, 2)) > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_a_small_piece_of_a_photograph_is_one_object(seed):
    rng = np.random.default_rng(seed)
    labels = thin(seed)
    flat = Image.fromarray(rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)).resize((160, 120))
    pixels = np.asarray(flat).astype(int) + rng.integers(-9, 10, (120, 160, 3))
    found = read(Image.fromarray(np.dstack([pixels.clip(0, 255).astype(np.uint8), labels * np.uint8(255)])))
    np.testing.assert_array_equal(found.labels, labels)


# ---------------------------------------------------------------- palettes


@pytest.mark.parametrize("colour", [(250, 60, 30), (0, 255, 0), (51, 102, 204), (255, 255, 255)])
def test_one_colour_of_the_web_is_object_1(colour):
    labels = thin(6)
    image = coloured(labels, [(0, 0, 0), colour]).convert(
        "P", palette=Image.Palette.WEB, dither=Image.Dither.NONE
    )
    np.testing.assert_array_equal(read(image).labels, labels)


@pytest.mark.parametrize("seed", range(3))
def test_a_thin_thing_that_was_dithered_is_one_object(seed):
    labels = thin(seed)
    image = coloured(labels, [(0, 0, 0), (250, 60, 30)]).convert("P", palette=Image.Palette.WEB)
    found = read(image).labels
    assert count(found) == 1 and overlap(found, labels) > 0.75


@pytest.mark.parametrize(("ground", "number", "kept"), [(0, 3, 3), (7, 3, 1), (1, 0, 1), (5, 9, 1)])
def test_numbers_hold_where_the_transparent_entry_is_0(tmp_path, ground, number, kept):
    labels = thin(7)
    image = Image.fromarray(np.array([ground, number], np.uint8)[labels])
    image.putpalette(np.random.default_rng(1).integers(30, 250, 768, dtype=np.uint8).tobytes())
    found = read(saved(tmp_path / "a.png", image, transparency=ground)).labels
    np.testing.assert_array_equal(found, labels * kept)


def test_thin_davis_palettes_are_read_by_number():
    labels = halves(thin(8))
    np.testing.assert_array_equal(read(davis(labels)).labels, labels)
