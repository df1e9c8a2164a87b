from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mamp import cli
from mamp.config import DataConfig, Root
from mamp.config.pack import PackConfig
from mamp.core.errors import UserError
from mamp.datasets.sequences import training_sequences
from mamp.loading.census import take_census
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.tools import pack as packing
from mamp.tools.pack import pack
from mamp.video.decoding import DecordReader, PyavReader, index_video
from mamp.video.frames import BadFrame, open_frames
from mamp.video.packed import read_index

H, W, T = 90, 160, 10
NAMES = ("ant", "bee", "cat")


def picture(number: int) -> np.ndarray:
    """A texture that runs, so that one frame is not taken for another."""
    texture = np.random.default_rng(0).integers(0, 255, (H // 10, W // 10, 1)).repeat(3, 2).astype(np.uint8)
    return np.ascontiguousarray(
        np.roll(texture.repeat(10, 0).repeat(10, 1), (4 * number, 7 * number), (0, 1))
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three folders of ten frames."""
    for name in NAMES:
        folder = tmp_path / "frames" / name
        folder.mkdir(parents=True)
        for number in range(T):
            Image.fromarray(picture(number)).save(folder / f"{number:05d}.jpg", quality=95)
    return tmp_path / "frames"


def packed(source: Path, *, processes: int = 1, bad_frame: str = "error", fps: float | None = 12.5, **knobs):
    knobs = PackConfig(**{"size": 64, **knobs})
    out = source.parent / "packed"
    return out, pack(
        Root(path=source, fps=fps), out, knobs, processes=processes, bad_frame=bad_frame, quiet=True
    )


def small(number: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture(number)).resize((114, 64), Image.Resampling.BICUBIC))


def test_each_clip_becomes_a_small_video_and_a_line_of_the_index(source):
    out, done = packed(source)
    assert sorted(path.name for path in out.iterdir()) == ["ant.mp4", "bee.mp4", "cat.mp4", "pack.json"]
    record = read_index(out / "pack.json")["clips"]["bee"]
    assert record["frames"] == T and record["fps"] == 12.5 and record["size"] == [114, 64]
    assert record["bytes"] == (out / "bee.mp4").stat().st_size and len(record["sha256"]) == 64
    assert (done.clips, done.frames, done.redone) == (3, 30, 3)
    assert done.bytes_after == sum(path.stat().st_size for path in out.glob("*.mp4")) < done.bytes_before
    assert done.speed_before > 0 and done.speed_after > 0


@pytest.mark.parametrize("keyframes", [1, 4, 12])
def test_packed_frames_are_near_the_source_in_any_order(source, keyframes):
    out, _ = packed(source, keyframes=keyframes)
    with open_frames(out / "cat.mp4") as clip:
        assert len(clip) == T and clip.fps == 12.5
        streamed = dict(clip.stream())
        for index in (7, 8, 2, 9, 0, 9, 3):
            assert np.array_equal(clip[index], streamed[index])
            assert np.abs(streamed[index].astype(int) - small(index)).mean() < 12
            assert np.abs(streamed[index].astype(int) - small((index + 3) % T)).mean() > 30


@pytest.mark.parametrize("keyframes", [1, 4])
def test_other_readers_see_the_same_frames(source, keyframes):
    out, _ = packed(source, keyframes=keyframes)
    index = index_video(out / "ant.mp4")
    assert index.count == T
    with open_frames(out / "ant.mp4") as clip:
        for kind in (PyavReader, DecordReader):
            if kind is DecordReader:
                pytest.importorskip("decord")
            reader = kind(out / "ant.mp4", index)
            for number in range(T):
                assert np.abs(reader.frame(number).astype(int) - clip[number]).max() <= 2
            reader.close()


def test_training_reads_a_packed_folder(source):
    out, _ = packed(source)
    knobs = DataConfig(root=[str(out)], size=32, sampling="random", fit="crop", workers=0)
    videos = training_sequences(knobs.root)
    census = take_census(videos)
    assert census.counts == (T,) * 3 and census.rates == (12.5,) * 3
    with contextlib.closing(
        ClipLoader(videos, ClipPlan(census, knobs, frames=2, batch=3, seed=0), knobs).batches()
    ) as batches:
        frames, _, clips = next(iter(islice(batches, 1)))
    assert frames.shape == (3, 2, 3, 32, 32) and {clip["sequence"] for clip in clips} == set(NAMES)


def test_a_source_that_does_not_say_its_rate_leaves_it_open(source):
    out, _ = packed(source, fps=None)
    assert open_frames(out / "ant.mp4").fps is None
    assert training_sequences([Root(path=out, fps=8)])[0].fps == 8


def test_videos_are_packed_too_and_small_ones_keep_their_size(source):
    out, _ = packed(source)
    again = out.parent / "again"
    pack(Root(path=out), again, PackConfig(size=128), quiet=True)
    with open_frames(again / "bee.mp4") as clip:
        assert clip[4].shape == (64, 114, 3) and clip.fps == 12.5 and len(clip) == T


def test_processes_share_the_work_and_give_the_same(source):
    alone, _ = packed(source)
    alone = alone.rename(alone.parent / "alone")
    shared, _ = packed(source, processes=2)
    assert (alone / "pack.json").read_bytes() == (shared / "pack.json").read_bytes()
    assert all(
        (alone / f"{name}.mp4").read_bytes() == (shared / f"{name}.mp4").read_bytes() for name in NAMES
    )


# ---------------------------------------------------------------- interrupted and mended


def test_finished_clips_are_not_made_again(source, monkeypatch):
    make, made = packing._pack_clip, []

    def interrupted(job):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job[0].name)
        return make(job)

    monkeypatch.setattr(packing, "_pack_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packed(source)
    out = source.parent / "packed"
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    assert len(stamps) == 2 and not (out / "pack.json").exists()
    with pytest.raises(UserError, match="is not packed to the end; run mamp data pack again"):
        training_sequences([Root(path=out)])
    monkeypatch.setattr(packing, "_pack_clip", make)
    _, done = packed(source)
    assert done.redone == 1
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())


def test_a_killed_run_leaves_whole_files_and_is_gone_on_with(source, repository):
    out = source.parent / "packed"
    command = [
        sys.executable,
        "-m",
        "mamp",
        "data",
        "pack",
        f"{source}@12.5",
        str(out),
        "--processes",
        "2",
        "--size",
        "64",
    ]
    child = subprocess.Popen(command, cwd=repository, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list((out / ".unfinished").glob("*.mp4.json")) and child.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    until = time.monotonic() + 60
    while True:  # the helpers end by themselves
        with contextlib.suppress(UserError):
            _, done = packed(source)
            break
        assert time.monotonic() < until
    assert done.redone < 3 and done.frames == 3 * T
    assert not list(out.glob(".*partial"))


def test_only_what_changed_is_made_again(source):
    out, _ = packed(source)
    Image.fromarray(picture(40)).save(source / "bee" / "00010.jpg")
    content = bytearray((out / "cat.mp4").read_bytes())
    content[-5] ^= 255
    (out / "cat.mp4").write_bytes(content)
    kept = (out / "ant.mp4").stat().st_mtime_ns
    assert packed(source)[1].redone == 2
    assert (out / "ant.mp4").stat().st_mtime_ns == kept and len(open_frames(out / "bee.mp4")) == T + 1
    assert packed(source)[1].redone == 0
    assert len(dict(open_frames(out / "cat.mp4").stream())) == T


# ---------------------------------------------------------------- damaged


@pytest.mark.parametrize("keyframes", [1, 4])
def test_a_damaged_frame_is_named_and_goes_by_policy(source, keyframes):
    out, _ = packed(source, keyframes=keyframes)
    record = read_index(out / "pack.json")["clips"]["bee"]
    content = bytearray((out / "bee.mp4").read_bytes())
    content[record["start"] + sum(record["packets"][:4]) + record["packets"][4] // 2] ^= 1
    (out / "bee.mp4").write_bytes(content)
    hang = list(range(4, 4 + keyframes))
    clip = open_frames(out / "bee.mp4")
    for index in hang:
        with pytest.raises(BadFrame) as caught:
            clip[index]
        assert (
            str(caught.value)
            == f"{out}/bee.mp4 frame {index:05d} cannot be decoded (its bytes are not those that were"
            " packed); run mamp data pack again to repair it, or set data.bad_frame (training) or"
            " evaluate.bad_frame to skip or repeat"
        )
    left = [index for index, _ in open_frames(out / "bee.mp4", bad_frame="skip").stream()]
    assert left == [index for index in range(T) if index not in hang]
    repeated = open_frames(out / "bee.mp4", bad_frame="repeat")
    assert np.array_equal(repeated[hang[-1]], repeated[3])


def test_a_clip_of_another_length_or_gone_is_named(source):
    out, _ = packed(source)
    content = (out / "bee.mp4").read_bytes()
    (out / "bee.mp4").write_bytes(content[:-10])
    with pytest.raises(
        UserError, match=r"bee.mp4 has [\d,]+ bytes and was packed with [\d,]+; run mamp data"
    ):
        take_census(training_sequences([Root(path=out)]))
    assert take_census(training_sequences([Root(path=out)]), bad_frame="skip").counts == (T, 0, T)
    (out / "bee.mp4").unlink()
    with pytest.raises(UserError, match=r"bee.mp4 is not there, which pack.json lists \(1 of 3 are missing"):
        training_sequences([Root(path=out)])


@given(
    st.recursive(
        st.none() | st.integers() | st.text("ab./", max_size=4),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(st.sampled_from(["file", "size", "fps", "packets", "crc32", "head", "x"]), v)
        ),
    )
)
@settings(max_examples=60)
def test_an_index_of_any_content_is_read_or_refused(value):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "pack.json"
        index.write_text(json.dumps({"format": "mamp pack 1", "clips": {"a": value}}))
        with pytest.raises(UserError, match="pack.json is no index of packed video"):
            read_index(index)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file", "../bee.mp4"),
        ("packets", [1]),
        ("packets", [10**7] * T),
        ("packets", [-1] * T),
        ("keyframes", 0),
        ("start", -1),
        ("head", "xyz"),
        ("size", [4]),
        ("crc32", ["a"] * T),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(source, key, value):
    out, _ = packed(source)
    index = json.loads((out / "pack.json").read_text())
    index["clips"]["bee"][key] = value
    (out / "pack.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="pack.json is no index of packed video") as caught:
        training_sequences([Root(path=out)])
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- mistakes


def test_a_bad_frame_of_the_source_goes_by_policy(source):
    bad = source / "bee" / "00003.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(UserError, match="bee/00003.jpg is cut short"):
        packed(source)
    out, done = packed(source, bad_frame="repeat")
    assert done.redone == 3 and len(open_frames(out / "bee.mp4")) == T
    with pytest.raises(UserError, match="bee/00003.jpg is cut short"):
        packed(source)


def test_an_out_with_other_things_in_it_is_left_alone(source):
    out = source.parent / "packed"
    out.mkdir()
    (out / "ant.mp4").write_text("somebody's film")
    with pytest.raises(UserError, match="packed holds other files; choose an OUT that is empty"):
        packed(source)
    assert (out / "ant.mp4").read_text() == "somebody's film"
    with pytest.raises(UserError, match="is the video itself"):
        pack(Root(path=source), source, PackConfig(), quiet=True)


def test_other_settings_go_to_another_folder(source):
    out, _ = packed(source)
    with pytest.raises(UserError, match="was packed with --keyframes 1, and now it is 4; give the same"):
        packed(source, keyframes=4)
    assert len(training_sequences([Root(path=out)])) == 3, "what was packed can be used as before"


def test_clips_that_the_source_no_longer_has_are_named_and_never_kept_unseen(source):
    out, _ = packed(source)
    shutil.rmtree(source / "bee")
    with pytest.raises(UserError, match="holds 1 clip that .*frames does not have, bee.mp4 first; delete"):
        packed(source)
    assert len(training_sequences([Root(path=out)])) == 3
    (out / "bee.mp4").unlink()
    _, done = packed(source)
    assert (done.clips, done.redone) == (2, 0)
    assert {video.name for video in training_sequences([Root(path=out)])} == {"ant", "cat"}


def test_another_source_does_not_mix_with_what_is_packed(source):
    out, _ = packed(source)
    other = source.parent / "other"
    shutil.copytree(source / "ant", other / "dog")
    with pytest.raises(UserError, match="holds 3 clips that .*other does not have"):
        pack(Root(path=other), out, PackConfig(size=64), quiet=True)
    assert {video.name for video in training_sequences([Root(path=out)])} == set(NAMES)


def test_a_clip_that_does_not_read_back_is_told(source, monkeypatch):
    monkeypatch.setattr(packing, "_shrink", lambda frame, size: 255 - small(0))
    honest = packing._encode

    def wrong(*args, **kwargs):
        return {number: 255 - frame for number, frame in honest(*args, **kwargs).items()}

    monkeypatch.setattr(packing, "_encode", wrong)
    with pytest.raises(
        UserError, match="ant was packed and does not read back .frame 0 is .* grey levels off"
    ):
        packed(source)
    assert not list((source.parent / "packed").glob("*.mp4"))


def test_the_command_prints_sizes_and_speed(source, capsys):
    out = source.parent / "packed"
    arguments = ["data", "pack", f"{source}@12.5", str(out), "--size", "64", "--processes", "1"]
    assert cli.main(arguments) == 0
    printed, told = capsys.readouterr()
    assert "3 clips, 30 frames, 3 packed now" in printed and printed.count(" frames/s") == 2
    assert "packing: 3 of 3 clips" in told
    assert cli.main(["data", "pack", str(source), str(out), "--size", "63"]) == 2
    assert "--size is 63" in capsys.readouterr().err
