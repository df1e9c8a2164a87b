"""What is learnt: sizes, gradients, which channel is hidden."""

import torch

from mamp import config
from mamp.methods.mamp.encoder import Encoder
from mamp.methods.mamp.task import MampTask
from mamp.methods.task import Batch
from mamp.ops.colour import drop_channel


def task(*overrides):
    torch.manual_seed(0)
    return MampTask(config.load(None, ["method.encoder.width=0.125", "data.size=32", *overrides]))


def batch(frames=2):
    return Batch(torch.randint(0, 256, (2, frames, 3, 32, 32), dtype=torch.uint8), None, ({}, {}))


def test_the_published_network_has_its_number_of_parameters():
    assert sum(p.numel() for p in Encoder().parameters()) == 5_291_648


def test_features_have_a_quarter_of_any_size_rounded_up():
    encoder = Encoder(width=0.125, features=5).eval()
    for height, width in ((32, 32), (33, 30), (61, 93)):
        assert encoder(torch.zeros(1, 3, height, width)).shape == (1, 5, -(-height // 4), -(-width // 4))


def test_every_parameter_learns_from_several_references():
    learner = task("method.training.references=2")
    loss, named = learner(learner.prepare(batch(3), torch.Generator().manual_seed(0)))
    loss.backward()
    assert loss.isfinite() and named["loss"] == loss
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learner.parameters())


def test_both_chroma_channels_are_hidden_in_turn_and_lightness_never():
    learner, generator = task(), torch.Generator().manual_seed(0)
    assert {learner.prepare(batch(), generator).dropped for _ in range(20)} == {1, 2}


def test_a_dropped_channel_is_zero_and_the_others_are_scaled():
    seen = drop_channel(torch.ones(1, 2, 3, 4, 4), 2)
    assert seen[:, :, 2].abs().max() == 0
    assert (seen[:, :, :2] == 1.5).all()
