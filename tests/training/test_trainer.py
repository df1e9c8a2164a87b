"""Knobs of a step: skipping, averaging, parts, what a run begins with."""

from __future__ import annotations

import json

import pytest
import torch
from runs import curve, equal, last_state, log, same_end, weights

from mamp import config
from mamp import weights as stored
from mamp.core.errors import TryAgain, UserError
from mamp.methods.stm.task import StmTask
from mamp.training import distributed
from mamp.training.engine import train
from mamp.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fake_method")

# ---------------------------------------------------------------- steps that are left out


def test_a_step_that_is_not_finite_leaves_the_network_as_it_was(tmp_path, settings, monkeypatch, capsys):
    short = settings("train.steps=3", "train.schedule=constant")
    train(short, tmp_path / "three", quiet=True)
    monkeypatch.setenv("FAKE_NAN_AT", "4")
    train(
        short.model_copy(update={"train": short.train.model_copy(update={"steps": 4})}),
        tmp_path / "four",
        quiet=True,
    )
    assert "left out step 4: loss nan" in capsys.readouterr().err
    one, other = last_state(tmp_path / "three"), last_state(tmp_path / "four")
    floats = [name for name, value in one["model"].items() if value.is_floating_point()]
    assert floats and all(torch.equal(one["model"][name], other["model"][name]) for name in floats)
    assert equal(one["optimizer"]["state"], other["optimizer"]["state"])
    assert log(tmp_path / "four")[-1]["skipped"] == 1
    assert log(tmp_path / "four")[-1]["loss"] == log(tmp_path / "three")[-1]["loss"]


