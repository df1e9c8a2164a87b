"""Published checkpoints of AFB-URR through the converter."""

import json

import pytest
import torch

from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.afb_urr.published import from_published, our_name


@pytest.fixture
def published(golden):
    names = json.loads((golden / "afb_urr_state_dict.json").read_text())
    return {name: torch.zeros(shape) for name, shape in names.items()}


def test_the_network_is_told_from_names_and_shapes(published):
    ours, method = from_published(published)
    assert method["network"] == {
        "backbone": "resnet50",
        "width": 1.0,
        "key": 128,
        "value": 512,
        "decoder": 256,
        "local": 32,
        "colour": "rgb",
    }
    assert len(ours) == len(published) - 4  # the pixels' means and deviations are constants here


def test_a_training_checkpoint_converts(tmp_path, published):
    torch.save(
        {"epoch": 3, "model": published, "optimizer": {}, "loss": 0.5, "seed": 1}, tmp_path / "final.pth"
    )
    found = weights.convert(tmp_path / "final.pth", tmp_path / "out.safetensors", method="afb_urr")
    assert found.provenance["published_entries"] == 562
    again = weights.read(tmp_path / "out.safetensors")
    method = config.load(None, ["method.preset=published"], base={"method": again.method}).method
    assert method.propagation.late == "rebuild"


@pytest.mark.parametrize("shape", [(), (0, 3, 7, 7), (1024, 3, 7, 7)])
def test_shapes_that_no_network_has_are_refused(tmp_path, published, shape):
    torch.save({**published, "encoder_m.conv1.weight": torch.zeros(shape)}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth has entries of shapes"):
        weights.convert(tmp_path / "odd.pth", tmp_path / "out.safetensors", method="afb_urr")
    assert not (tmp_path / "out.safetensors").exists()


def test_names_left_over_are_told(published):
    with pytest.raises(UserError, match="decoder.extra.weight"):
        from_published({**published, "decoder.extra.weight": torch.zeros(1)})


def test_another_methods_checkpoint_is_refused():
    with pytest.raises(UserError, match="no AFB-URR checkpoint"):
        from_published({"feature_extraction.conv1.0.weight": torch.zeros(1)})


def test_no_two_published_names_become_one(published):
    assert len({our_name(name) for name in published}) == len(published)
