"""A distilled network beside the encoder: what reads it, what leaves it alone, the script that makes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mamp
from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.mamp.encoder import build_model
from mamp.methods.mamp.propagator import MampPropagator
from mamp.methods.mamp.task import MampTask
from mamp.methods.mamp.trunk import MampTrunk, encode_views
from mamp.ops.folding import fold_batch_norms
from mamp.training.provenance import begin_with

SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8, "distilled": True}}


def method(*overrides: str):
    return config.load(None, overrides, base={"method": SMALL}).method


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model(method()).eval()


@pytest.fixture
def file(tmp_path: Path, network) -> Path:
    path = tmp_path / "weights.safetensors"
    weights.save(path, network.state_dict(), method=SMALL, provenance={"steps": 3})
    return path


def test_weights_that_have_it_are_read_in_one_pass_of_it(network):
    lab = torch.randn(3, 16, 24)
    with torch.inference_mode():
        found = encode_views(network, lab, method())
        expected = torch.nn.functional.normalize(network.distilled(lab[None]), dim=1)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("knob", "channels"), [("distilled=true", 8), ("distilled=false", 16), ("views=full", 8)]
)
def test_the_views_that_are_named_are_read(network, knob, channels):
    knobs = method(f"method.propagation.{knob}")
    assert encode_views(network, torch.randn(3, 16, 24), knobs).shape == (channels, 4, 6)


@pytest.mark.parametrize(
    ("preset", "reads"), [("tuned", True), ("fast", True), ("exact", False), ("published", False)]
)
def test_these_presets_read_it_and_the_others_load_weights_as_if_they_had_none(file, preset, reads):
    model = mamp.load(file, device="cpu", overrides=[f"method.preset={preset}"])
    assert model.config.method.reads_distilled() == model.config.method.encoder.distilled == reads
    assert any(name.startswith("distilled") for name in model.weights.state) == reads


def test_weights_without_it_are_read_in_two_views():
    assert not config.load(None, ["method.propagation.distilled=true"]).method.reads_distilled()


def test_the_encoder_itself_gives_what_it_gives_without(network):
    torch.manual_seed(0)
    alone = build_model(config.load(None, ["method.encoder.width=0.125", "method.encoder.features=8"]).method)
    x = torch.randn(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), alone.eval()(x))


def test_a_file_is_read_and_its_batch_norms_are_folded(file, network):
    found = weights.read(file)
    loaded = weights.load_model(found, config.load(None, base={"method": found.method}).method)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.modules())
    x = torch.randn(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.distilled(x), network.distilled(x), atol=1e-5, rtol=1e-4)


def test_training_begins_with_the_encoder_alone(file, network):
    own = ["method.encoder.width=0.125", "method.encoder.features=8", f"train.init={file}"]
    begun = config.load(None, own)
    model = build_model(begun.method)
    begin_with(model, begun)
    assert torch.equal(model.head.weight, network.head.weight)
    assert not any(name.startswith("distilled") for name in model.state_dict())


def test_training_is_not_of_the_distilled_network():
    with pytest.raises(UserError, match=r"method\.encoder\.distilled is of finished weights"):
        MampTask(config.load(None, ["method.encoder.distilled=true"]))


def test_a_wider_network_leaves_it_out(file, tmp_path):
    found = weights.widen(file, tmp_path / "wide.safetensors", width=0.25)
    assert not any(name.startswith("distilled") for name in found.state)
    weights.load_model(found, config.load(None, base={"method": found.method}).method)


def test_a_probe_reads_what_was_learnt(network):
    assert MampTrunk(network, method())(torch.rand(1, 3, 16, 24)).shape == (1, 16, 4, 6)


def test_the_script_adds_it_to_weights(tmp_path, repository, write_clip, file):
    write_clip(tmp_path / "videos", "ant", seed=1, frames=6, size=(40, 56))
    out, script = tmp_path / "out.safetensors", repository / "scripts" / "distil.py"
    settings = [f"data.root={tmp_path / 'videos'}", "data.size=32", "data.load_size=40", "train.batch=2"]
    command = [
        sys.executable,
        script,
        file,
        out,
        *settings,
        "data.workers=0",
        "--steps",
        "3",
        "--components",
        "2",
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "step 3: loss" in told
    before, after = weights.read(file), weights.read(out)
    own = [name for name in before.state if not name.startswith("distilled")]
    assert all(torch.equal(before.state[name], after.state[name]) for name in own)
    assert after.method["encoder"]["distilled"] and after.provenance["distilled"]["steps"] == 3
    knobs = config.load(None, base={"method": after.method}).method
    propagator = MampPropagator(fold_batch_norms(weights.load_model(after, knobs)), knobs)
    with torch.inference_mode():
        propagator.start(torch.rand(3, 24, 32), torch.zeros(1, 24, 32))
        assert propagator.step(torch.rand(3, 24, 32)).shape == (2, 24, 32)
