from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mamp.core.errors import UserError
from mamp.video.masks import PALETTE, object_ids, read_mask, write_mask

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)
IDS = np.array([[0, 1, 1, 2], [0, 0, 3, 2], [21, 0, 0, 30]], np.uint8)


def saved(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@given(arrays.arrays(np.uint8, SHAPES, elements=st.integers(0, 254)))
@settings(max_examples=40)
def test_ids_up_to_254_come_back_from_a_palette_png(labels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00000.png"
        write_mask(path, labels)
        back = read_mask(path, size=labels.shape)
        with Image.open(path) as image:
            assert image.mode == "P" and image.getpalette()[:30] == PALETTE[:10].ravel().tolist()
        assert os.listdir(folder) == ["00000.png"]
    assert back.dtype == np.uint8 and np.array_equal(back, labels)


@given(arrays.arrays(np.uint16, SHAPES, elements=st.integers(0, 65535)), st.integers(255, 65535))
@settings(max_examples=40)
def test_larger_ids_come_back_from_a_16_bit_png(labels: np.ndarray, largest: int) -> None:
    labels[0, 0] = largest
    with tempfile.TemporaryDirectory() as folder:
        write_mask(Path(folder) / "1.png", labels)
        back = read_mask(Path(folder) / "1.png")
    assert back.dtype == np.uint16 and np.array_equal(back, labels)


def test_the_palette_is_the_one_davis_publishes() -> None:
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    assert [tuple(PALETTE[i].tolist()) for i in (0, 1, 2, 3, 9, 18, 21, 22, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (191, 0, 0),
        (0, 191, 0), (128, 64, 128), (22, 22, 22), (255, 255, 255),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", [None, "LA"])
def test_zero_and_255_alone_are_one_object(tmp_path: Path, mode: str | None) -> None:
    path = saved(tmp_path / "1.png", np.array([[0, 255], [255, 0]], np.uint8), mode)
    assert read_mask(path).tolist() == [[0, 1], [1, 0]]


def test_255_among_other_ids_is_kept_or_void(tmp_path: Path) -> None:
    path = saved(tmp_path / "1.png", np.array([[0, 1], [255, 2]], np.uint8))
    assert read_mask(path).tolist() == [[0, 1], [255, 2]]
    assert read_mask(path, void=True).tolist() == [[0, 1], [0, 2]]


def test_one_bit_masks_show_object_1(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[False, True], [True, True]]))
    assert grey.mode == "1"
    grey.save(tmp_path / "grey.png")
    palette = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8))
    palette.putpalette([0, 0, 0, 128, 0, 0])
    palette.save(tmp_path / "palette.png", bits=1)
    for name in ("grey.png", "palette.png"):
        assert read_mask(tmp_path / name).tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("mode", [None, "LA"])
def test_grey_masks_keep_their_ids(tmp_path: Path, mode: str | None) -> None:
    assert np.array_equal(read_mask(saved(tmp_path / "1.png", IDS, mode)), IDS)


def test_a_16_bit_mask_keeps_255_and_large_ids(tmp_path: Path) -> None:
    labels = np.array([[0, 255], [1000, 65535]], np.uint16)
    back = read_mask(saved(tmp_path / "1.png", labels), void=True)
    assert back.dtype == np.uint16 and np.array_equal(back, labels)


@given(arrays.arrays(np.uint8, SHAPES, elements=st.integers(0, 60)))
@settings(max_examples=30)
def test_colours_of_the_palette_become_ids(labels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder) / "1.png", PALETTE[labels])
        assert np.array_equal(read_mask(path), labels)


def test_transparent_pixels_are_background(tmp_path: Path) -> None:
    colours = np.concatenate([PALETTE[IDS], np.full((*IDS.shape, 1), 255, np.uint8)], axis=-1)
    colours[0, 0] = (200, 123, 7, 0)
    assert np.array_equal(read_mask(saved(tmp_path / "1.png", colours)), IDS)


def test_black_and_white_colours_are_one_object_and_voc_colours_are_known(tmp_path: Path) -> None:
    white = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert read_mask(saved(tmp_path / "1.png", white)).tolist() == [[0, 1]]
    voc = np.array([[[0, 0, 0], [192, 0, 0], [192, 128, 128]]], np.uint8)
    assert read_mask(saved(tmp_path / "2.png", voc)).tolist() == [[0, 9, 15]]


