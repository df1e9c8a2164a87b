"""Video files as frames: both decoders, random access, rotation, processes, damage."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from pictures import H, T, W, picture, write_video

from mamp.core.errors import UserError
from mamp.video import decoding as video
from mamp.video.frames import BadFrame, open_frames


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
from mamp.video.frames import open_frames

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
