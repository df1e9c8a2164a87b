from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from runs import equal, last_state, log

from mamp import methods
from mamp.core.errors import UserError
from mamp.datasets.sequences import training_sequences
from mamp.loading.census import take_census
from mamp.segmentation.evaluate import evaluate
from mamp.segmentation.model import load
from mamp.training import engine
from mamp.training.distributed import Place, Ranks
from mamp.training.engine import train
from mamp.training.trainer import Trainer
from mamp.training.validation import Validator, best_figure, discs, hold_aside, labelled_videos
from mamp.video.masks import write_mask

CPU = torch.device("cpu")


def validator_of(config, aside):
    return Validator(config, aside, labelled_videos(config), census=take_census(aside), device=CPU)


def measured(run):
    return [line for line in log(run) if any(key.startswith("val_") for key in line)]


def timeless(lines):
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, write_clip):
    """Two videos of eight frames, 40x56, with masks."""
    root = tmp_path_factory.mktemp("labelled")
    for name, seed in (("ant", 1), ("bee", 2)):
        write_clip(root, name, seed=seed, frames=8, size=(40, 56))
    return root


@dataclass(frozen=True)
class Named:
    name: str


# ---------------------------------------------------------------- which videos


def test_a_share_of_the_videos_is_held_aside_by_the_hash_of_their_names():
    videos = [Named(f"video{n}") for n in range(40)]
    kept, aside = hold_aside(videos, 0.1)
    assert len(aside) == 4 and sorted((*kept, *aside), key=videos.index) == videos
    assert hold_aside(videos[::-1], 0.1)[1] == aside[::-1]
    more = hold_aside([*videos, Named("another")], 0.1)[1]
    assert len({*more} & {*aside}) >= 3
    assert hold_aside(videos, 0) == (videos, [])
    assert len(hold_aside(videos, 0.001)[1]) == 1


def test_one_video_is_always_left_to_train_on():
    with pytest.raises(UserError, match=r"validation\.share=0\.9 of 3 videos"):
        hold_aside([Named(name) for name in "abc"], 0.9)


@pytest.mark.usefixtures("fake_method")
def test_they_are_told_and_not_trained_on(tmp_path, settings, capsys):
    train(settings("validation.share=0.25"), tmp_path)
    err = capsys.readouterr().err
    assert "training video: 6 videos, 48 frames" in err
    assert "held aside for validation: 2 videos (video" in err
    assert last_state(tmp_path)["provenance"]["data"]["videos"] == 6


# ---------------------------------------------------------------- what is measured


@pytest.mark.usefixtures("fake_method")
def test_figures_are_logged_every_so_often_and_at_the_end(tmp_path, settings, labelled):
    asked = ["validation.share=0.25", "validation.every=5", "validation.dataset=folder"]
    train(settings(*asked, f"validation.root={labelled}"), tmp_path, quiet=True)
    assert [line["step"] for line in measured(tmp_path)] == [5, 10, 12]
    for line in measured(tmp_path):
        when = {"step", "epoch", "clips", "time"}
        assert line.keys() == {*when, "val_loss", "val_jf", "val_j", "val_f", "val_sequences"}
        assert line["val_jf"] == pytest.approx((line["val_j"] + line["val_f"]) / 2)
        assert set(line["val_sequences"]) == {"ant", "bee"}
        means = [sum(s[letter] for s in line["val_sequences"].values()) / 2 for letter in "jf"]
        assert means == pytest.approx([line["val_j"], line["val_f"]]), "two objects in each"
    assert Image.open(tmp_path / "previews" / "carried-00000012.png").width > 1000


@pytest.mark.usefixtures("fake_method")
def test_it_can_be_told_in_epochs(tmp_path, settings):
    train(settings("validation.share=0.25", "validation.epochs=2", "train.steps=8"), tmp_path, quiet=True)
    assert [line["step"] for line in measured(tmp_path)] == [6, 8]  # six videos, two clips to a step


