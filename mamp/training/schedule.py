"""The learning rate at each step."""

from __future__ import annotations

import math

from mamp.config import TrainConfig


def looks_ahead(train: TrainConfig) -> bool:
    """Whether the rate of a step depends on how many there will be."""
    return train.schedule == "cosine" or (train.schedule == "halving" and train.plateaus is not None)


def learning_rate(train: TrainConfig, step: int, steps: int) -> float:
    """The rate of step number `step` (from 0) of `steps`.

    halving: halved once for each milestone that the clips seen before this step exceed, as published; or
    train.plateaus.
    steps: multiplied by `decay` after each `decay_every` steps (SSM-VOS).
    cosine: from lr to 0 over the steps after the warm-up. All rise linearly to lr over `warmup` steps.
    """
    if step < train.warmup:
        return train.lr * (step + 1) / train.warmup
    if train.schedule == "halving" and train.plateaus is not None:
        return train.lr * 0.5 ** (step * train.plateaus // steps)
    if train.schedule == "halving":
        seen = step * train.batch
        return train.lr * 0.5 ** sum(seen > milestone for milestone in train.milestones)
    if train.schedule == "steps":
        return train.lr * train.decay ** (step // train.decay_every)
    if train.schedule == "cosine":
        done = (step - train.warmup) / max(1, steps - train.warmup)
        return train.lr * 0.5 * (1 + math.cos(math.pi * done))
    return train.lr
