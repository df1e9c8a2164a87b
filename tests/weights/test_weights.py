"""Files of weights: round trip, what is refused, published checkpoints."""

import json

import pytest
import torch

from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.mamp.encoder import build_model

SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}


def small():
    return config.load(None, base={"method": SMALL}).method


def write(path):
    torch.manual_seed(0)
    model = build_model(small())
    weights.save(path, model.state_dict(), method=SMALL, provenance={"steps": 3})
    return model


def test_weights_come_back_with_config_and_provenance(tmp_path):
    model = write(tmp_path / "w.safetensors")
    found = weights.read(tmp_path / "w.safetensors")
    assert found.method == SMALL and found.provenance == {"steps": 3}
    assert all(torch.equal(value, found.state[name]) for name, value in model.state_dict().items())
    x = torch.randn(1, 3, 24, 24)
    with torch.inference_mode():
        torch.testing.assert_close(
            weights.load_model(found, small())(x), model.eval()(x), atol=1e-5, rtol=1e-4
        )


def test_a_run_folder_stands_for_its_weights(tmp_path):
    write(tmp_path / "weights.safetensors")
    assert weights.read(tmp_path).provenance == {"steps": 3}


def test_of_a_run_that_is_not_finished_the_newest_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for step in (9, 10):
        (tmp_path / "checkpoints" / f"step-{step:08d}.pt").touch()
    with pytest.raises(UserError, match=r"is not finished.*name its .*step-00000010\.pt"):
        weights.read(tmp_path)


def test_half_precision_weights_load_as_float32(tmp_path):
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in build_model(small()).state_dict().items()
    }
    weights.save(tmp_path / "w.safetensors", state, method=SMALL, provenance={})
    model = weights.load_model(weights.read(tmp_path / "w.safetensors"), small())
    assert next(model.parameters()).dtype == torch.float32


def test_another_width_is_named(tmp_path):
    write(tmp_path / "w.safetensors")
    wide = config.load(None, ["method.encoder.width=0.25"]).method
    with pytest.raises(UserError, match=r"does not fit.*width is 0\.125"):
        weights.load_model(weights.read(tmp_path / "w.safetensors"), wide)


def test_a_truncated_file_is_named(tmp_path):
    write(tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="w.safetensors are damaged"):
        weights.read(tmp_path / "w.safetensors")


def test_missing_weights_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="nothing.pt do not exist"):
        weights.read(tmp_path / "nothing.pt")
    with pytest.raises(UserError, match="is a folder without weights.safetensors"):
        weights.read(tmp_path)


def test_a_pickle_with_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"model": Evil(), "method": SMALL}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        weights.read(tmp_path / "evil.pt")


def published(golden):
    shapes = json.loads((golden / "mamp_state_dict.json").read_text())
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_a_published_checkpoint_converts_with_every_name(tmp_path, golden):
    torch.save({"epoch": 3, "state_dict": published(golden)}, tmp_path / "mamp.pt")
    found = weights.convert(tmp_path / "mamp.pt", tmp_path / "out.safetensors")
    assert len(found.state) == 116
    again = weights.read(tmp_path / "out.safetensors")
    assert again.method["encoder"] == {"width": 1.0, "features": 64, "lab": "opencv", "similarity": "dot"}
    weights.load_model(again, config.load(None, base={"method": again.method}).method)


def test_a_checkpoint_with_a_missing_entry_is_refused_and_nothing_is_written(tmp_path, golden):
    state = published(golden)
    del state["feature_extraction.layer3.0.left.0.weight"]
    torch.save({"state_dict": state}, tmp_path / "mamp.pt")
    with pytest.raises(UserError, match="layer3.0.left.0.weight"):
        weights.convert(tmp_path / "mamp.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_copy_in_half_precision_is_half_as_large_and_keeps_all_else(tmp_path):
    write(tmp_path / "weights.safetensors")
    weights.copy(tmp_path, tmp_path / "half.safetensors", half=True, licence="for research")
    found = weights.read(tmp_path / "half.safetensors")
    assert found.method == SMALL and found.provenance == {"steps": 3, "licence": "for research"}
    whole = weights.read(tmp_path)
    assert all(
        torch.equal(value.half() if value.is_floating_point() else value, found.state[name])
        for name, value in whole.state.items()
    )
    assert found.path.stat().st_size < 0.6 * whole.path.stat().st_size


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    weights.save(tmp_path / "w.safetensors", {"a": torch.tensor([1e6])}, method=SMALL, provenance={})
    with pytest.raises(UserError, match="a is too large for half precision; leave out --half"):
        weights.copy(tmp_path / "w.safetensors", tmp_path / "half.safetensors", half=True)
    assert not (tmp_path / "half.safetensors").exists()


def test_shipped_weights_serve_where_none_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="no weights of method mamp come with the package"):
        weights.default_for("mamp")
    write(tmp_path / "mamp-small.safetensors")
    assert weights.read(weights.default_for("mamp")).method == SMALL
    with pytest.raises(UserError, match="no weights of method stm"):
        weights.default_for("stm")


def test_both_networks_ship():
    assert weights.names() == ["mamp-resnet18", "mamp-small"]


@pytest.mark.parametrize("name", weights.names())
def test_what_ships_is_small_and_has_a_licence(name):
    found = weights.read(name)
    assert found.path.stat().st_size <= 11e6
    assert "CC BY-NC" in found.provenance["licence"]


@pytest.mark.parametrize("name", weights.names())
def test_what_ships_has_a_card_that_names_its_commit(name):
    found = weights.read(name)
    card = found.path.with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n") and found.provenance["commit"][:7] in card


@pytest.mark.parametrize("name", weights.names())
def test_what_ships_computes_features(name):
    found = weights.read(name)
    method = config.load(base={"method": found.method}).method
    with torch.inference_mode():
        features = weights.load_model(found, method)(torch.rand(1, 3, 32, 32))
    assert features.shape == (1, 64, 8, 8) and features.isfinite().all() and features.std() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named_and_not_used(tmp_path, value, capsys):
    from mamp.cli import main
    from mamp.segmentation.model import load

    path = tmp_path / "w.safetensors"
    write(path)
    found = weights.read(path)
    name = next(n for n, v in found.state.items() if v.is_floating_point() and v.dim() == 4)
    found.state[name].view(-1)[3] = value
    weights.save(path, found.state, method=found.method, provenance={})
    assert main(["weights", "info", str(path)]) == 0
    assert f"1 value is NaN or infinite, first in {name}" in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"1 value is NaN or infinite, first in {name}"):
        load(path, device="cpu")
