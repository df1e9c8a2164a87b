"""A method small enough for tests of the engine; it uses every source of randomness, and can be told to go
wrong.
"""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mamp import methods
from mamp.loading.augmentation.batches import augmented
from mamp.methods.base import Propagator
from mamp.methods.task import TrainingTask


class FakeTask(TrainingTask):
    def __init__(self, config):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 3, 1)
        )
        self.bias = nn.Parameter(torch.zeros(3))
        self.frames = 2
        self.steps = 0
        self.data = config.data.model_copy(update={"size": 32})

    def prepare(self, batch, generator):
        frames = augmented(batch, self.data, generator)
        if folder := os.environ.get("FAKE_DRAWS"):  # a step is known by its generator
            torch.save(frames, Path(folder) / f"{generator.initial_seed()}-{batch.first}.pt")
        return frames

    def forward(self, prepared):
        self.steps += 1
        rank = os.environ.get("RANK", "0")
        if f"{self.steps}" == os.environ.get("FAKE_SIGNAL_AFTER") and rank == os.environ.get(
            "FAKE_RANK", rank
        ):
            os.kill(os.getpid(), getattr(signal, os.environ["FAKE_SIGNAL"]))
        noise = random.random() + np.random.rand()
        guess = self.model(prepared[:, 0]) + self.bias[:, None, None]
        loss = (guess - prepared[:, 1, :, 1:-1, 1:-1]).square().mean() * (1 + 0.1 * noise)
        if f"{self.steps}" in os.environ.get("FAKE_NAN_AT", "").split() and rank == os.environ.get(
            "FAKE_RANK", rank
        ):
            loss = self.model(prepared[:, 0] * float("nan")).mean() + self.bias.sum()
        if f"{self.steps}" in os.environ.get("FAKE_BAD_GRADIENT_AT", "").split():
            loss = loss + (0 * self.bias).sqrt().sum()  # a loss like any other
        return loss, {"noise": torch.tensor(noise)}

    def preview(self, prepared):
        torch.rand(1)
        self.model(prepared[:, 0])
        return (prepared[0, 0] * 255).to(torch.uint8)


class FakePropagator(Propagator):
    """Masks move with the network's bias, and every global generator is drawn from."""

    memory_bytes = 0

    def __init__(self, model, method, *, motion=None, device="cpu", dtype=None):
        super().__init__(model, method, motion=motion, device=device, dtype=dtype)
        self.shift = 1 + int(abs(model[0].bias.sum()) * 1000) % 3

    def start(self, frame, masks):
        self.masks = masks

    def step(self, frame):
        random.random(), np.random.rand(), torch.rand(1)
        self.masks = self.masks.roll(self.shift, -1)
        return torch.cat((1 - self.masks.sum(0, keepdim=True), self.masks))


FAKE = replace(methods.get("mamp"), task=FakeTask, build_propagator=FakePropagator)


def main(run, *overrides):
    """The exit status of `mamp train` on this method."""
    from mamp import cli

    methods.METHODS["mamp"] = FAKE
    return cli.main(["train", os.devnull, "--run", run, "--device", "cpu", "--quiet", *overrides])
