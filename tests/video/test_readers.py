"""Kinds of files that people have: cut recordings, several streams, narrow and deep pixels, pages, HD."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pictures import H, T, W, picture, write_folder, write_video
from PIL import Image

from mamp.core.errors import UserError
from mamp.datasets.sequences import video_sources
from mamp.segmentation.segment import segment
from mamp.tools.recognise import recognise
from mamp.video import decoding
from mamp.video.frames import BadFrame, open_frames
from mamp.video.masks import write_mask


def film(path: Path, streams: list[dict], *, frames: int = 4) -> Path:
    """A file with several video streams: size, level of grey, pixel format."""
    with av.open(str(path), "w") as file:
        made = []
        for wish in streams:
            stream = file.add_stream(wish.get("codec", "libx264"), rate=25, options={"qp": "0"})
            stream.height, stream.width = wish["size"]
            stream.pix_fmt = wish.get("pixels", "yuv420p")
            made.append((stream, np.full((*wish["size"], 3), wish.get("level", 100), np.uint8)))
        for t in range(frames):
            for stream, flat in made:
                shown = np.ascontiguousarray(np.minimum(flat + 3 * t, 255).astype(np.uint8))
                file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        for stream, _ in made:
            file.mux(stream.encode())
    return path


# ---------------------------------------------------------------- names of video files

CONTAINERS = {
    "3gp": ("3gp", "libx264"), "flv": ("flv", "libx264"), "ts": ("mpegts", "libx264"),
    "MTS": ("mpegts", "libx264"), "m2ts": ("mpegts", "mpeg2video"), "mpg": ("mpeg", "mpeg1video"),
    "mpeg": ("mpeg", "mpeg2video"), "vob": ("vob", "mpeg2video"), "wmv": ("asf", "wmv2"),
    "asf": ("asf", "wmv2"), "ogv": ("ogg", "libvpx"), "divx": ("avi", "mpeg4"), "y4m": ("yuv4mpegpipe", ""),
    "h264": ("h264", "libx264"), "ivf": ("ivf", "libvpx"), "m2v": ("mpeg2video", "mpeg2video"),
    "mjpeg": ("mjpeg", "mjpeg"), "nut": ("nut", "libx264"), "dv": ("dv", "dvvideo"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_video_is_known_by_its_name_and_read(tmp_path: Path, suffix: str) -> None:
    container, codec = CONTAINERS[suffix]
    height, width = (576, 720) if suffix == "dv" else (64, 96)
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec or "wrapped_avframe", rate=25)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for level in (40, 90, 140, 190):
            flat = np.full((height, width, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(flat, format="rgb24")
            file.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        file.mux(stream.encode())
    assert video_sources(tmp_path) == [path]
    assert [job.frames for job in recognise(path)[0].jobs] == [path]
    with open_frames(path) as source:
        assert len(source) == 4 and source.fps == pytest.approx(25, rel=0.1)
        levels = [float(source[t].mean()) for t in range(4)]
    np.testing.assert_allclose(levels, [40, 90, 140, 190], atol=6)


def test_a_video_without_a_name_of_one_is_read(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mp4", [{"size": (64, 96)}]).rename(tmp_path / "clip")
    assert recognise(path)[0].what == "a video file"
    (tmp_path / "notes").write_text("no video")
    with pytest.raises(UserError, match="notes is not a data set, a folder of frames or a video file"):
        recognise(tmp_path / "notes")


# ---------------------------------------------------------------- recordings that begin in the middle


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("cut", [1, 3, 9])
def test_a_transport_stream_begins_at_its_first_keyframe(tmp_path: Path, bframes: int, cut: int) -> None:
    options = {"x264-params": f"keyint=8:min-keyint=8:scenecut=0:bframes={bframes}"}
    whole = write_video(tmp_path / "whole.ts", options=options)
    with av.open(str(whole)) as file:
        positions = [packet.pos for packet in file.demux(video=0) if packet.size]
    path = tmp_path / "cut.ts"
    path.write_bytes(whole.read_bytes()[positions[cut] :])
    with open_frames(path) as found, open_frames(whole) as known:
        missing = T - len(found)
        assert missing == (8 if cut < 8 else 16)
        assert found.seconds is not None and found.seconds[0] == 0
        for index, frame in found.stream():
            np.testing.assert_array_equal(frame, known[index + missing])
        np.testing.assert_array_equal(found[len(found) - 1], known[T - 1])
        np.testing.assert_array_equal(found[0], known[missing])


# ---------------------------------------------------------------- streams


def test_the_largest_stream_is_read_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = film(tmp_path / "two.mkv", [{"size": (32, 64), "level": 40}, {"size": (64, 128), "level": 160}])
    assert open_frames(path)[0].shape == (64, 128, 3)
    for number, size, level in ((0, (32, 64), 40), (1, (64, 128), 160)):
        source = open_frames(path, stream=number)
        for index, frame in source.stream():
            assert frame.shape[:2] == size and abs(int(frame.mean()) - level - 3 * index) <= 2
        np.testing.assert_array_equal(source[2], dict(source.stream())[2])
    with pytest.raises(UserError, match="two.mkv has no video stream 2; it has 2, counted from 0"):
        open_frames(path, stream=2)


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize("width", [2, 8, 16, 24, 30, 48, 62, 64, 66, 80, 112, 144])
def test_frames_of_any_width_are_what_was_filmed(tmp_path: Path, width: int) -> None:
    path = write_video(tmp_path / "narrow.mp4", size=(64, width), draw=lambda n, size: gradient(n, size))
    for index, frame in open_frames(path).stream():
        assert frame.shape == (64, width, 3)
        assert np.abs(frame.astype(int) - gradient(index, (64, width))).mean() < 6


def gradient(number: int, size: tuple[int, int]) -> np.ndarray:
    grey = np.broadcast_to(np.linspace(40, 200, size[0])[:, None] + number, size)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p10le"), ("libx264", "yuv422p10le")])
def test_ten_bits_are_read_by_pyav_alone(tmp_path: Path, codec: str, pixels: str) -> None:
    path = film(tmp_path / "deep.mp4", [{"size": (64, 96), "level": 90, "pixels": pixels, "codec": codec}])
    index = decoding.index_video(path)
    assert not index.plain
    for number, frame in open_frames(path).stream():
        assert np.abs(frame.astype(int) - 90 - 3 * number).max() <= 2


@pytest.mark.parametrize(
    ("size", "tag", "expected"),
    [((64, 96), None, 601), ((720, 1280), None, 709), ((720, 1280), 5, 601), ((64, 96), 1, 709)],
)
def test_untagged_hd_is_bt_709_and_a_tag_is_obeyed(
    tmp_path: Path, size: tuple[int, int], tag: int | None, expected: int
) -> None:
    path = tmp_path / "colour.mp4"
    luma, blue, red = 100, 90, 200  # as they lie in the file
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if tag is not None:
            stream.codec_context.colorspace = tag
        frame = av.VideoFrame(size[1], size[0], "yuv420p")
        for plane, value in zip(frame.planes, (luma, blue, red), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    kr, kb = (0.299, 0.114) if expected == 601 else (0.2126, 0.0722)
    y, b, r = (luma - 16) / 219, (blue - 128) / 112, (red - 128) / 112
    wanted = [y + (1 - kr) * r, 0.0, y + (1 - kb) * b]
    wanted[1] = (y - kr * wanted[0] - kb * wanted[2]) / (1 - kr - kb)
    found = open_frames(path)[0][size[0] // 2, size[1] // 2]
    np.testing.assert_allclose(found, 255 * np.array(wanted), atol=3)


def test_pixel_aspect_is_told_upright(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, (64, 96)), format="rgb24")))
        file.mux(stream.encode())
    assert open_frames(path).aspect == Fraction(4, 3)
    assert open_frames(write_video(tmp_path / "square.mp4")).aspect == 1


# ---------------------------------------------------------------- files of several images, folders of others


@pytest.mark.parametrize("name", ["scan.tif", "scan.tiff", "moving.webp", "moving.gif", "moving.png"])
def test_a_file_of_several_images_is_a_video(tmp_path: Path, name: str) -> None:
    images = [Image.fromarray(gradient(9 * n, (H, W))) for n in range(6)]
    timed = {} if ".tif" in name else {"duration": [40, 40, 200, 40, 40, 40]}
    lossless = {"lossless": True} if name.endswith("webp") else {}
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], **timed, **lossless)
    source = open_frames(tmp_path / name)
    assert source.names == [f"{n:05d}" for n in range(6)]
    assert source.seconds == (pytest.approx([0, 0.04, 0.08, 0.28, 0.32, 0.36]) if timed else None)
    for index, frame in source.stream():
        assert np.abs(frame.astype(int) - gradient(9 * index, (H, W))).max() <= 4
    np.testing.assert_array_equal(source[2], source.part([2, 4])[0])
    np.testing.assert_array_equal(source[1], dict(source.backward(3))[1])


def test_one_image_is_no_video_whatever_its_kind(tmp_path: Path) -> None:
    for name in ("one.tif", "one.webp", "one.gif"):
        Image.fromarray(picture(0)).save(tmp_path / name)
        with pytest.raises(UserError, match=f"{name} is one image"):
            open_frames(tmp_path / name)
    (tmp_path / "bad.tif").write_bytes(b"II*\x00nothing")
    with pytest.raises(UserError, match=r"bad\.tif cannot be read as images"):
        open_frames(tmp_path / "bad.tif")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".avif"])
def test_folders_of_other_images_are_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    with open_frames(write_folder(tmp_path / "v", [f"{n}{suffix}" for n in range(3)])) as source:
        assert len(source) == 3
        assert np.abs(source[1].astype(int) - picture(1)).mean() < 4


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_turned_tiffs_are_upright(tmp_path: Path, turn: int, mode: str) -> None:
    upright = np.arange(0, 240, 5, np.uint8).reshape(6, 8)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(upright).convert(mode).transpose(undo).save(tmp_path / "0.tif", exif=exif)
    np.testing.assert_array_equal(open_frames(tmp_path)[0][..., 0], upright)


def test_heic_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "1.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40))
    with pytest.raises(BadFrame, match=r"1\.heic is a HEIC image.*pillow-heif; install that"):
        open_frames(tmp_path)[0]


# ---------------------------------------------------------------- what segment says


def test_mixed_sizes_are_found_before_the_first_mask_is_written(tmp_path: Path, make_segmenter) -> None:
    folder = write_folder(tmp_path / "v", [f"{n}.png" for n in range(5)])
    Image.fromarray(picture(2, (H, W + 2))).save(folder / "3.png")
    write_mask(tmp_path / "mask.png", np.ones((H, W), np.uint8))
    with pytest.raises(
        UserError, match=rf"3.png is {W + 2}x{H} while 4 frames are {W}x{H} \(1 of 5 differ\)"
    ):
        segment(folder, tmp_path / "mask.png", tmp_path / "out", make_segmenter, quiet=True)
    assert not (tmp_path / "out").exists()


def test_turned_photographs_of_one_size_are_not_mixed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save(tmp_path / "0.jpg")
    Image.fromarray(np.ascontiguousarray(np.rot90(picture(1)))).save(tmp_path / "1.jpg", exif=exif)
    open_frames(tmp_path).refuse_mixed_sizes()


def test_messages_of_segment_name_its_own_option(tmp_path: Path, make_segmenter) -> None:
    folder = write_folder(tmp_path / "v", [f"{n}.png" for n in range(3)])
    (folder / "1.png").write_bytes(b"")
    write_mask(tmp_path / "mask.png", np.ones((H, W), np.uint8))
    with pytest.raises(BadFrame) as error:
        segment(folder, tmp_path / "mask.png", tmp_path / "out", make_segmenter, quiet=True)
    said = str(error.value)
    assert said.endswith("or pass --bad-frame skip or repeat (the setting evaluate.bad_frame)")
    assert "data.bad_frame" not in said


def test_pictures_before_the_first_keyframe_of_a_transport_stream_are_left_out(tmp_path: Path) -> None:
    options = {"x264-params": "keyint=8:min-keyint=8:scenecut=0:open-gop=1:bframes=3:b-adapt=0"}
    whole = write_video(tmp_path / "whole.ts", options=options)
    with av.open(str(whole)) as file:
        packets = [(packet.pos, packet.is_keyframe) for packet in file.demux(video=0) if packet.size]
    second = [position for position, key in packets if key][1]
    path = tmp_path / "cut.ts"
    path.write_bytes(whole.read_bytes()[second:])  # begins with a keyframe that is not the first one shown
    with open_frames(path) as found, open_frames(whole) as known:
        missing = T - len(found)
        for index, frame in found.stream():
            np.testing.assert_array_equal(frame, known[index + missing])
        assert not found.bad and 0 < missing < 12
