"""What a GPU alone does in a step: fp16 with its scaler, the fused optimiser, pinned memory."""

from __future__ import annotations

import pytest
import torch
from runs import equal, last_state, log, weights

from mamp.training.engine import train

pytestmark = [
    pytest.mark.usefixtures("fake_method"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_a_run_that_stops_half_way_ends_as_an_undisturbed_one(tmp_path, settings, amp):
    knobs = (f"train.amp={amp}", "train.schedule=constant", "data.workers=2")
    train(settings(*knobs), tmp_path / "undisturbed", device="cuda", quiet=True)
    train(settings(*knobs, "train.steps=6"), tmp_path / "run", device="cuda", quiet=True)
    train(settings(*knobs), tmp_path / "run", device="cuda", quiet=True)
    one, other = last_state(tmp_path / "undisturbed"), last_state(tmp_path / "run")
    assert one["step"] == other["step"] == 12 and equal(one["scaler"], other["scaler"])
    assert bool(one["scaler"]) == (amp == "fp16")
    for name, value in one["model"].items():
        torch.testing.assert_close(other["model"][name], value)


@pytest.mark.parametrize("amp", ["off", "fp16"])
def test_a_step_that_is_not_finite_leaves_the_network_as_it_was(tmp_path, settings, monkeypatch, amp):
    short = (f"train.amp={amp}", "train.schedule=constant")
    train(settings(*short, "train.steps=3"), tmp_path / "three", device="cuda", quiet=True)
    monkeypatch.setenv("FAKE_NAN_AT", "4")
    train(settings(*short, "train.steps=4"), tmp_path / "four", device="cuda", quiet=True)
    assert log(tmp_path / "four")[-1]["skipped"] == 1
    for name, value in weights(tmp_path / "three").items():
        if value.is_floating_point():  # not the count of batches
            torch.testing.assert_close(weights(tmp_path / "four")[name], value)
