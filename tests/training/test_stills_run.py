"""Pretraining on still pictures, by every method that learns from masks."""

import numpy as np
import pytest
from PIL import Image
from runs import log, same_end
from small_methods import settings as small

from mamp import config, methods
from mamp.training.engine import train
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

LEARN_FROM_MASKS = methods.having("learns_from_masks")


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    """Two sets of pictures, of different sizes and shapes, as `mamp data static` writes them."""
    root = tmp_path_factory.mktemp("stills")
    for name, seed, size in (("ECSSD", 1, (40, 52)), ("MSRA10K", 2, (56, 40))):
        clip = render_clip(seed, frames=4, size=size, objects=2)
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / name).mkdir(parents=True)
        for t in range(4):
            Image.fromarray(clip.frames[t]).save(root / "JPEGImages" / name / f"{t}.jpg")
            write_mask(root / "Annotations" / name / f"{t}.png", clip.labels[t].astype(np.uint8))
    return root


@pytest.fixture
def settings(stills, repository):
    """settings(method, key=value, ...): an epoch of two steps with the published motion."""
    moves = config.load(repository / "configs" / "afb_urr_static.yaml").data.moves.model_dump(mode="json")
    fixed = [
        f"data.root={stills}",
        "data.sampling=stills",
        "data.fit=crop",
        "data.size=32",
        "data.load_size=40",
        "data.workers=0",
        f"data.moves={moves}",
        "train.batch=4",
        "train.epochs=1",
    ]
    return lambda method, *more: small(method, *fixed, *more)


@pytest.mark.parametrize("method", LEARN_FROM_MASKS)
def test_a_method_that_learns_from_masks_learns_from_stills(tmp_path, settings, method, capsys):
    train(settings(method, "train.log_every=1"), tmp_path / "run", device="cpu", quiet=False)
    assert len(log(tmp_path / "run")) == 2  # 8 pictures, 4 a step
    assert "8 clips" in capsys.readouterr().err
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_a_thin_plate_spline_may_bend_them(tmp_path, settings):
    train(settings("afb_urr", "data.moves.warp=0.05"), tmp_path / "run", device="cpu", quiet=True)
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path, settings):
    train(settings("afb_urr", "train.steps=2"), tmp_path / "whole", device="cpu", quiet=True)
    train(settings("afb_urr", "train.steps=1"), tmp_path / "halves", device="cpu", quiet=True)
    train(settings("afb_urr", "train.steps=2"), tmp_path / "halves", device="cpu", quiet=True)
    assert same_end(tmp_path / "whole", tmp_path / "halves")


def test_pictures_held_aside_are_moved_too_and_alike_each_time(tmp_path, settings):
    losses = {}
    for name, more in (("moved", []), ("still", ["data.moves={}"])):
        knobs = ["validation.share=0.5", "validation.every=1", "validation.clips=2", "train.lr=1e-9"]
        # batch norms would learn from what is seen in between
        knobs += ["train.epochs=3", "method.training.freeze_norm=true", *more]
        train(settings("afb_urr", *knobs), tmp_path / name, device="cpu", quiet=True)
        losses[name] = [line["val_loss"] for line in log(tmp_path / name) if "val_loss" in line]
    assert len(losses["moved"]) == 3
    assert losses["moved"] == pytest.approx([losses["moved"][0]] * 3, rel=1e-4)
    assert losses["moved"][0] != pytest.approx(losses["still"][0], rel=1e-3)


def test_a_video_held_aside_is_not_moved(write_clip, tmp_path, settings):
    for name, seed in (("ant", 1), ("bee", 2)):
        write_clip(tmp_path / "videos", name, seed=seed, frames=6, size=(48, 64))
    fixed = [f"data.root={tmp_path / 'videos'}", "data.sampling=shuffled", "data.workers=0", "data.size=32"]
    fixed += ["train.steps=1", "train.batch=1"]
    fixed += ["validation.share=0.5", "validation.clips=1", "data.fit=crop", "data.load_size=40"]
    losses = []
    for name, moves in (("moved", "{rotate: 90}"), ("still", "{}")):
        knobs = [f"data.moves={moves}", "train.lr=1e-9", "method.training.freeze_norm=true"]
        run = small("afb_urr", *fixed, *knobs)
        train(run, tmp_path / name, device="cpu", quiet=True)
        losses += [line["val_loss"] for line in log(tmp_path / name) if "val_loss" in line]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
