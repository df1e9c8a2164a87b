"""Runs of STM by the engine: what they begin with, and what a run that goes on has of them."""

import pytest
import torch
from runs import last_state, same_end

from mamp import config
from mamp.loading.clips import Curriculum
from mamp.methods.stm.network import Stm
from mamp.training.engine import train

SMALL = "method.network={backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8}"


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_clip):
    """Two videos of ten frames with masks."""
    root = tmp_path_factory.mktemp("stm")
    for name, seed in (("ant", 1), ("bee", 2)):
        write_clip(root, name, seed=seed, frames=10, size=(32, 48))
    return root


@pytest.fixture
def settings(world):
    """settings(key=value, ...): one step to an epoch, frames one further apart in each."""
    fixed = [
        "method.name=stm",
        SMALL,
        f"data.root={world}",
        "data.fit=letterbox",
        "data.box=[32, 48]",
        "data.sampling=skip",
        "data.max_skip=[1]",
        "data.skip_growth=[1]",
        "data.skip_epochs=1",
        "data.workers=0",
        "data.affine.rotate=10",
        "train.batch=2",
        "train.schedule=constant",
    ]
    return lambda *more: config.load(None, [*fixed, *more])


@pytest.fixture
def seen(monkeypatch):
    """The reach of each epoch whose clips were drawn."""
    reach, ask = {}, Curriculum.max_skip

    def spy(curriculum, root, epoch):
        reach[epoch] = ask(curriculum, root, epoch)
        return reach[epoch]

    monkeypatch.setattr(Curriculum, "max_skip", spy)
    return reach


def test_a_run_that_goes_on_has_the_same_reach_and_the_same_end(tmp_path, settings, seen):
    train(settings("train.steps=4"), tmp_path / "whole", device="cpu", quiet=True)
    assert [seen[epoch] for epoch in range(4)] == [1, 2, 3, 4]
    train(settings("train.steps=2"), tmp_path / "halves", device="cpu", quiet=True)
    seen.clear()
    train(settings("train.steps=4"), tmp_path / "halves", device="cpu", quiet=True)
    assert [*seen.items()][:2] == [(2, 3), (3, 4)]
    assert same_end(tmp_path / "whole", tmp_path / "halves")


def test_a_run_begins_with_the_named_weights_and_goes_on_without_them(tmp_path, settings, capsys):
    torch.manual_seed(5)
    source = Stm(settings().method.network)
    torch.save(source.state_dict(), tmp_path / "trunk.pth")
    asked = [f"method.training.init={tmp_path / 'trunk.pth'}", "train.lr=1e-9", "data.repeat=[2]"]
    asked += ["validation.share=0.5"]
    train(settings(*asked, "train.steps=1"), tmp_path / "run", device="cpu")
    count = len(source.state_dict())
    assert capsys.readouterr().err.count(f"{count} of the network's {count} entries begin as in") == 1
    learnt = last_state(tmp_path / "run")["model"]["query_head.key.weight"]
    assert torch.allclose(learnt, source.query_head.key.weight, atol=1e-6)
    (tmp_path / "trunk.pth").unlink()
    train(settings(*asked, "train.steps=2"), tmp_path / "run", device="cpu", quiet=True)
    assert last_state(tmp_path / "run")["step"] == 2