def trainer_of(config):
    task = methods.require("mamp", "task")(config)
    return Trainer(task, config, Ranks(Place(), CPU), steps=1, provenance={})


@pytest.mark.usefixtures("fake_method")
def test_the_loss_is_the_same_each_time_and_knows_no_augmentation(settings, videos):
    asked = ["validation.share=0.25", "validation.clips=5"]
    losses = []
    for more in ([], ["data.augment.flip=1"], ["train.seed=3"], ["data.workers=2"]):
        config = settings(*asked, *more)
        aside = hold_aside(training_sequences(config.data.root), 0.25)[1]
        torch.manual_seed(0)
        trainer, validator = trainer_of(config), validator_of(config, aside)
        torch.manual_seed(1), np.random.seed(1)
        import random

        random.seed(1)
        first = validator.measure(trainer)
        assert validator.measure(trainer) == first
        losses.append(first["val_loss"])
        trainer.task.model[0].weight.data += 1
        assert validator.measure(trainer) != first
    assert len(set(losses)) == 1


def test_j_and_f_are_those_of_an_evaluation_with_the_weights(tmp_path, settings, videos, labelled):
    from mamp.datasets.sequences import open_dataset

    knobs = ["method.propagation.radius=4", "method.propagation.top_k=3"]
    asked = [
        "method.encoder.width=0.125",
        "method.encoder.features=8",
        "train.steps=2",
        "validation.dataset=folder",
    ]
    run = tmp_path / "run"
    train(settings(*knobs, *asked, f"validation.root={labelled}"), run, device="cpu", quiet=True)
    model = load(run, device="cpu", overrides=knobs)
    sequences = open_dataset("folder", labelled)
    scores = evaluate(
        sequences, model.segmenter, tmp_path / "out", protocol="folder", run_info={}, quiet=True
    )
    (line,) = measured(run)
    assert line["val_jf"] == pytest.approx(scores.means()["J&F-Mean"], abs=0.02) and line["val_jf"] > 0.2


def test_checkpoints_are_compared_by_j_and_f_else_by_the_loss():
    assert best_figure({"val_loss": 0.3, "val_jf": 0.6}) == 0.6
    assert best_figure({"val_loss": 0.3}) == -0.3
    assert best_figure({"val_loss": None}) is None and best_figure({}) is None


def test_six_discs_are_drawn_apart():
    labels = discs((48, 64))
    assert set(np.unique(labels)) == set(range(7))
    assert (labels == 0).mean() > 0.4


# ---------------------------------------------------------------- nothing else changes


@pytest.mark.usefixtures("fake_method")
def test_training_is_the_same_bit_for_bit_with_and_without_it(tmp_path, settings, labelled):
    common = "validation.share=0.25"
    more = ["validation.every=2", "validation.dataset=folder", f"validation.root={labelled}"]
    train(settings(common, "validation.every=1000"), tmp_path / "without", quiet=True)
    train(settings(common, *more, "tracking.pictures_every=3"), tmp_path / "with", quiet=True)
    losses = [
        [(line["step"], line["loss"]) for line in log(tmp_path / run) if "loss" in line]
        for run in ("without", "with")
    ]
    assert losses[0] == losses[1]
    one, other = last_state(tmp_path / "without"), last_state(tmp_path / "with")
    assert all(equal(one[part], other[part]) for part in ("model", "task", "optimizer", "rng"))


@pytest.mark.usefixtures("fake_method")
def test_the_best_checkpoints_are_those_that_it_finds_best(tmp_path, settings):
    asked = ["validation.share=0.25", "validation.every=2", "train.keep=1", "train.keep_best=2"]
    train(settings(*asked), tmp_path, quiet=True)
    by_loss = sorted(measured(tmp_path), key=lambda line: line["val_loss"])
    kept = {int(path.stem.partition("-")[2][:8]) for path in (tmp_path / "checkpoints").glob("step-*.pt")}
    assert kept == {12, by_loss[0]["step"], by_loss[1]["step"]}