@pytest.mark.parametrize("grey", [False, True])
def test_a_photograph_given_as_a_mask_is_refused(tmp_path: Path, grey: bool) -> None:
    y, x = np.mgrid[:40, :60]
    photo = np.stack([x * 4, x * 4 if grey else y * 6, x * 4], -1).astype(np.uint8)
    with pytest.raises(UserError) as error:
        read_mask(saved(tmp_path / "photo.png", photo))
    assert f"mask {tmp_path / 'photo.png'} is a colour image with" in str(error.value)
    assert "give a PNG whose pixels are object numbers" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(
        UserError, match=r"photo.jpg is a JPEG, which blurs labels; write masks as palette PNG"
    ):
        read_mask(saved(tmp_path / "photo.jpg", photo))


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = saved(tmp_path / "1.png", IDS)
    assert read_mask(path, size=(3, 4)).shape == (3, 4)
    with pytest.raises(UserError, match=r"1.png is 4x3 but its frame is 5x3"):
        read_mask(path, size=(3, 5))


def test_missing_cut_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing.png does not exist"):
        read_mask(tmp_path / "nothing.png")
    with pytest.raises(UserError, match=f"mask {tmp_path} cannot be opened"):
        read_mask(tmp_path)
    write_mask(tmp_path / "1.png", np.random.default_rng(0).integers(0, 9, (64, 64)))
    whole = (tmp_path / "1.png").read_bytes()
    for content in (whole[:-300], whole[:20], b"", b"text"):
        (tmp_path / "1.png").write_bytes(content)
        with pytest.raises(UserError, match="1.png is damaged or no image .*write it again"):
            read_mask(tmp_path / "1.png")


def test_object_ids_are_ascending_and_without_background() -> None:
    assert object_ids(np.array([[9, 0], [300, 2]], np.uint16)) == [2, 9, 300]
    assert object_ids(np.zeros((2, 2), np.uint8)) == []


def test_a_mask_that_cannot_be_written_leaves_the_old_one_and_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "1.png", IDS)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"1.png cannot be written \(No space left on device\)"):
        write_mask(tmp_path / "1.png", IDS + 1)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["1.png"] and np.array_equal(read_mask(tmp_path / "1.png"), IDS)
    with pytest.raises(UserError, match="absent/1.png cannot be written"):
        write_mask(tmp_path / "absent" / "1.png", IDS)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        write_mask(tmp_path / "1.png", IDS)


def test_a_written_mask_may_be_read_by_those_who_may_read_new_files(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_mask(tmp_path / "1.png", IDS)
    assert (tmp_path / "1.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def blurred(size: tuple[int, int] = (80, 120)) -> np.ndarray:
    """A grey photograph: noise at several scales."""
    rng = np.random.default_rng(0)
    coarse = [
        np.array(
            Image.fromarray(rng.integers(0, 256, (size[0] // s, size[1] // s), dtype=np.uint8)).resize(
                size[::-1]
            )
        ).astype(int)
        for s in (1, 4, 16)
    ]
    return np.array(sum(coarse) // 3, dtype=np.uint8)


@pytest.mark.parametrize("palette", [False, True])
def test_a_grey_photograph_is_no_mask(tmp_path: Path, palette: bool) -> None:
    image = Image.fromarray(blurred())
    if palette:
        image.putpalette(PALETTE.tobytes())
    image.save(tmp_path / "a.png")
    with pytest.raises(
        UserError, match=r"a.png holds \d+ different greys and looks like a photograph; give a PNG"
    ):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("edge", [3.0, 1.0])  # the narrow one has some fifty greys
@pytest.mark.parametrize("radius", [60, 20])
def test_a_white_object_with_soft_edges_is_no_mask(tmp_path: Path, edge: float, radius: int) -> None:
    y, x = np.mgrid[:200, :300]
    soft = np.clip(255 * (radius - np.hypot(y - 100, x - 150)) / edge + 128, 0, 255).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="looks like a white object with soft edges"):
        read_mask(tmp_path / "a.png")


def test_a_mask_may_have_ever_so_many_objects(tmp_path: Path) -> None:
    labels = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((5, 5), np.uint8))
    Image.fromarray(labels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), labels)
