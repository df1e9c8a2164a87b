"""Cameras. A video file stands in for one."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mamp
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.video import camera
from mamp.video.film import Film
from mamp.video.masks import read_mask, write_mask
from mamp.video.synthetic import render_clip

FAST = ["method.propagation.short_side=null", "method.propagation.radius=4"]


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mask of the first frame; camera 0 shows six rendered frames."""
    made = render_clip(3, frames=6, size=(48, 64), objects=1)
    with Film(tmp_path / "camera0.mp4", fps=10) as film:
        for frame in made.frames:
            film.write(frame)
    write_mask(tmp_path / "mask.png", made.labels[0])
    monkeypatch.setitem(camera.FORMATS, sys.platform, (None, str(tmp_path / "camera{}.mp4")))
    return tmp_path / "mask.png"


@pytest.mark.parametrize(
    ("video", "number"), [(0, 0), ("camera:12", 12), ("camera", None), (True, None), ("a.mp4", None)]
)
def test_what_a_camera_is_called(video, number):
    assert camera.camera_number(video) == number


def test_a_camera_is_segmented_from_python(clip):
    found = list(itertools.islice(mamp.segment_video(0, clip, device="cpu", overrides=FAST), 4))
    assert [name for name, _ in found] == [0, 1, 2, 3]
    np.testing.assert_array_equal(found[0][1], read_mask(clip))
    assert all(labels.any() for _, labels in found)


def test_a_camera_is_segmented_from_the_command_line(clip, tmp_path, capsys):
    out = tmp_path / "masks"
    words = ["segment", "camera:0", "--mask", str(clip), "--out", str(out), "--max-frames", "3", *FAST]
    assert main([*words, "--overlay", str(tmp_path / "live.mp4"), "--device", "cpu"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert (tmp_path / "live.mp4").stat().st_size
    assert "3 masks" in capsys.readouterr().out


def test_what_needs_a_recorded_video_is_refused(clip, tmp_path, capsys):
    words = [
        "segment",
        "camera:0",
        "--mask",
        str(clip),
        "--out",
        str(tmp_path / "masks"),
        "--direction",
        "both",
    ]
    assert main(words) == 2
    assert "--direction needs a recorded video" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_the_frame_to_paint_on_is_taken_by_a_camera(clip, tmp_path):
    assert main(["first", "camera:0", "--out", str(tmp_path / "first.png")]) == 0
    assert Image.open(tmp_path / "first.png").size == (64, 48)


def test_no_camera_is_one_sentence():
    with pytest.raises(UserError, match="camera 99 cannot be opened"):
        next(camera.camera_frames(99))


def test_masks_may_be_given_by_frame_name(tmp_path):
    made = render_clip(3, frames=3, size=(48, 64), objects=1)
    for t, frame in enumerate(made.frames):
        Image.fromarray(frame).save(tmp_path / f"{t:05d}.png")
    by_name, by_number = (
        [labels for _, labels in mamp.segment_video(tmp_path, masks, device="cpu", overrides=FAST)]
        for masks in ({"00001.png": made.labels[1]}, {1: made.labels[1]})
    )
    np.testing.assert_array_equal(by_name, by_number)
    with pytest.raises(UserError, match="no frame is called 00007.png; frames are named 00000 to 00002"):
        mamp.segment_video(tmp_path, {"00007.png": made.labels[1]}, device="cpu")
