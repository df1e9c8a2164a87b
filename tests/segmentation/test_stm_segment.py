"""STM through the commands that people use."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mamp import config, weights
from mamp.cli import main
from mamp.data.masks import read_mask, write_mask
from mamp.data.synthetic import render_clip
from mamp.methods.stm import build_model
from mamp.segmentation.overlay import heatmap, tint

NETWORK = {"backbone": "resnet18", "width": 0.125, "key": 8, "value": 8, "decoder": 8}
METHOD = {"name": "stm", "network": NETWORK}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("stm")
    clip = render_clip(0, frames=6, size=(48, 64), objects=2)
    (root / "JPEGImages" / "clip").mkdir(parents=True)
    (root / "Annotations" / "clip").mkdir(parents=True)
    for t, (frame, labels) in enumerate(zip(clip.frames, clip.labels, strict=True)):
        Image.fromarray(frame).save(root / "JPEGImages" / "clip" / f"{t:05d}.png")
        write_mask(root / "Annotations" / "clip" / f"{t:05d}.png", labels)
    torch.manual_seed(0)
    state = build_model(config.load(None, base={"method": METHOD}).method).state_dict()
    weights.save(root / "stm.safetensors", state, method=METHOD, provenance={})
    return root


def run(*words):
    return main([str(word) for word in words])


@pytest.mark.parametrize("preset", ["tuned", "published", "original"])
def test_segment_writes_a_mask_for_every_frame(world, tmp_path, preset):
    source, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    more = ["method.propagation.every=2", f"method.preset={preset}"]
    more += ["method.propagation.input_size=[36, 60]", "method.propagation.correction_loops=1"]
    words = ["segment", source, "--mask", mask, "--out", tmp_path, "--weights", world / "stm.safetensors"]
    assert run(*words, "--device", "cpu", "--quiet", *more) in (0, None)
    assert len(list(tmp_path.glob("*.png"))) == 6
    assert set(np.unique(read_mask(tmp_path / "00005.png"))) <= {0, 1, 2}


@pytest.mark.parametrize("style", ["erf", "heatmap", "segmentation", "mask"])
def test_every_overlay_style_makes_a_film(world, tmp_path, style):
    source, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    words = [
        "segment",
        source,
        "--mask",
        mask,
        "--out",
        tmp_path / "masks",
        "--weights",
        world / "stm.safetensors",
    ]
    film = tmp_path / "film.mp4"
    more = [
        "--overlay",
        film,
        "--overlay-style",
        style,
        "method.propagation.correction_loops=1",
        "--device",
        "cpu",
    ]
    assert run(*words, "--quiet", *more) in (0, None)
    assert film.stat().st_size > 500


def test_training_and_evaluating_go_through(world, tmp_path):
    network = "method.network={backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8}"
    knobs = [
        "train.steps=2",
        "train.batch=2",
        "data.box=[32, 48]",
        "data.repeat=[2]",
        "train.warmup=0",
        network,
    ]
    recipe = Path(__file__).parents[2] / "configs" / "stm_cpu.yaml"
    run(
        "train", recipe, "--run", tmp_path / "run", f"data.root={world}", "--device", "cpu", "--quiet", *knobs
    )
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    out = tmp_path / "out"
    run(
        "evaluate", "folder", world, "--out", out, "--weights", tmp_path / "run", "--device", "cpu", "--quiet"
    )
    assert (out / "scores.json").is_file()
    assert len(list((out / "masks" / "clip").glob("*.png"))) == 6


def test_an_erf_of_another_method_is_refused_in_one_sentence(world, tmp_path, capsys):
    from mamp.methods.mamp import build_model as build_mamp

    small = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}
    state = build_mamp(config.load(None, base={"method": small}).method).state_dict()
    weights.save(tmp_path / "mamp.safetensors", state, method=small, provenance={})
    source, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    words = [
        "segment",
        source,
        "--mask",
        mask,
        "--out",
        tmp_path / "masks",
        "--weights",
        tmp_path / "mamp.safetensors",
    ]
    film = tmp_path / "film.mp4"
    assert run(*words, "--overlay", film, "--overlay-style", "erf", "--device", "cpu", "--quiet") == 2
    assert "use weights of method stm" in capsys.readouterr().err
    assert not film.exists()


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
