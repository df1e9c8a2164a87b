"""Published checkpoints of STM and STM-Cycle through the converter."""

import json

import pytest
import torch

from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.stm.published import from_published, our_name


def published(golden, code):
    names = json.loads((golden / "stm_state_dict.json").read_text())[code]
    return {name: torch.zeros(shape) for name, shape in names.items()}


@pytest.mark.parametrize(
    ("code", "backbone", "second"),
    [("resnet18", "resnet18", "rest"), ("resnet50", "resnet50", "rest"), ("original", "resnet50", "others")],
)
def test_the_network_is_told_from_names_and_shapes(golden, code, backbone, second):
    state = {name.removeprefix("module."): value for name, value in published(golden, code).items()}
    ours, method = from_published(state)
    assert (method["network"]["backbone"], method["network"]["second"]) == (backbone, second)
    assert (method["network"]["key"], method["network"]["value"], method["network"]["width"]) == (
        128,
        512,
        1.0,
    )
    assert len(ours) == len(state) - 4  # the pixels' means and deviations are constants here


def test_an_old_file_may_lack_the_counts_of_batches(golden):
    state = {n: v for n, v in published(golden, "resnet18").items() if not n.endswith("num_batches_tracked")}
    ours, _ = from_published(state)
    assert "memory_encoder.bn1.num_batches_tracked" in ours


def test_a_checkpoint_with_epoch_and_skips_converts_and_says_its_size(tmp_path, golden):
    state = published(golden, "resnet18")
    torch.save({"epoch": 3, "state_dict": state, "max_skip": [5, 3]}, tmp_path / "cycle.pth.tar")
    found = weights.convert(tmp_path / "cycle.pth.tar", tmp_path / "out.safetensors", method="stm")
    assert found.provenance["published_entries"] == len(state)
    again = weights.read(tmp_path / "out.safetensors")
    method = config.load(None, ["method.preset=published"], base={"method": again.method}).method
    assert method.network.backbone == "resnet18"
    assert method.propagation.fit == "letterbox"


def test_names_left_over_are_told(golden):
    state = {**published(golden, "resnet18"), "Decoder.extra.weight": torch.zeros(1)}
    with pytest.raises(UserError, match="decoder.extra.weight"):
        from_published(state)


def test_another_methods_checkpoint_is_refused():
    with pytest.raises(UserError, match="no STM checkpoint"):
        from_published({"feature_extraction.conv1.0.weight": torch.zeros(1)})


def test_no_two_published_names_become_one(golden):
    names = list(published(golden, "resnet50"))
    assert len({our_name(name) for name in names}) == len(names)