@pytest.mark.usefixtures("fake_method")
def test_what_a_signal_left_no_time_for_is_made_up(tmp_path, settings, monkeypatch):
    asked = ["validation.share=0.25", "validation.every=2", "train.keep=9", "train.keep_best=2"]
    train(settings(*asked), tmp_path / "undisturbed", quiet=True)
    monkeypatch.setenv("FAKE_SIGNAL", "SIGTERM")
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "4")
    with pytest.raises(KeyboardInterrupt):
        train(settings(*asked), tmp_path / "run", quiet=True)
    assert [line["step"] for line in measured(tmp_path / "run")] == [2]
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(*asked), tmp_path / "run", quiet=True)
    assert timeless(measured(tmp_path / "run")) == timeless(measured(tmp_path / "undisturbed"))
    scores = [(tmp_path / run / "checkpoints" / "scores.json") for run in ("run", "undisturbed")]
    assert json.loads(scores[0].read_text()) == json.loads(scores[1].read_text())


@pytest.mark.usefixtures("fake_method")
def test_the_network_is_trained_on_after_it(settings, videos):
    config = settings("validation.share=0.25")
    aside = hold_aside(training_sequences(config.data.root), 0.25)[1]
    trainer, validator = trainer_of(config), validator_of(config, aside)
    trainer.task.train()
    validator.measure(trainer), validator.carried(trainer)
    assert all(module.training for module in trainer.task.modules())
    assert not any(p.is_inference() for p in trainer.task.parameters())


@pytest.mark.usefixtures("fake_method")
def test_it_may_be_changed_when_a_run_goes_on_but_not_the_share(tmp_path, settings, labelled):
    train(settings("validation.share=0.25"), tmp_path, quiet=True)
    more = [
        "validation.every=7",
        "validation.dataset=folder",
        f"validation.root={labelled}",
        "train.steps=14",
    ]
    train(settings("validation.share=0.25", *more), tmp_path, quiet=True)
    assert "val_jf" in measured(tmp_path)[-1]
    with pytest.raises(UserError, match=r"begun with validation\.share=0\.25"):
        train(settings("validation.share=0.5", "train.steps=15"), tmp_path, quiet=True)


# ---------------------------------------------------------------- a user's mistakes


@pytest.mark.usefixtures("fake_method")
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["validation.dataset=davis2017", "validation.root=/nowhere"], "/nowhere does not exist"),
        (["train.init=/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_told_before_the_video_is_counted(tmp_path, settings, monkeypatch, asked, words):
    monkeypatch.delattr(engine, "survey")
    with pytest.raises(UserError, match=words):
        train(settings(*asked), tmp_path, quiet=True)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.usefixtures("fake_method")
def test_a_share_that_leaves_no_video_is_told_before_the_first_step(tmp_path, settings):
    with pytest.raises(UserError, match="leaves none to train on"):
        train(settings("validation.share=0.99"), tmp_path, quiet=True)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.usefixtures("fake_method")
def test_a_labelled_set_without_truth_and_videos_too_short_are_told(tmp_path, settings, videos):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations" / "video0").mkdir(parents=True)
    (tmp_path / "JPEGImages" / "video0").symlink_to(videos / "video0")
    write_mask(tmp_path / "Annotations" / "video0" / "00000.png", discs((36, 36)))
    with pytest.raises(UserError, match="has no truth to score"):
        validator_of(settings("validation.dataset=folder", f"validation.root={tmp_path}"), [])
    short = tmp_path / "short" / "one"
    short.mkdir(parents=True)
    (short / "0.png").symlink_to(videos / "video0" / "00000.png")
    config = settings("validation.share=0.25")
    from mamp.config import Root

    aside = training_sequences([Root(path=short.parent)])
    with pytest.raises(UserError, match="too short for a clip of 2 frames"):
        validator_of(config, aside)
