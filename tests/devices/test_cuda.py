"""Every method on a real GPU: the contract, and a training step; nothing here was run without one."""

from __future__ import annotations

import pytest
import torch
from small import LEARNING, PROPAGATING, SHRUNK, clips, life, segmenter, trainer

from mamp.segmentation.segmenter import Segmenter

SIZE = (64, 96)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def carrier(label: str, device: str, raft) -> Segmenter:
    return segmenter(label, device, raft, *SHRUNK.get(label.split()[0], ()))


@pytest.mark.parametrize("label", PROPAGATING)
def test_the_contract_holds_and_gives_what_the_cpu_gives(raft, label):
    found = []
    for device in ("cpu", "cuda"):
        follower = carrier(label, device, raft)
        with torch.inference_mode():
            found.append(life(follower._build(), SIZE, device))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there.sum(0), torch.ones(SIZE), atol=1e-4, rtol=0)
        assert ((there - here).abs() > 1e-2).float().mean() < 0.02  # a tie may turn


@pytest.mark.parametrize("label", PROPAGATING)
@pytest.mark.parametrize("max_mb", [1, 64])
def test_the_bound_on_working_memory_changes_no_result(raft, label, max_mb):
    if label.startswith("ssm"):
        pytest.skip("ssm has no such bound")
    more = (*SHRUNK.get(label.split()[0], ()), f"method.propagation.max_mb={max_mb}")
    one, other = carrier(label, "cuda", raft), segmenter(label, "cuda", raft, *more)
    with torch.inference_mode():
        whole, parts = (life(follower._build(), SIZE, "cuda") for follower in (one, other))
    for first, second in zip(whole, parts, strict=True):
        assert ((first - second).abs() > 1e-3).float().mean() < 0.01


@pytest.mark.parametrize("label", LEARNING)
def test_a_step_learns_what_it_learns_on_the_cpu(label):
    logs = []
    for device in ("cpu", "cuda"):
        learner = trainer(label, device)
        learner.learn(clips(learner))
        learner.settle()
        logs.append(learner.summarise())
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"], rel=1e-2)


@pytest.mark.parametrize("label", [label for label in LEARNING if label.startswith("mamp")])
def test_two_runs_of_mamp_have_the_same_weights_bit_for_bit(label):
    from mamp.training.randomness import reproducible

    ends = []
    for _ in range(2):
        with reproducible(0):
            learner = trainer(label, "cuda")
            for _ in range(3):
                learner.learn(clips(learner))
            ends.append({name: value.cpu() for name, value in learner.task.state_dict().items()})
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("label", PROPAGATING)
def test_torch_itself_sees_no_more_waits_than_are_counted(raft, label):
    """A steady frame under torch's own debug mode for synchronising, in which every wait warns."""
    from small import frames, squares

    video, follower = frames(4, SIZE), carrier(label, "cuda", raft)
    for number, frame in enumerate(video[:3]):
        follower.step(frame, squares(SIZE, 1, 2) if number == 0 else None)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning) as waits:
            follower.step(video[3])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (
        sum("synchroniz" in str(w.message) for w in waits) <= 2 + 2
    )  # uploads of frame and constants warn too
