"""Part of a video: frames and times in, frames out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import T, write_folder, write_video

from mamp.core.errors import UserError
from mamp.video.frames import open_frames
from mamp.video.parts import Part, find, parse_time


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")  # 25 frames a second


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12s", 12), ("12.5s", 12.5), ("1:02.5", 62.5), ("0:00", 0), ("1:00:02", 3602), ("1m30s", 90),
        ("500ms", 0.5), ("2h", 7200), ("3min", 180), ("1 m 5 s", 65), ("12", None), ("12.5", None),
        ("", None), ("soon", None), ("-3s", None), ("1:2:3:4", None),
    ],
)  # fmt: skip
def test_times_as_people_write_them(text: str, seconds: float | None) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("place", "index"),
    [("7", 7), (7, 7), ("00007", 7), ("0s", 0), ("0:00.4", 10), ("399ms", 9), (0.44, 11), ("0.39999s", 10)],
)
def test_a_place_is_a_frame(clip: Path, place: object, index: int) -> None:
    assert find(place, open_frames(clip), option="--start") == index  # type: ignore[arg-type]


def test_numbers_are_those_in_the_names_where_names_have_them(tmp_path: Path) -> None:
    numbered = open_frames(write_folder(tmp_path / "a", ["shot2_0005.png", "shot2_0010.png"]))
    assert find("10", numbered, option="--at") == find("shot2_0010", numbered, option="--at") == 1
    named = open_frames(write_folder(tmp_path / "b", ["left.png", "right.png"]))
    assert find(1, named, option="--at") == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("30", r"--at 30 is not a frame of .*clip.mp4, whose frames are 00000 to 00029; give a frame number"),
        ("2:00", r"--at 2:00 lies after the end of .*clip.mp4, which is 1.20 s long"),
        ("later", r"--at later is not a frame or a time; give a frame number \(120\)"),
    ],
)
def test_a_place_that_is_not_there_is_refused(clip: Path, place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(place, open_frames(clip), option="--at")


def test_a_folder_has_no_times(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--at 1s is a time, but .* has no times; give a frame number"):
        find("1s", open_frames(write_folder(tmp_path / "v", ["1.png"])), option="--at")


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        (Part(), range(T)),
        (Part(5, 8), range(5, 9)),
        (Part("0.2s", "0.4s"), range(5, 11)),
        (Part(every=7), range(0, T, 7)),
        (Part(3, 20, 4, 3), range(3, 15, 4)),
        (Part(max_frames=100), range(T)),
    ],
)
def test_a_part_has_its_frames_names_and_times(clip: Path, part: Part, numbers: range) -> None:
    whole = open_frames(clip)
    chosen = part.of(whole)
    assert chosen.names == [f"{n:05d}" for n in numbers]
    assert chosen.seconds == pytest.approx([n / 25 for n in numbers])
    for (_, frame), number in zip(chosen.stream(), numbers, strict=True):
        np.testing.assert_array_equal(frame, whole[number])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(8, 5), "--end 5 lies before --start 8"),
        (Part(every=0), "--every is 0; give 1 or more"),
        (Part(max_frames=0), "--max-frames is 0; give 1 or more"),
    ],
)
def test_an_empty_part_is_refused(clip: Path, part: Part, message: str) -> None:
    with pytest.raises(UserError, match=message):
        part.of(open_frames(clip))


def test_frames_come_backward_as_they_are(clip: Path, tmp_path: Path) -> None:
    for path in (clip, write_folder(tmp_path / "v", [f"{n}.png" for n in range(9)])):
        source = open_frames(path)
        found = list(source.backward(7))
        assert [index for index, _ in found] == list(range(7, -1, -1))
        for index, frame in found:
            np.testing.assert_array_equal(frame, source[index])
