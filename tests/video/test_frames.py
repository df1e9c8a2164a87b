from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import H, W, picture, write_folder
from PIL import Image

from mamp.core.errors import UserError
from mamp.video import frames
from mamp.video.folders import natural_key
from mamp.video.frames import BadFrame, open_frames


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Five JPEGs, the third cut short."""
    folder = write_folder(tmp_path / "bear", [f"{n:05d}.jpg" for n in range(5)])
    whole = (folder / "00002.jpg").read_bytes()
    (folder / "00002.jpg").write_bytes(whole[: len(whole) - 200])
    return folder


# ---------------------------------------------------------------- folders


def test_frames_come_in_natural_order_whatever_the_first_number_and_the_gaps(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "v", ["frame7.png", "frame12.png", "frame101.png", "frame0200.png"])
    (folder / "notes.txt").write_text("not a frame")
    (folder / "._frame7.png").write_bytes(b"what another system leaves behind")
    with open_frames(folder) as source:
        assert source.names == ["frame7", "frame12", "frame101", "frame0200"]
        assert [int(frame[0, 0, 2]) for _, frame in source.stream()] == [0, 8, 16, 24]


@given(st.lists(st.integers(0, 10**6), unique=True), st.text("ab-_", max_size=3))
@settings(max_examples=30)
def test_natural_order_is_the_order_of_numbers(numbers: list[int], prefix: str) -> None:
    names = [f"{prefix}{n}" for n in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{n}" for n in sorted(numbers)]


@given(st.lists(st.text("a1²٣.", max_size=6)))
@settings(max_examples=50)
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(names, key=natural_key)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".png", ".webp", ".bmp"])
def test_every_file_type_is_read(tmp_path: Path, suffix: str) -> None:
    with open_frames(write_folder(tmp_path / "v", [f"1{suffix}"])) as source:
        assert source[0].dtype == np.uint8 and source[0].shape == (H, W, 3)
        assert np.abs(source[0].astype(int) - picture(0)).mean() < 4


def grey_of(array: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(array).convert("L"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_pixel_format_becomes_rgb(tmp_path: Path, mode: str) -> None:
    rgb = picture(3)
    grey = grey_of(rgb)
    alpha = Image.fromarray(np.full((H, W), 100, np.uint8))
    image, expected = {
        "1": (Image.fromarray(grey > 90), np.where(grey > 90, 255, 0)),
        "L": (Image.fromarray(grey), grey),
        "LA": (Image.merge("LA", [Image.fromarray(grey), alpha]), grey),
        "P": (Image.fromarray(rgb).quantize(256), None),
        "RGB": (Image.fromarray(rgb), rgb),
        "RGBA": (Image.merge("RGBA", [*Image.fromarray(rgb).split(), alpha]), rgb),
        "I;16": (Image.fromarray(grey.astype(np.uint16) * 257), grey),
    }[mode]
    assert image.mode == mode
    image.save(tmp_path / "1.png")
    frame = open_frames(tmp_path)[0]
    if expected is None:
        expected = np.asarray(image.convert("RGB"))
    elif expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert frame.shape == (H, W, 3) and np.array_equal(frame, expected)


def test_a_cmyk_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(picture(3)).convert("CMYK").save(tmp_path / "1.jpg", quality=95)
    assert np.abs(open_frames(tmp_path)[0].astype(int) - picture(3)).mean() < 4


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_obeyed(tmp_path: Path, orientation: int, upright: object, mode: str) -> None:
    array = picture(3) if mode == "RGB" else np.repeat(grey_of(picture(3))[..., None], 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(array if mode == "RGB" else array[..., 0].astype(np.uint16) * 257)
    image.save(tmp_path / "1.png", exif=exif)
    assert np.array_equal(open_frames(tmp_path)[0], upright(array))  # type: ignore[operator]


def test_chosen_names_come_in_the_order_asked_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "v", ["a.png", "b.png", "c.png"])
    source = open_frames(folder, names=["c", "a"])
    assert source.names == ["c", "a"] and source[0][0, 0, 2] == 16
    with pytest.raises(UserError, match=r"v lacks the frame d \(2 of 3"):
        open_frames(folder, names=["a", "d", "e"])


def test_a_stream_reads_one_frame_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "v", ["1.png", "2.png", "3.png"])
    read: list[str] = []
    monkeypatch.setattr(frames, "read_image", lambda path: read.append(path.name) or picture(0))
    stream = open_frames(folder).stream(1)
    assert read == []
    assert next(stream)[0] == 1 and read == ["2.png"]


# ---------------------------------------------------------------- bad frames


def test_a_truncated_frame_is_named_with_its_length_and_the_remedy(broken: Path) -> None:
    size = (broken / "00002.jpg").stat().st_size
    source = open_frames(broken)
    stream = source.stream()
    assert [next(stream)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(BadFrame) as error:
        next(stream)
    assert (
        str(error.value)
        == f"{broken}/00002.jpg is cut short after {size:,} bytes; re-extract it, or set data.bad_frame"
        " (training) or evaluate.bad_frame to skip or repeat"
    )
    assert list(source.bad) == [2]


def test_skip_leaves_a_bad_frame_out(broken: Path) -> None:
    source = open_frames(broken, bad_frame="skip")
    assert [index for index, _ in source.stream()] == [0, 1, 3, 4]
    with pytest.raises(BadFrame):
        source[2]


def test_repeat_gives_the_last_good_frame_in_a_stream_and_at_random_access(broken: Path) -> None:
    source = open_frames(broken, bad_frame="repeat")
    streamed = dict(source.stream())
    assert list(streamed) == [0, 1, 2, 3, 4]
    assert np.array_equal(streamed[2], source[1]) and np.array_equal(source[2], source[1])
    assert np.array_equal(next(source.stream(2))[1], source[1])


def test_repeat_needs_a_good_frame_before(broken: Path) -> None:
    (broken / "00000.jpg").write_bytes(b"")
    source = open_frames(broken, bad_frame="repeat")
    for attempt in (lambda: source[0], lambda: next(source.stream())):
        with pytest.raises(BadFrame, match=r"00000.jpg is empty.*no good frame before it"):
            attempt()


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"<html>not found</html>")
    with pytest.raises(BadFrame, match=r"1.jpg cannot be read as an image; re-extract it"):
        open_frames(tmp_path)[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@given(data=st.data())
@settings(max_examples=15)
def test_a_damaged_image_gives_pixels_or_a_bad_frame_and_no_other_error(
    suffix: str, data: st.DataObject
) -> None:
    import io
    import tempfile

    buffer = io.BytesIO()
    Image.fromarray(picture(1)).save(buffer, format={".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
    whole = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"1{suffix}").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        try:
            assert open_frames(folder)[0].ndim == 3
        except BadFrame as error:
            assert str(Path(folder) / f"1{suffix}") in str(error)


def test_an_image_that_claims_a_billion_pixels_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    (tmp_path / "1.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    )
    with pytest.raises(BadFrame, match="1.png claims more pixels"):
        open_frames(tmp_path)[0]


def test_frames_of_two_sizes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "v", ["1.png", "2.png"])
    Image.fromarray(picture(2, (H, W + 2))).save(folder / "3.png")
    with pytest.raises(UserError, match=rf"3.png is {W + 2}x{H} while the video's other frames are {W}x{H}"):
        list(open_frames(folder).stream())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "holds no images"),
        (lambda p: (p.mkdir(), (p / "readme.txt").write_text("")), "holds no images"),
        (
            lambda p: (write_folder(p, ["1.png"]), Image.new("L", (8, 8)).save(p / "1.jpg")),
            "holds both 1.jpg and 1.png",
        ),
        (lambda p: p.write_text("no video"), "cannot be read as a video"),
        (lambda p: p.write_bytes(b""), "cannot be read as a video"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "clip"
    make(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as error:
        open_frames(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_one_image_and_an_unknown_policy_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "v", ["1.png"])
    with pytest.raises(UserError, match="is one image"):
        open_frames(folder / "1.png")
    with pytest.raises(UserError, match="use one of error, skip, repeat"):
        open_frames(folder, bad_frame="ignore")
