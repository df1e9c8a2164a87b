from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mamp.data import frames, video
from mamp.data.frames import BadFrame, open_frames
from mamp.data.lists import natural_key
from mamp.errors import UserError

H, W, T = 48, 64, 30


def picture(number: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """A smooth picture whose mean grows with its number, and that no flip or turn maps to itself."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([x * 3, y * 4, np.full_like(x, 8 * number)], -1).clip(0, 255).astype(np.uint8)


def write_folder(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)
    return folder


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    rotation: int | None = None,
    container: dict[str, str] | None = None,
    size: tuple[int, int] = (H, W),
    options: dict[str, str] | None = None,
    draw: Callable[..., np.ndarray] = picture,
) -> Path:
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options or {"g": "10"}, bit_rate=4_000_000)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write rotation flags")
            stream.set_display_rotation(rotation)
        for number in range(T):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, size), format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", container={"movflags": "faststart"})


@pytest.fixture(params=["decord", "pyav"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "decord":
        pytest.importorskip("decord")
    else:
        monkeypatch.setitem(sys.modules, "decord", None)
    return str(request.param)


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
@settings(max_examples=30, deadline=None)
def test_natural_order_is_the_order_of_numbers(numbers: list[int], prefix: str) -> None:
    names = [f"{prefix}{n}" for n in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{n}" for n in sorted(numbers)]


@given(st.lists(st.text("a1²٣.", max_size=6)))
@settings(max_examples=50, deadline=None)
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
    assert str(error.value) == (
        f"{broken}/00002.jpg is cut short after {size:,} bytes; re-extract it, or set data.bad_frame (training) or evaluate.bad_frame to skip or repeat"
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
@settings(max_examples=15, deadline=None)
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


# ---------------------------------------------------------------- video files


def test_a_video_gives_its_frames_names_and_rate(clip: Path, decoder: str) -> None:
    with open_frames(clip) as source:
        assert len(source) == T and source.fps == 25 and source.names[:2] == ["00000", "00001"]
        for index, frame in source.stream():
            assert frame.shape == (H, W, 3) and frame.dtype == np.uint8
            assert np.abs(frame.astype(int) - picture(index)).mean() < 4


def test_random_access_gives_what_streaming_gives(clip: Path, decoder: str) -> None:
    with open_frames(clip) as source:
        streamed = dict(source.stream())
        for index in (17, 16, 3, 4, 29, 0, 28, 0):
            assert np.array_equal(source[index], streamed[index])
        assert [index for index, _ in source.stream(25)] == [25, 26, 27, 28, 29]
        assert np.array_equal(source[-1], streamed[29])
        with pytest.raises(IndexError):
            source[T]


def restless(number: int, size: tuple[int, int]) -> np.ndarray:
    """A texture that runs, so that a frame built on the wrong one shows."""
    texture = np.random.default_rng(0).integers(0, 255, (size[0] // 4, size[1] // 4, 3)).astype(np.uint8)
    return np.ascontiguousarray(np.roll(texture.repeat(4, 0).repeat(4, 1), (number, 3 * number), (0, 1)))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("open.mp4", "libx264", {"x264-params": "keyint=8:open-gop=1:bframes=3:b-adapt=0"}),
        ("open.mkv", "libx264", {"x264-params": "keyint=8:open-gop=1:bframes=3:b-adapt=0"}),
        ("refresh.mp4", "libx264", {"x264-params": "keyint=8:intra-refresh=1"}),
        ("transport.ts", "libx264", {"x264-params": "keyint=8:bframes=3"}),
        ("old.mpg", "mpeg2video", {"bf": "2", "g": "8"}),
        ("packed.avi", "mpeg4", {"bf": "2", "g": "8"}),
        ("raw.h264", "libx264", {"g": "8"}),
    ],
)
def test_frames_out_of_order_are_the_right_ones_whatever_they_hang_on(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], decoder: str
) -> None:
    path = write_video(tmp_path / name, codec=codec, options=options, draw=restless)
    with open_frames(path) as source:
        streamed = dict(source.stream())
        assert len(streamed) == T and not source.bad
        for index in (0, 15, 29):  # not a frame of elsewhere
            errors = [np.abs(streamed[index].astype(int) - restless(n, (H, W))).mean() for n in range(T)]
            assert int(np.argmin(errors)) == index
        for index in np.random.default_rng(1).permutation(T).tolist():
            assert np.array_equal(source[index], streamed[index])


@pytest.mark.parametrize("size", [(H, W), (38, 50), (50, 34)])
def test_both_decoders_give_the_same_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    pytest.importorskip("decord")
    path = write_video(tmp_path / "clip.mp4", size=size)
    index = video.index_video(path)
    readers = video.DecordReader(path, index), video.PyavReader(path, index)
    for number in range(T):
        one, other = (reader.frame(number) for reader in readers)
        assert one.shape == (*size, 3) and np.abs(one.astype(int) - other).max() <= 2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_flags_are_obeyed(tmp_path: Path, clip: Path, rotation: int, decoder: str) -> None:
    turned = open_frames(write_video(tmp_path / "turned.mp4", rotation=rotation))
    plain = open_frames(clip)
    for index in (0, 11):
        assert np.array_equal(turned[index], np.rot90(plain[index], rotation // 90))


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "libx264"), (".avi", "mpeg4"), (".webm", "libvpx"), (".mov", "mpeg4")]
)
def test_other_containers_are_read(tmp_path: Path, suffix: str, codec: str, decoder: str) -> None:
    with open_frames(write_video(tmp_path / f"clip{suffix}", codec=codec)) as source:
        assert len(source) == T
        assert [round((frame[..., 2].mean() - 4) / 8) for _, frame in source.stream()] == pytest.approx(
            list(range(T)), abs=1
        )


def test_some_frames_of_a_video_can_be_asked_for(clip: Path) -> None:
    source = open_frames(clip, names=["00012", "00003"])
    assert np.array_equal(source[0], open_frames(clip)[12]) and len(source) == 2
    with pytest.raises(UserError, match="has no frame 00030; its frames are called 00000 to 00029"):
        open_frames(clip, names=["00030"])


def test_without_decord_one_line_of_notice_is_printed(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setattr(video, "_NOTICED", [])
    for _ in range(2):
        with open_frames(clip) as source:
            source[0]
    assert capsys.readouterr().err == "decord is not installed; PyAV reads video files\n"


def test_a_source_pickles_without_its_decoder_and_reads_on(clip: Path, decoder: str) -> None:
    with open_frames(clip) as source:
        frame = source[7]
        copy = pickle.loads(pickle.dumps(source))
        assert np.array_equal(copy[7], frame) and np.array_equal(source[8], copy[8])


FORKED = """
import multiprocessing, sys
from mamp.data.frames import open_frames

path, decoder = sys.argv[1:]
if decoder == "pyav":
    sys.modules["decord"] = None

def read(source, results):
    results.put(int(source[12].sum()))
    source.close()

with open_frames(path) as source:
    expected = int(source[0].sum()), int(source[12].sum())
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    child = fork.Process(target=read, args=(source, results))
    child.start()
    child.join(60)
    assert child.exitcode == 0 and results.get() == expected[1]
    assert (int(source[0].sum()), int(source[12].sum())) == expected
"""


def test_a_forked_process_opens_its_own_decoder(clip: Path, decoder: str, repository: Path) -> None:
    # from a process of its own: what threads other tests left behind is not what is tested
    command = [sys.executable, "-c", FORKED, str(clip), decoder]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def damage(clip: Path, path: Path, *, frame: int) -> Path:
    """The clip with the data of one frame overwritten."""
    with av.open(str(clip)) as file:
        packets = sorted((p.pts, p.pos, p.size) for p in file.demux(video=0) if p.size)
    content = bytearray(clip.read_bytes())
    _, position, size = packets[frame]
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    return path


def test_a_damaged_frame_in_a_video_goes_by_policy(clip: Path, tmp_path: Path, decoder: str) -> None:
    path = damage(
        clip, tmp_path / "hole.mp4", frame=20
    )  # a keyframe: the ten frames up to the next one hang on it
    with pytest.raises(BadFrame, match=r"hole.mp4 frame 000\d\d cannot be decoded"):
        list(open_frames(path).stream())
    whole = dict(open_frames(clip).stream())
    left = dict(open_frames(path, bad_frame="skip").stream())
    assert set(range(16)) <= set(left) and len(left) < T
    assert all(np.array_equal(left[index], whole[index]) for index in range(16))
    assert [index for index, _ in open_frames(path, bad_frame="repeat").stream()] == list(range(T))


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4")])
def test_a_video_cut_short_is_refused_or_read_as_far_as_it_goes(
    tmp_path: Path, suffix: str, codec: str, decoder: str
) -> None:
    path = write_video(
        tmp_path / f"clip{suffix}",
        codec=codec,
        container={"movflags": "faststart"} if suffix == ".mp4" else None,
    )
    with av.open(str(path)) as file:
        position = sorted(packet.pos for packet in file.demux(video=0) if packet.size)[20]
    path.write_bytes(path.read_bytes()[:position])
    with pytest.raises(
        UserError, match=rf"clip{suffix} is cut short: it promises 1.\d\d s of video and holds"
    ):
        open_frames(path)
    left = [index for index, _ in open_frames(path, bad_frame="skip").stream()]
    assert left == list(range(len(left))) and 5 < len(left) < T


def test_a_video_without_pictures_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    with pytest.raises(UserError, match=r"sound.mp4 cannot be read as a video \(no video stream\)"):
        open_frames(tmp_path / "sound.mp4")


@pytest.mark.parametrize("name", ["take 1: dog.mp4", "http:dog.mp4", "file:dog.mp4", "c:dog.mp4"])
def test_a_colon_in_a_files_name_is_no_protocol(
    clip: Path, tmp_path: Path, decoder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(clip.read_bytes())
    with open_frames(name) as found, open_frames(clip) as known:
        assert np.array_equal(found[3], known[3]) and len(found) == T
