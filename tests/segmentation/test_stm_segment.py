"""STM through the commands that people use."""

import numpy as np
import pytest
from method_world import make_world, save_weights, segment, train_and_evaluate

from mamp.video.masks import read_mask
from mamp.video.overlay import heatmap, tint

NETWORK = {"backbone": "resnet18", "width": 0.125, "key": 8, "value": 8, "decoder": 8}
METHOD = {"name": "stm", "network": NETWORK}


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_clip):
    return make_world(tmp_path_factory.mktemp("stm"), write_clip, METHOD, frames=6)


@pytest.mark.parametrize("preset", ["tuned", "published", "original"])
def test_segment_writes_a_mask_for_every_frame(world, tmp_path, preset):
    knobs = ["method.propagation.every=2", f"method.preset={preset}"]
    knobs += ["method.propagation.input_size=[36, 60]", "method.propagation.correction_loops=1"]
    assert segment(world, tmp_path, "--quiet", *knobs) == 0
    assert len(list(tmp_path.glob("*.png"))) == 6
    assert set(np.unique(read_mask(tmp_path / "00005.png"))) <= {0, 1, 2}


@pytest.mark.parametrize("style", ["erf", "heatmap", "segmentation", "mask"])
def test_every_overlay_style_makes_a_film(world, tmp_path, style):
    overlay = ["--overlay", tmp_path / "film.mp4", "--overlay-style", style]
    assert (
        segment(world, tmp_path / "masks", *overlay, "--quiet", "method.propagation.correction_loops=1") == 0
    )
    assert (tmp_path / "film.mp4").stat().st_size > 500


def test_training_and_evaluating_go_through(world, tmp_path, repository):
    network = "{backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8}"
    train_and_evaluate(world, tmp_path / "out", repository / "configs" / "stm_cpu.yaml", network)
    assert (tmp_path / "out" / "run" / "weights.safetensors").is_file()
    assert (tmp_path / "out" / "scores.json").is_file()
    assert len(list((tmp_path / "out" / "masks" / "clip").glob("*.png"))) == 6


def test_an_erf_of_another_method_is_refused_in_one_sentence(world, tmp_path, capsys):
    other = tmp_path / "mamp.safetensors"
    save_weights(other, {"name": "mamp", "encoder": {"width": 0.125, "features": 8}})
    overlay = ["--overlay", tmp_path / "film.mp4", "--overlay-style", "erf"]
    assert segment(world, tmp_path / "masks", *overlay, "--quiet", with_weights=other) == 2
    assert "use one of stm" in capsys.readouterr().err
    assert not (tmp_path / "film.mp4").exists()


def test_a_heatmap_is_blue_where_nothing_is_and_red_where_most_is():
    frame, field = np.zeros((4, 6, 3), np.uint8), np.zeros((2, 4, 6), np.float32)
    field[1, 2, 3], field[0, 0, 0] = 2.0, -1.0
    picture = heatmap(frame, field)
    assert picture[2, 3].tolist() == [64, 0, 0]
    assert picture[0, 0].tolist() == picture[3, 5].tolist() == [0, 0, 64]


def test_the_published_picture_halves_the_background():
    frame = np.full((2, 2, 3), 100, np.uint8)
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    assert tint(frame, labels).tolist() == [[[50, 50, 50], [114, 50, 50]], [[50, 114, 50], [114, 114, 50]]]
