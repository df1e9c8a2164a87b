"""Masks as people make them: each kind, of many shapes."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from painted import (
    BRIGHT,
    SIZE,
    coloured,
    count,
    davis,
    grey,
    overlap,
    painted,
    photograph,
    reordered,
    saved,
)
from PIL import Image, ImageFilter

from mamp.core.errors import UserError
from mamp.video.first_masks.reading import Reader, read
from mamp.video.masks import PALETTE, write_mask

SEEDS = range(4)
BLUR = ImageFilter.GaussianBlur


def ids(labels):
    return [int(i) for i in np.unique(labels) if i]


def with_alpha(labels, colour, *, hidden=(0, 0, 0)):
    """RGBA: opaque where there is an object."""
    pixels = np.zeros((*labels.shape, 4), np.uint8)
    pixels[..., :3] = np.where((labels > 0)[..., None], np.array(colour), np.array(hidden))
    pixels[..., 3] = 255 * (labels > 0)
    return Image.fromarray(pixels)


# ---------------------------------------------------------------- what is read right since ever


@pytest.mark.parametrize("seed", SEEDS)
def test_davis_palettes_keep_their_ids(tmp_path, seed):
    labels = painted(seed, 3)
    labels[labels == 2] = 21
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", davis(labels))).labels, labels)
    np.testing.assert_array_equal(
        read(saved(tmp_path / "b.png", davis(labels).convert("RGB"))).labels, labels
    )


@pytest.mark.parametrize("numbers", [(1,), (7,), (3, 7), (1, 2, 3), (2, 60), (1, 100, 200)])
def test_grey_levels_are_ids(tmp_path, numbers):
    labels = np.array([0, *numbers], np.uint8)[painted(1, len(numbers))]
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", Image.fromarray(labels))).labels, labels)
    np.testing.assert_array_equal(read(saved(tmp_path / "a.bmp", Image.fromarray(labels))).labels, labels)


@pytest.mark.parametrize("numbers", [(300,), (1, 300), (255, 1000), (254, 255, 256), (65535, 7)])
def test_16_bit_ids_are_kept(tmp_path, numbers):
    labels = np.array([0, *numbers], np.uint16)[painted(1, len(numbers))]
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", Image.fromarray(labels))).labels, labels)


@pytest.mark.parametrize("largest", [1, 200, 254, 255, 256, 40000, 65535])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_write_mask_wrote_comes_back(tmp_path, seed, largest):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, largest + 1, (9, 12)).astype(np.uint16)
    alone = np.where(painted(seed) > 0, largest, 0).astype(np.uint16)
    for labels in (noise, alone):
        write_mask(tmp_path / "a.png", labels)
        np.testing.assert_array_equal(read(tmp_path / "a.png").labels, labels)


def test_a_mask_may_have_as_many_objects_as_there_are_numbers(tmp_path):
    labels = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((5, 5), np.uint8))
    found = read(saved(tmp_path / "a.png", Image.fromarray(labels)))
    np.testing.assert_array_equal(found.labels, labels)
    assert any("255 objects, over 50" in words for words in found.warnings)


def test_small_objects_and_lines_are_kept(tmp_path):
    labels = painted(2, 3)
    labels[5, 5:40] = 4  # a line of one pixel
    labels[100:103, 5:8] = 5
    for name, image in (
        ("p", davis(labels)),
        ("l", Image.fromarray(labels)),
        ("c", coloured(labels, BRIGHT)),
    ):
        assert count(read(saved(tmp_path / f"{name}.png", image)).labels) == 5


# ---------------------------------------------------------------- transparency


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), (255, 255, 255), (12, 200, 99)])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (9, 99, 199)])
def test_an_object_on_transparency_is_object_1(tmp_path, colour, hidden):
    labels = painted(3)
    file = saved(tmp_path / "a.png", with_alpha(labels, colour, hidden=hidden))
    np.testing.assert_array_equal(read(file).labels, labels)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_grey_with_alpha_has_transparent_background(tmp_path, level):
    labels = painted(3)
    pixels = np.stack([np.full(labels.shape, level, np.uint8), np.uint8(255) * (labels > 0)], -1)
    image = Image.fromarray(pixels)
    assert image.mode == "LA"
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", image)).labels > 0, labels > 0)


@pytest.mark.parametrize("entry", [0, 1, 7])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_transparent_palette_entry_is_background(tmp_path, entry, as_bytes):
    labels = painted(4)
    image = Image.fromarray(np.where(labels > 0, 3, entry).astype(np.uint8))
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    told = bytes(255 * (i != entry) for i in range(256)) if as_bytes else entry
    found = read(saved(tmp_path / "a.png", image, transparency=told))
    np.testing.assert_array_equal(found.labels > 0, labels > 0)


def test_a_transparent_colour_of_a_picture_without_alpha_is_background(tmp_path):
    labels = painted(4)
    image = coloured(labels, [(10, 200, 10), (255, 0, 0)])
    found = read(saved(tmp_path / "a.png", image, transparency=(10, 200, 10)))
    np.testing.assert_array_equal(found.labels, labels)
    found = read(saved(tmp_path / "b.png", grey(labels, [90, 0]), transparency=90))
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("blur", [1, 3])
def test_soft_transparency_is_cut_at_the_half(tmp_path, seed, blur):
    labels = painted(seed)
    image = with_alpha(labels, (255, 40, 40)).filter(BLUR(blur))
    found = read(saved(tmp_path / "a.png", image))
    assert count(found.labels) == 1 and overlap(found.labels, labels) > 0.95
    assert "soft edges are cut at the half" in found.line or "its blur is undone" in found.line


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_out_of_a_photograph_is_one_object(tmp_path, seed):
    labels = painted(5)
    pixels = np.dstack([np.asarray(photograph(seed)), np.uint8(255) * (labels > 0)])
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", Image.fromarray(pixels))).labels, labels)


def test_davis_colours_with_transparency_keep_their_ids(tmp_path):
    labels = painted(6, 3)
    pixels = np.dstack([PALETTE[labels], np.where(labels == 0, 0, 255).astype(np.uint8)])
    np.testing.assert_array_equal(read(saved(tmp_path / "a.png", Image.fromarray(pixels))).labels, labels)


# ---------------------------------------------------------------- palettes


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[1:])
def test_davis_colours_in_another_order_go_by_colour(tmp_path, order):
    labels = painted(7, 3)
    file = saved(tmp_path / "a.png", reordered(labels, PALETTE[:4].tolist(), list(order)))
    found = read(file)
    np.testing.assert_array_equal(found.labels, labels)
    assert "by its colours" in found.line


def test_white_at_number_0_is_the_object(tmp_path):
    labels = painted(8)
    found = read(saved(tmp_path / "a.png", reordered(labels, [(0, 0, 0), (255, 255, 255)], [1, 0])))
    np.testing.assert_array_equal(found.labels, labels)
    assert "by its colours" in found.line


@pytest.mark.parametrize("colours", [2, 3, 4, 8, 256])
@pytest.mark.parametrize("objects", [1, 2, 3])
def test_quantized_pictures_go_by_colour(tmp_path, objects, colours):
    labels = painted(9, objects)
    for name, table in (("davis", PALETTE.tolist()), ("bright", BRIGHT)):
        if colours <= objects:
            continue
        image = coloured(labels, table).quantize(colours, dither=Image.Dither.NONE)
        found = read(saved(tmp_path / f"{name}.png", image)).labels
        assert count(found) == objects and overlap(found, labels) == 1
        if name == "davis":
            np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("dither", [Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG])
@pytest.mark.parametrize("objects", [1, 3])
def test_web_palettes_go_by_colour(tmp_path, dither, objects):
    labels = painted(10, objects)
    for name, table in (("davis", PALETTE.tolist()), ("bright", BRIGHT)):
        image = coloured(labels, table).convert("P", dither=dither, palette=Image.Palette.WEB)
        found = read(saved(tmp_path / f"{name}.png", image)).labels
        assert count(found) == objects and overlap(found, labels) > 0.9, name


@pytest.mark.parametrize("objects", [1, 3])
def test_gif_masks_go_by_colour(tmp_path, objects):
    labels = painted(11, objects)
    found = read(saved(tmp_path / "a.gif", coloured(labels, BRIGHT))).labels
    assert count(found) == objects and overlap(found, labels) == 1


# ---------------------------------------------------------------- one colour, several colours


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("colour", [(255, 0, 0), (1, 2, 250), (128, 128, 128), (64, 224, 208), (20, 200, 20)])
def test_one_colour_on_black_or_white_is_object_1(tmp_path, ground, colour):
    labels = painted(14)
    np.testing.assert_array_equal(
        read(saved(tmp_path / "a.png", coloured(labels, [ground, colour]))).labels, labels
    )


@pytest.mark.parametrize(("kind", "level"), [
    (np.uint8, 255), (np.uint8, 128), (np.uint8, 127), (np.uint8, 64), (np.uint16, 65535), (np.uint16, 32768),
    (np.uint16, 65280), (np.uint16, 255),
])  # fmt: skip
def test_one_grey_is_object_1(tmp_path, kind, level):
    labels = painted(14)
    file = saved(tmp_path / "a.png", Image.fromarray((labels * np.array(level)).astype(kind)))
    np.testing.assert_array_equal(read(file).labels, labels)


def test_colours_of_all_kinds_are_numbered_and_named(tmp_path):
    labels = painted(15, 3)
    found = read(
        saved(tmp_path / "a.png", coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]))
    )
    np.testing.assert_array_equal(found.labels, labels)
    assert "#ff0000 is object 1, #00ff00 is object 2, #0000ff is object 3" in found.line


def test_a_colour_is_one_object_in_all_pictures_of_a_video(tmp_path):
    labels = painted(15, 3)
    table = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    reader = Reader()
    reader.read(saved(tmp_path / "a.png", coloured(np.where(labels == 3, labels, 0), table)))
    found = reader.read(saved(tmp_path / "b.png", coloured(labels, table)))
    np.testing.assert_array_equal(found.labels, np.array([0, 2, 3, 1])[labels])


def test_a_ground_of_another_colour_is_named(tmp_path):
    labels = painted(16, 2)
    found = read(saved(tmp_path / "a.png", coloured(labels, [(30, 90, 60), (255, 0, 0), (0, 255, 0)])))
    np.testing.assert_array_equal(found.labels, labels)
    assert "#1e5a3c is background" in found.line


@pytest.mark.parametrize("ground", [0, 255])
def test_davis_colours_on_white_keep_their_ids(tmp_path, ground):
    labels = painted(16, 3)
    table = PALETTE.copy()
    table[0] = ground
    np.testing.assert_array_equal(
        read(saved(tmp_path / "a.png", coloured(labels, table.tolist()))).labels, labels
    )


def test_an_inverted_mask_is_asked_for_and_suggested(tmp_path):
    labels = painted(17)
    for name, image in (("l", grey(labels, [255, 0])), ("c", coloured(labels, [(255,) * 3, (0,) * 3]))):
        file = saved(tmp_path / f"{name}.png", image)
        plain, inverted = read(file), read(file, invert=True)
        np.testing.assert_array_equal(plain.labels, 1 - labels)
        assert any("four corners" in words and "--invert" in words for words in plain.warnings)
        np.testing.assert_array_equal(inverted.labels, labels)


# ---------------------------------------------------------------- the user's own colours


@pytest.mark.parametrize("text", [
    '{"#ff0000": 5, "#00ff00": 2}', '{"255,0,0": 5, "lime": 2, "black": 0}',
    '{"5": "#ff0000", "2": [0, 255, 0], "0": "#000000"}',
])  # fmt: skip
def test_colours_of_a_file_say_the_objects(tmp_path, text):
    labels = painted(18, 2)
    (tmp_path / "c.json").write_text(text)
    file = saved(tmp_path / "a.png", coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 255, 0)]))
    np.testing.assert_array_equal(
        read(file, colours=tmp_path / "c.json").labels, np.array([0, 5, 2], np.uint8)[labels]
    )


def test_names_in_a_file_of_colours_are_numbered_in_its_order(tmp_path):
    labels = painted(18, 2)
    (tmp_path / "c.json").write_text('{"dog": [0, 255, 0], "man": "#ff0000"}')
    file = saved(tmp_path / "a.png", coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 255, 0)]))
    np.testing.assert_array_equal(
        read(file, colours=tmp_path / "c.json").labels, np.array([0, 2, 1], np.uint8)[labels]
    )


def test_a_colour_that_the_file_lacks_is_refused(tmp_path):
    labels = painted(18, 2)
    (tmp_path / "c.json").write_text('{"#ff0000": 1}')
    file = saved(tmp_path / "a.png", coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 255, 0)]))
    with pytest.raises(
        UserError, match="a.png has the colour #00ff00 in .* pixels, which the map of colours lacks"
    ):
        read(file, colours=tmp_path / "c.json")
    (tmp_path / "c.json").write_text("[1]")
    with pytest.raises(UserError, match="c.json is no map of colours"):
        read(file, colours=tmp_path / "c.json")


# ---------------------------------------------------------------- size, EXIF


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_mask_is_turned_as_its_exif_says(tmp_path, turn, suffix):
    labels = painted(19)
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[turn]  # fmt: skip
    image = grey(labels)
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    file = saved(
        tmp_path / f"a.{suffix}", image if undo is None else image.transpose(undo), exif=exif, **options
    )
    assert overlap(read(file, size=SIZE).labels, labels) > 0.99


@pytest.mark.parametrize("size", [(60, 80), (240, 320), (60, 81), (361, 480), (1080, 1440)])
def test_a_mask_of_the_same_shape_is_brought_to_the_frame(tmp_path, size):
    labels = painted(20)
    image = davis(labels).resize(size[::-1], Image.Resampling.NEAREST)
    found = read(saved(tmp_path / "a.png", image), size=SIZE)
    assert found.labels.shape == SIZE and overlap(found.labels, labels) > 0.9
    assert f"{size[1]}x{size[0]} resized to 160x120" in found.line


@pytest.mark.parametrize("size", [(120, 120), (60, 100), (160, 120), (130, 160)])
def test_a_mask_of_another_shape_is_refused(tmp_path, size):
    with pytest.raises(UserError, match=rf"a.png is {size[1]}x{size[0]} pixels and its frame 160x120"):
        read(saved(tmp_path / "a.png", davis(painted(20, size=size))), size=SIZE)


# ---------------------------------------------------------------- what is said


def test_the_line_names_each_object_and_its_part(tmp_path):
    labels = np.zeros((100, 100), np.uint8)
    labels[:50, :20], labels[60:64, 60:70] = 1, 2
    found = read(saved(tmp_path / "first.png", davis(labels)))
    assert found.line == "first.png: objects 1 (10.0 %), 2 (0.4 %)" and not found.warnings


def test_what_is_odd_is_said(tmp_path):
    def words(pixels):
        return " | ".join(read(saved(tmp_path / "a.png", Image.fromarray(pixels))).warnings)

    most, small = np.ones((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    most[:20, :20] = 0
    small[:3, :3] = 2
    assert "object 1 covers 96.0 % of the frame, over 90 %" in words(most)
    assert "object 2: under 30 pixels" in words(small)
    assert "128 beside 255" in words(np.array([0, 128, 255], np.uint8)[painted(1, 2)])
    assert words(painted(1, 2)) == ""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
def test_a_very_large_picture_takes_little_memory(tmp_path):
    import subprocess
    import sys

    labels = np.kron(painted(1, 3), np.ones((50, 50), np.uint8))  # 6000 x 8000
    saved(
        tmp_path / "a.png",
        coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]),
        compress_level=1,
    )
    code = (
        "import sys; from mamp.video.first_masks.reading import read; found = read(sys.argv[1]);"
        "most = [line for line in open('/proc/self/status') if line.startswith('VmHWM')];"
        "print(found.labels.shape, int(most[0].split()[1]) // 1024, found.line)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True
    )
    assert "(6000, 8000)" in run.stdout and "objects 1 (" in run.stdout
    assert int(run.stdout.split(")")[1].split()[0]) < 700


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("values", [
    lambda m: m * np.uint8(255), lambda m: m.astype(bool), lambda m: m.astype(np.int64) * 255,
    lambda m: m.astype(np.float32), lambda m: m.astype(np.uint16) * 65535, lambda m: m[..., None],
    lambda m: np.array(grey(m).filter(BLUR(1))), lambda m: np.array(grey(m).filter(BLUR(1))) / 255.0,
    lambda m: np.array(coloured(m, [(0, 0, 0), (255, 0, 0)])), lambda m: grey(m), lambda m: m[None],
])  # fmt: skip
def test_arrays_and_pictures_in_python_are_read_as_files_are(tmp_path, values):
    labels = painted(21)
    made = values(labels)
    if not (isinstance(made, np.ndarray) and made.shape[0] == 1):
        assert overlap(read(made).labels, labels) > 0.95
    if isinstance(made, np.ndarray):
        np.save(tmp_path / "mask.dat.npy", made)
        (tmp_path / "mask.dat.npy").rename(tmp_path / "mask.dat")
        assert ids(read(tmp_path / "mask.dat").labels) == [1]


def test_files_that_are_no_masks_are_refused_in_one_sentence(tmp_path):
    for name, content, words in (
        ("a.png", b"", "a.png is damaged or no image"),
        ("b.txt", b"hello there\n", "b.txt is damaged or no image"),
        ("c.json", b"{}", "c.json is JSON, and neither labelme's"),
        ("d.json", b"{", "d.json is not as labelme, COCO or YOLO write it"),
        ("e.npy", b"\x93NUMPY garbage", "e.npy is no array that can be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=words) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="nothing.png does not exist"):
        read(tmp_path / "nothing.png")
    buffer = io.BytesIO()
    grey(painted(1)).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:200])
    with pytest.raises(UserError, match="cut.png is damaged"):
        read(tmp_path / "cut.png")
