"""The demo on a small scale: what it writes, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mamp import demo as demos
from mamp.core.errors import UserError
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

RECIPE = """
method: {encoder: {width: 0.125}, training: {radius: 2}}
data: {size: 32, fit: crop, sampling: random, intervals: [1], interval_chances: [1.0], workers: 0,
  interval_fps: null}
train: {steps: 2, batch: 2}
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    monkeypatch.setattr(demos, "recipe", lambda: recipe)
    monkeypatch.setattr(demos, "SIZE", (48, 64))
    monkeypatch.setattr(demos, "TRAINING", {"clips": 2, "frames": 3, "seed": 1})
    monkeypatch.setattr(demos, "UNSEEN", {"clips": 2, "frames": 4, "seed": 2})
    monkeypatch.setattr(demos, "WATCHED", {"clips": 1, "frames": 3, "seed": 3})
    monkeypatch.setattr(demos, "PACE_STEPS", 2)
    monkeypatch.setattr(demos, "STEPS", (2, 2))


@pytest.fixture
def own_video(tmp_path: Path) -> tuple[Path, Path]:
    clip = render_clip(9, frames=3, size=(40, 56), objects=2)
    folder, mask = tmp_path / "my video", tmp_path / "mask.png"
    folder.mkdir()
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg")
    write_mask(mask, clip.labels[0])
    return folder, mask


def test_four_rows_are_scored_drawn_and_printed(small, tmp_path, capsys, own_video):
    out = tmp_path / "out"
    summary = demos.demo(out, video=own_video[0], mask=own_video[1], device="cpu", quiet=True)
    assert json.loads((out / "summary.json").read_text()) == summary
    assert list(summary) == ["copy", "untrained", "trained", "shipped"]
    for row, means in summary.items():
        assert list(means) == list(demos.FIGURES)
        assert 0 <= means["J&F-Mean"] <= 1
        scores = json.loads((out / "scored" / row / "scores.json").read_text())
        assert scores["J&F-Mean"] == means["J&F-Mean"]
    assert summary["untrained"] != summary["copy"]
    printed = capsys.readouterr().out
    assert "first mask copied" in printed
    assert str(out / "overlay.mp4") in printed
    assert (out / "overlay.mp4").stat().st_size > 1000
    assert Image.open(out / "sheet.png").width > 5 * 64
    for row in ("trained", "shipped"):
        assert len(list((out / "own" / row / "masks").glob("*.png"))) == 3
        assert (out / "own" / row / "overlay.mp4").is_file()


def test_training_sees_no_mask_and_no_clip_that_is_scored(small, tmp_path):
    demos.demo(tmp_path / "out", device="cpu", quiet=True)
    clips = tmp_path / "out" / "clips"
    assert sorted(path.name for path in (clips / "Annotations" / "480p").iterdir()) == ["val-000", "val-001"]
    trained = json.loads((tmp_path / "out" / "scored" / "trained" / "run.json").read_text())
    assert "val-" not in json.dumps(trained["weights"])
    train, val = (
        np.asarray(Image.open(clips / f"JPEGImages/480p/{s}-000/00000.jpg"), int) for s in ("train", "val")
    )
    assert np.abs(train - val).mean() > 5


def test_a_second_demo_into_the_same_folder_gives_the_same_rows(small, tmp_path):
    first = demos.demo(tmp_path / "out", device="cpu", quiet=True)
    assert demos.demo(tmp_path / "out", device="cpu", quiet=True) == first


@pytest.mark.parametrize("missing", ["video", "mask"])
def test_a_video_without_its_mask_is_refused_before_training(small, tmp_path, own_video, missing):
    given = {"video": own_video[0], "mask": own_video[1], missing: None}
    with pytest.raises(UserError, match="--mask"):
        demos.demo(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_size_is_refused_before_training(small, tmp_path, own_video):
    write_mask(own_video[1], np.ones((10, 10), np.uint8))
    with pytest.raises(UserError, match="10x10"):
        demos.demo(tmp_path / "out", video=own_video[0], mask=own_video[1])
    assert not (tmp_path / "out").exists()


def test_an_empty_mask_is_refused_before_training(small, tmp_path, own_video):
    write_mask(own_video[1], np.zeros((40, 56), np.uint8))
    with pytest.raises(UserError, match="no object"):
        demos.demo(tmp_path / "out", video=own_video[0], mask=own_video[1])


def test_a_video_that_is_not_there_is_refused(small, tmp_path, own_video):
    with pytest.raises(UserError, match="nothing.mp4"):
        demos.demo(tmp_path / "out", video=tmp_path / "nothing.mp4", mask=own_video[1])


def test_the_first_picture_is_there_before_anything_is_trained(small, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demos, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        demos.demo(tmp_path / "out", device="cpu", quiet=True)
    picture = tmp_path / "out" / "first.png"
    assert str(picture) in capsys.readouterr().out
    assert Image.open(picture).width >= 4 * 64


def test_steps_follow_the_speed_of_the_machine(small, tmp_path, monkeypatch):
    made = []

    def timed(config, run, **_):
        made.append(config)
        run.mkdir(parents=True)
        (run / "log.jsonl").write_text('{"step": 2, "clips_per_s": 4.0}\n')

    monkeypatch.setattr(demos, "train", timed)
    monkeypatch.setattr(demos, "STEPS", (20, 2000))
    config = demos._paced(tmp_path, tmp_path / "out", minutes=2, device="cpu", quiet=True)
    assert made[0].train.steps == 2 and config.train.steps == 240  # 120 s, 4 clips a second, 2 in a step


def test_while_it_trains_it_says_how_well_a_mask_is_carried(small, tmp_path, capsys):
    demos.demo(tmp_path / "out", device="cpu")
    assert "validation after step 2: J&F 0." in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_no_time_to_train_is_refused(tmp_path, minutes):
    with pytest.raises(UserError, match="--minutes"):
        demos.demo(tmp_path / "out", minutes=minutes)
    assert not (tmp_path / "out").exists()