def test_a_line_of_steps_that_were_all_left_out_has_no_loss(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("FAKE_NAN_AT", "3 4")
    train(settings(), tmp_path, quiet=True)
    assert {line["step"]: line["loss"] is None for line in log(tmp_path)}[4]


def test_too_many_in_a_row_or_in_all_stop_the_run(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("FAKE_NAN_AT", "3 5 6 7")
    with pytest.raises(UserError, match=r"broke down at step 7: .* 3 such steps in a row and 4 in all"):
        train(settings("train.max_skipped=2"), tmp_path / "row", quiet=True)
    monkeypatch.setenv("FAKE_NAN_AT", " ".join(str(n) for n in range(2, 30, 2)))
    with pytest.raises(UserError, match="1 such steps in a row and 11 in all"):
        train(settings("train.max_skipped=1", "train.steps=40"), tmp_path / "all", quiet=True)


def test_the_count_of_steps_left_out_outlives_an_interruption(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("FAKE_NAN_AT", "3 4")
    monkeypatch.setenv("FAKE_SIGNAL", "SIGUSR1")
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "4")
    with pytest.raises(TryAgain):
        train(settings("train.max_skipped=2"), tmp_path, quiet=True)
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    monkeypatch.setenv("FAKE_NAN_AT", "1")  # the first step of the process that goes on
    with pytest.raises(UserError, match="broke down at step 5: .* 3 such steps in a row"):
        train(settings("train.max_skipped=2"), tmp_path, quiet=True)


@pytest.fixture
def scaled(monkeypatch):
    """The scaler of fp16, which training on a CPU has not; the numbers stay float32."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device, enabled=True))


def bad_gradients(monkeypatch, steps):
    monkeypatch.setenv("FAKE_BAD_GRADIENT_AT", " ".join(map(str, steps)))


def test_a_gradient_that_is_not_finite_leaves_the_network_as_it_was(tmp_path, settings, monkeypatch):
    bad_gradients(monkeypatch, [3, 4])
    train(settings(), tmp_path, quiet=True)
    assert log(tmp_path)[-1]["skipped"] == 2
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


@pytest.mark.usefixtures("scaled")
def test_the_scaler_of_fp16_may_search_and_its_state_is_kept(tmp_path, settings, monkeypatch):
    bad_gradients(monkeypatch, [3, 4, 5])
    train(settings("train.max_skipped=1"), tmp_path, quiet=True)
    assert last_state(tmp_path)["scaler"]["scale"] == 65536 / 2**3
    assert log(tmp_path)[-1]["skipped"] == 0


@pytest.mark.usefixtures("scaled")
def test_gradients_that_are_finite_at_no_scale_end_the_run(tmp_path, settings, monkeypatch):
    bad_gradients(monkeypatch, range(1, 40))
    with pytest.raises(UserError, match=r"broke down by step 18: .*fp16 no scale .* train\.amp=bf16"):
        train(settings("train.steps=40"), tmp_path, quiet=True)


# ---------------------------------------------------------------- averaged weights


def test_averaged_weights_are_what_the_run_gives_and_a_checkpoint_stands_for(tmp_path, settings, undisturbed):
    train(settings("train.ema=0.5"), tmp_path, quiet=True)
    state = last_state(tmp_path)
    assert equal(state["model"], last_state(undisturbed)["model"]), "the average changes no step"
    assert equal(weights(tmp_path), dict(state["ema"]["weights"]))
    assert not torch.equal(weights(tmp_path)["0.weight"], weights(undisturbed)["0.weight"])
    assert torch.equal(weights(tmp_path)["1.running_mean"], weights(undisturbed)["1.running_mean"])
    assert equal(stored.read(tmp_path / "checkpoints" / "step-00000012.pt").state, weights(tmp_path))


def test_the_average_is_the_sum_it_says(tmp_path, settings):
    average = _begun_bias(settings, tmp_path / "0")
    for step in (1, 2, 3):
        run = tmp_path / f"{step}"
        train(settings("train.ema=0.25", f"train.steps={step}", "train.schedule=constant"), run, quiet=True)
        decay = min(0.25, step / (9 + step))
        average = decay * average + (1 - decay) * last_state(run)["model"]["4.bias"]
    torch.testing.assert_close(weights(tmp_path / "3")["4.bias"], average)


def _begun_bias(settings, run):
    """The bias that the network begins with: after a step that is next to none."""
    train(settings("train.steps=1", "train.lr=1e-30"), run, quiet=True)
    return weights(run)["4.bias"]


def test_an_interrupted_run_with_average_parts_and_clipping_ends_bit_for_bit(tmp_path, settings, monkeypatch):
    knobs = ("train.ema=0.9", "train.accumulate=2", "train.clip_norm=0.1", "train.weight_decay=0.1")
    train(settings(*knobs), tmp_path / "undisturbed", quiet=True)
    monkeypatch.setenv("FAKE_SIGNAL", "SIGUSR2")
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "9")  # the first part of step 5
    with pytest.raises(TryAgain):
        train(settings(*knobs), tmp_path / "run", quiet=True)
    assert last_state(tmp_path / "run")["step"] == 5
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(*knobs), tmp_path / "run", quiet=True)
    assert same_end(tmp_path / "run", tmp_path / "undisturbed")
    assert curve(tmp_path / "run") == curve(tmp_path / "undisturbed")


# ---------------------------------------------------------------- parts, compile, beginning


def test_a_batch_that_does_not_divide_is_refused(tmp_path, settings):
    with pytest.raises(
        UserError, match=r"train\.batch=2 does not divide .* train\.accumulate=3 .* multiple of 3"
    ):
        train(settings("train.accumulate=3"), tmp_path / "run", quiet=True)


def test_a_compiled_task_has_the_names_of_a_plain_one(tmp_path, settings, monkeypatch, undisturbed):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: asked.append(type(self).__name__))
    train(settings("train.compile=true"), tmp_path, quiet=True)
    assert asked == ["FakeTask"]
    assert last_state(tmp_path).keys() == last_state(undisturbed).keys()
    assert equal(weights(tmp_path), weights(undisturbed))


def test_two_kinds_of_weight_decay_at_once_are_refused(tmp_path):
    asked = [
        "method.name=stm",
        "method.network={backbone: resnet18, width: 0.125}",
        "method.training.weight_decay=0.1",
    ]
    with distributed.join("cpu", timeout=60) as ranks:
        one, both = (config.load(None, [*asked, *more]) for more in ([], ["train.weight_decay=0.1"]))
        optimizer = Trainer(StmTask(one), one, ranks, steps=1, provenance={}).optimizer
        assert "weight_decay" in optimizer.param_groups[0]
        with pytest.raises(UserError, match="are both set"):
            Trainer(StmTask(both), both, ranks, steps=1, provenance={})


def test_a_run_begins_with_the_weights_it_is_told_and_says_so_later(tmp_path, settings, undisturbed):
    begun = settings(f"train.init={undisturbed}", "train.steps=1", "train.lr=1e-30")
    train(begun, tmp_path, quiet=True)
    names = ("0.weight", "4.bias")
    assert all(torch.equal(weights(tmp_path)[name], weights(undisturbed)[name]) for name in names)
    init = stored.read(tmp_path).provenance["init"]
    assert init["weights"] == "weights.safetensors" and len(init["sha256"]) == 64
    assert init["provenance"] == stored.read(undisturbed).provenance
    assert str(undisturbed) not in json.dumps(stored.read(tmp_path).provenance)


def test_what_a_run_began_with_is_known_after_it_went_on(tmp_path, settings, undisturbed):
    train(settings(f"train.init={undisturbed}"), tmp_path, quiet=True)
    train(settings(f"train.init={undisturbed}", "train.steps=13"), tmp_path, quiet=True)
    assert stored.read(tmp_path).provenance["init"]["provenance"]["step"] == 12


def test_weights_that_do_not_fit_are_refused(tmp_path, settings, undisturbed):
    state = {**weights(undisturbed), "0.weight": torch.zeros(5, 3, 3, 3)}
    path = tmp_path / "other.safetensors"
    stored.save(path, state, method=settings().method.model_dump(mode="json"), provenance={})
    for init, words in (
        (path, "0.weight is .5, 3, 3, 3. there"),
        ("nowhere", "weights nowhere do not exist"),
    ):
        with pytest.raises(UserError, match=words):
            train(settings(f"train.init={init}"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["[1, 0.9]", "[-0.1, 0.9]", "[0.9]"])
def test_averages_of_adam_are_below_one(settings, value):
    with pytest.raises(UserError, match=r"train\.betas"):
        settings(f"train.betas={value}")


# ---------------------------------------------------------------- the loss one should see


def test_a_recipe_tells_the_loss_one_should_see(tmp_path, settings, capsys):
    knobs = "train.expect_loss={0.01: 100, 0.45: 0.1, 1: 0.1}", "train.expect_within=0.9"
    train(settings(*knobs), tmp_path)
    told = [line for line in capsys.readouterr().err.splitlines() if "expects" in line]
    seen = {line["step"]: line["loss"] for line in log(tmp_path)}
    assert told[0].startswith(
        f"warning: loss after 0.01 of the steps: {seen[1]:.4g}, and this recipe expects 100"
    )
    assert f"0.45 of the steps: {seen[6]:.4g}, and this recipe expects 0.1" in told[1]
    assert f"after 1 of the steps: {seen[12]:.4g}" in told[2] and len(told) == 3


def test_a_loss_far_from_the_recipe_s_is_warned_of_even_when_quiet(tmp_path, settings, capsys):
    knobs = "train.expect_loss={0.5: 0.5, 1: 100}", "train.expect_within=0.95"
    train(settings("train.steps=4", *knobs), tmp_path, quiet=True)
    assert capsys.readouterr().err.count("this recipe expects") == 1


def test_a_run_of_another_length_is_not_compared(tmp_path, settings, capsys):
    knobs = "train.steps=4", "train.expect_loss={0.5: 100}", "train.expect_steps={}"
    for steps, told in ((4, 1), (5, 0)):
        train(settings(*knobs[:2], knobs[2].format(steps)), tmp_path / str(steps), quiet=True)
        assert capsys.readouterr().err.count("this recipe expects") == told


def test_a_part_of_the_steps_is_between_nothing_and_all(settings):
    with pytest.raises(UserError, match=r"train\.expect_loss.*needs parts"):
        settings("train.expect_loss={10: 0.3}")
