"""`mamp first` and the options of `mamp segment` that name a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import scene, write_video

from mamp.cli import main
from mamp.video.frames import open_frames


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path)


def test_the_first_frame_is_written_and_what_comes_next_is_said(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["first", str(video), "--out", str(tmp_path / "new" / "first.png")]) == 0
    np.testing.assert_array_equal(Image.open(tmp_path / "new" / "first.png"), open_frames(video)[0])
    said = capsys.readouterr().out
    assert "frame 00000, 32x24" in said and f"mamp segment {video} --mask MASK.png --out masks" in said


def test_another_frame_is_named_in_the_next_command(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["first", str(video), "--out", str(tmp_path / "first.png"), "--at", "4"]) == 0
    difference = np.asarray(Image.open(tmp_path / "first.png")).astype(int) - scene(4)[0]
    assert np.abs(difference).mean() < 8
    assert "--mask MASK.png --at 00004 --out masks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "message"), [("first.jpg", "is not a .png"), ("JPEGImages/clip/first.png", "among the frames")]
)
def test_a_place_that_does_not_do_is_refused(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    assert main(["first", str(video), "--out", str(tmp_path / out)]) == 2
    assert message in capsys.readouterr().err
