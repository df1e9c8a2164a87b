"""Every method on a pretend GPU: it runs there, without float64 as on Apple's, computes what the CPU does,
and seldom waits.
"""

from __future__ import annotations

import pytest
import torch
from counting import frame_costs, step_costs, worst
from small import LEARNING, PROPAGATING, SHRUNK, clips, life, segmenter, trainer

from mamp import methods

SIZE = (64, 96)
# at most this many in a steady frame, with the copy of the label map that every frame ends with
STALLS = 2
# operations in a steady frame of this size and in a training step, a tenth above what was counted
OPERATIONS = {"mamp": 1400, "stm": 250, "afb_urr": 500, "ssm": 280, "probe": 400, "flow": 300}
STEP_STALLS = 2
STEP_OPERATIONS = {"mamp": 1100, "stm": 3400, "afb_urr": 2600, "ssm": 2100}
UPLOADS = 10


def more(label: str) -> tuple[str, ...]:
    return SHRUNK.get(label.split()[0], ())


def test_every_method_is_here():
    assert {label.split()[0] for label in PROPAGATING} == set(methods.METHODS)
    assert {label.split()[0] for label in LEARNING} == set(methods.having("task"))


@pytest.mark.parametrize("label", PROPAGATING)
def test_the_contract_holds_there_and_gives_what_the_cpu_gives(singles, raft, label):
    found = {}
    for device in ("cpu", "cuda"):
        carrier = segmenter(label, device, raft, *more(label))
        with torch.inference_mode():
            found[device] = life(carrier._build(), SIZE, device)
    for there, here in zip(found["cuda"], found["cpu"], strict=True):
        assert there.shape == here.shape
        torch.testing.assert_close(there.sum(0), torch.ones(SIZE), atol=1e-4, rtol=0)
        # a different order of summation may turn a tie
        assert ((there - here).abs() > 1e-3).float().mean() < 0.01


@pytest.mark.parametrize("label", PROPAGATING)
def test_a_steady_frame_seldom_waits(gpu, raft, label):
    cost = worst(frame_costs(gpu, label, raft, *more(label), size=SIZE, warm=1, count=2))
    assert cost.stalls <= STALLS, cost.where
    assert cost.launches <= OPERATIONS[label.split()[0]]
    assert cost.uploads <= UPLOADS, cost.where


@pytest.mark.parametrize("label", LEARNING)
def test_a_training_step_seldom_waits(gpu, label):
    cost = worst(step_costs(gpu, label, steps=1))
    assert cost.stalls <= STEP_STALLS, cost.where
    assert cost.launches <= STEP_OPERATIONS[label.split()[0]]


@pytest.mark.parametrize("label", LEARNING)
def test_a_step_there_learns_what_it_learns_on_the_cpu(singles, label):
    logs = []
    for device in ("cpu", "cuda"):
        learner = trainer(label, device)
        learner.learn(clips(learner))
        learner.settle()
        logs.append(learner.summarise())
    for name, value in logs[0].items():
        near = 5e-2 if name == "grad_norm" else 1e-2  # other kernels, and batch norms over few values
        assert logs[1][name] == pytest.approx(value, rel=near, abs=1e-5), name


@pytest.mark.parametrize("label", [label for label in LEARNING if len(label.split()) == 1])
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_step_in_mixed_precision_is_finite(gpu, label, amp):
    learner = trainer(label, "cuda", f"train.amp={amp}")
    learner.learn(clips(learner))
    learner.settle()
    assert learner.summarise()["loss"] is not None
