"""Published checkpoints of SSM-VOS through the converter."""

import json

import pytest
import torch

from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.ssm.published import from_published, our_name


@pytest.fixture
def published(golden):
    names = json.loads((golden / "ssm_state_dict.json").read_text())
    with torch.device("meta"):
        return {name: torch.zeros(shape) for name, shape in names.items()}


def test_the_network_is_told_from_names_and_shapes_and_computes_as_published(published):
    ours, method = from_published(published)
    network = method["network"]
    assert (network["backbone"], network["top_k"], network["decoder"], network["width"]) == (
        "resnet50",
        32,
        256,
        1,
    )
    assert (network["structure"], network["context"]) == ("reference", "swapped")
    assert len(ours) == len(published) == 368


def test_no_two_published_names_become_one(published):
    assert len({our_name(name) for name in published}) == len(published)


def test_names_left_over_are_told(published):
    with pytest.raises(UserError, match=r"surplus entries, first extra\.weight"):
        from_published({**published, "extra.weight": torch.zeros(1)})


def test_another_methods_checkpoint_is_refused():
    with pytest.raises(UserError, match="no SSM-VOS checkpoint"):
        from_published({"Encoder_M.conv1.weight": torch.zeros(1)})


def test_a_small_checkpoint_with_its_step_converts(tmp_path):
    network = {"backbone": "resnet18", "width": 0.125, "top_k": 8, "decoder": 8}
    method = config.load(
        None, ["method.name=ssm"], base={"method": {"name": "ssm", "network": network}}
    ).method
    from mamp.methods.ssm.network import build_model

    names = [
        (r"structure.group.", "pixel_corr.self_structure.group_conv.0."),
        ("structure.whole.", "pixel_corr.self_structure.global_conv.0."),
        ("structure.predict.", "pixel_corr.conv1x1."),
        ("context.block.conv1.", "GCB.RB.res.1."),
        ("context.block.conv2.", "GCB.RB.res.3."),
        ("context.", "GCB."),
        ("predict.", "classifier."),
    ]
    names += [(f"refine{n}.skip.", f"RM{n}.conv.") for n in (1, 2, 3)]
    for n in (1, 2, 3):
        for ours, theirs in (("skip_block", "RB1"), ("block", "RB2")):
            names += [(f"refine{n}.{ours}.conv{c}.", f"RM{n}.{theirs}.res.{r}.") for c, r in ((1, 1), (2, 3))]
    state = {}
    for name, value in build_model(method).state_dict().items():
        theirs = next((p + name.removeprefix(o) for o, p in names if name.startswith(o)), name)
        assert our_name(theirs) == name
        state[theirs] = value
    torch.save({"model_dict": state, "global_step": 81_000}, tmp_path / "80999.pt")
    found = weights.convert(tmp_path / "80999.pt", tmp_path / "out.safetensors", method="ssm")
    assert found.method["network"]["backbone"] == "resnet18"
    assert weights.read(tmp_path / "out.safetensors").provenance["published_entries"] == len(state)
