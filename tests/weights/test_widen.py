"""Wider networks made of narrow ones: the same function, and room to learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp import config, weights
from mamp.cli import main
from mamp.errors import UserError
from mamp.methods.mamp import build_model, widen

NARROW = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}


def method(width=0.125):
    return config.load(base={"method": {**NARROW, "encoder": {"width": width, "features": 8}}}).method


@pytest.fixture
def narrow(tmp_path):
    """A network whose batch norms have seen something, and its file."""
    torch.manual_seed(0)
    model = build_model(method())
    for _ in range(2):
        model(torch.rand(2, 3, 32, 32))
    weights.save(tmp_path / "narrow.safetensors", model.state_dict(), method=NARROW, provenance={"steps": 3})
    return model.eval(), tmp_path / "narrow.safetensors"


def as_network(state, width):
    model = build_model(method(width))
    model.load_state_dict(state)
    return model.eval()


@settings(max_examples=8, deadline=None)
@given(channels=st.integers(9, 24), seed=st.integers(0, 9))
def test_without_noise_the_function_is_the_same_at_any_width(channels, seed):
    torch.manual_seed(seed)
    small = build_model(method()).eval()
    for name, value in small.state_dict().items():
        if "running" in name:
            value.copy_(torch.rand_like(value) + 0.5)
    shapes = {name: v.shape for name, v in build_model(method(channels / 64)).state_dict().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widen, "SPREAD", 0)
        state = widen.widened(small.state_dict(), shapes, seed=seed)
    x = torch.rand(1, 3, 24, 32)
    with torch.inference_mode():
        torch.testing.assert_close(as_network(state, channels / 64)(x), small(x), atol=1e-5, rtol=1e-4)


def test_copies_differ_and_features_hardly(narrow, tmp_path):
    small, path = narrow
    state = weights.widen(path, tmp_path / "wide.safetensors", width=0.25).state
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        likeness = torch.cosine_similarity(as_network(state, 0.25)(x), small(x), dim=1)
    assert 0.98 < likeness.mean() < 1
    filters = state["layer1.0.left.0.weight"].flatten(1)
    assert torch.cdist(filters, filters).fill_diagonal_(1).min() > 0


def test_both_copies_learn_something_of_their_own(narrow, tmp_path):
    state = weights.widen(narrow[1], tmp_path / "wide.safetensors", width=0.25).state
    model = as_network(state, 0.25)
    model(torch.rand(1, 3, 32, 32)).square().sum().backward()
    gradient = model.layer2[0].left[0].weight.grad
    one, other = gradient[: len(gradient) // 2], gradient[len(gradient) // 2 :]
    assert not torch.allclose(one, other, rtol=1e-2)


def test_the_file_says_where_it_came_from_and_is_trained_on(narrow, tmp_path, capsys):
    target = tmp_path / "wide.safetensors"
    assert main(["weights", "widen", str(narrow[1]), str(target), "--width", "0.25", "--seed", "4"]) == 0
    assert f"train.init={target} method.encoder.width=0.25" in capsys.readouterr().out
    found = weights.read(target)
    assert found.provenance == {
        "widened": "from width 0.125, seed 4",
        "init": {"provenance": {"steps": 3}},
    }
    weights.load_model(found, method(0.25))
    again = weights.widen(narrow[1], tmp_path / "again.safetensors", width=0.25, seed=4).state
    other = weights.widen(narrow[1], tmp_path / "other.safetensors", width=0.25, seed=5).state
    name = "layer1.0.left.0.weight"
    assert torch.equal(found.state[name], again[name]) and not torch.equal(found.state[name], other[name])


@pytest.mark.parametrize(
    ("width", "words"),
    [
        ("0.125", "is of width 0.125, which --width 0.125 does not widen; give a larger one"),
        ("9", "width"),
        ("nan", "width"),
    ],
)
def test_what_is_no_wider_or_too_wide_is_refused(narrow, tmp_path, capsys, width, words):
    target = tmp_path / "wide.safetensors"
    assert main(["weights", "widen", str(narrow[1]), str(target), "--width", width]) == 2
    assert words in capsys.readouterr().err and not target.exists()


def test_another_method_is_refused(tmp_path):
    weights.save(tmp_path / "w.safetensors", {}, method={"name": "stm"}, provenance={})
    with pytest.raises(UserError, match="stm"):
        weights.widen(tmp_path / "w.safetensors", tmp_path / "wide.safetensors", width=2)
