"""What happens to a batch between the loader and the network, for every method that learns."""

import dataclasses

import pytest
import torch

from mamp import config, methods
from mamp.loading.batch import Batch

SIZE = "data.size=256"
MOVES = "data.moves={rotate: 20, shift: 0.2, crop: [0.5, 0.8]}"


def tensors(prepared):
    for value in dataclasses.astuple(prepared):
        for part in value if isinstance(value, (list, tuple)) else [value]:
            yield torch.as_tensor(part)


def prepared(name, *overrides):
    """What a fresh task prepares of a batch of noise with one object."""
    torch.manual_seed(0)
    learner = methods.require(name, "task")(config.load(None, [f"method.name={name}", SIZE, *overrides]))
    numbers = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (2, learner.frames, 3, 64, 64), dtype=torch.uint8, generator=numbers)
    labels = torch.zeros(2, learner.frames, 64, 64, dtype=torch.uint8)
    labels[..., 16:48, 20:44] = 1
    batch = Batch(frames, labels, ({}, {}))
    return list(tensors(learner.prepare(batch, torch.Generator().manual_seed(2))))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", methods.having("task"))
def test_every_method_moves_frames_as_the_settings_say(name):
    assert same(prepared(name, MOVES), prepared(name, MOVES))
    assert not same(prepared(name, MOVES), prepared(name))
