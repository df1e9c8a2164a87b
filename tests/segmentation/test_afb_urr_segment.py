"""AFB-URR through the commands that people use."""

import json
import shutil

import numpy as np
import pytest
from method_world import make_world, run, segment, train_and_evaluate

from mamp.video.masks import read_mask
from mamp.video.overlay import rimmed

NETWORK = {"backbone": "resnet18", "width": 0.125, "key": 8, "value": 8, "decoder": 8, "local": 4}
METHOD = {"name": "afb_urr", "network": NETWORK}


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_clip):
    return make_world(tmp_path_factory.mktemp("afb"), write_clip, METHOD, frames=5)


@pytest.mark.parametrize("preset", ["tuned", "published"])
def test_segment_writes_a_mask_for_every_frame_and_tells_of_the_banks(world, tmp_path, preset, capsys):
    overlay = ["--overlay", tmp_path / "film.mp4", "--overlay-style", "rim"]
    knobs = [f"method.preset={preset}", "method.propagation.budget=60"]
    assert segment(world, tmp_path / "masks", *overlay, *knobs) == 0
    assert len(list((tmp_path / "masks").glob("*.png"))) == 5
    assert set(np.unique(read_mask(tmp_path / "masks" / "00004.png"))) <= {0, 1, 2}
    assert "clip: 3 objects with the background, 20 cells each" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["tuned", "published"])
def test_long_videos_are_scored_where_they_have_truth_and_the_banks_use_is_kept(world, tmp_path, preset):
    root, shown = tmp_path / "data", (0, 2, 4)
    shutil.copytree(world / "JPEGImages" / "clip", root / "JPEGImages" / "rat")
    (root / "Annotations" / "rat").mkdir(parents=True)
    for t in shown:
        shutil.copy(world / "Annotations" / "clip" / f"{t:05d}.png", root / "Annotations" / "rat")
    (root / "val.txt").write_text("rat\n")
    words = [
        "evaluate",
        "longvideos",
        root,
        "--out",
        tmp_path / "out",
        "--weights",
        world / "small.safetensors",
    ]
    words += ["--device", "cpu", "--quiet", f"method.preset={preset}", "method.propagation.budget=60"]
    assert run(*words) == 0
    assert len(list((tmp_path / "out" / "masks" / "rat").glob("*.png"))) == 5
    frames = json.loads((tmp_path / "out" / "frames.json").read_text())
    assert "00002" in str(frames) and "00001" not in str(frames) and "00003" not in str(frames)
    usage = json.loads((tmp_path / "out" / "run.json").read_text())["sequences"]["rat"]["usage"]
    assert usage["objects"] == 3
    assert usage["budget"] == 20


def test_an_own_video_needs_a_folder_and_a_first_mask_and_may_show_contours(world, tmp_path):
    overlay = ["--overlay", tmp_path / "o.mp4", "--overlay-style", "contour"]
    assert segment(world, tmp_path / "m", *overlay, "--quiet") == 0
    assert (tmp_path / "o.mp4").stat().st_size > 500


def test_training_and_evaluating_go_through(world, tmp_path, repository):
    network = "{backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8, local: 4}"
    train_and_evaluate(world, tmp_path / "out", repository / "configs" / "afb_urr_cpu.yaml", network)
    assert (tmp_path / "out" / "scores.json").is_file()
    assert len(list((tmp_path / "out" / "masks" / "clip").glob("*.png"))) == 5


def test_the_published_picture_has_a_black_line_around_all_but_the_smallest_label():
    frame = np.full((3, 5, 3), 100, np.uint8)
    labels = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], np.uint8)
    found = rimmed(frame, labels)
    assert found[1, 2].tolist() == [116, 40, 40]
    assert (found == 0).all(-1).sum() == 4
    assert found[0, 0].tolist() == [100, 100, 100]
