"""`mamp weights widen`: what it writes and tells, and what it refuses."""

import pytest
import torch

from mamp import __version__, config, weights
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.mamp.encoder import build_model
from mamp.training.provenance import begin_with

NARROW = {"name": "mamp", "encoder": {"width": 0.125, "features": 8, "similarity": "dot"}}


def write(path, method):
    torch.manual_seed(0)
    model = build_model(config.load(base={"method": method}).method)
    weights.save(path, model.state_dict(), method=method, provenance={"steps": 3})
    return path


@pytest.fixture
def narrow(tmp_path):
    return write(tmp_path / "narrow.safetensors", NARROW)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "wide.safetensors"


def test_what_it_tells_to_type_is_taken_by_training(narrow, target, capsys):
    assert main(["weights", "widen", str(narrow), str(target), "--width", "0.2"]) == 0
    asked = capsys.readouterr().out.split("train on with")[1].split()
    assert "method.encoder.similarity=dot" in asked and "method.encoder.features=8" in asked
    resolved = config.load(None, asked)
    begun = build_model(resolved.method)
    begin_with(begun, resolved)
    assert torch.equal(begun.stem[0].weight, weights.read(target).state["stem.0.weight"])


def test_the_file_says_where_it_came_from(narrow, target):
    found = weights.widen(narrow, target, width=0.25, seed=4)
    assert found.provenance == weights.read(target).provenance
    assert found.provenance == {
        "mamp": __version__,
        "widened": "from width 0.125, seed 4",
        "init": {"provenance": {"steps": 3}},
    }


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(narrow, target):
    one, again, other = (weights.widen(narrow, target, width=0.25, seed=s).state for s in (4, 4, 5))
    name = "layer1.0.left.0.weight"
    assert torch.equal(one[name], again[name]) and not torch.equal(one[name], other[name])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--width", "0.125"], "is of width 0.125, which --width 0.125 does not widen; give a larger one"),
        (["--width", "0.126"], "which --width 0.126 does not widen"),
        (["--width", "9"], "method.encoder.width"),
        (["--width", "nan"], "method.encoder.width"),
        (["--seed", f"{2**63}"], "is not between 0 and"),
    ],
)
def test_what_cannot_be_done_is_refused(narrow, target, capsys, asked, words):
    assert main(["weights", "widen", str(narrow), str(target), *asked]) == 2
    assert words in capsys.readouterr().err and not target.exists()


def test_a_network_without_the_layers_of_a_wide_one_is_refused(tmp_path, target):
    source = write(tmp_path / "w.safetensors", {"name": "mamp", "encoder": {"width": 0.03, "features": 8}})
    with pytest.raises(UserError, match="too narrow to be widened"):
        weights.widen(source, target, width=1)


def test_another_method_is_refused(tmp_path, target):
    weights.save(tmp_path / "w.safetensors", {}, method={"name": "stm"}, provenance={})
    with pytest.raises(UserError, match="method stm cannot be widened"):
        weights.widen(tmp_path / "w.safetensors", target, width=2)


def test_a_name_by_which_weights_are_not_known_is_refused(narrow, tmp_path):
    with pytest.raises(UserError, match=r"wide.pt does not end in .safetensors"):
        weights.widen(narrow, tmp_path / "wide.pt", width=0.25)
