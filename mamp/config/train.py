"""Knobs of the training engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.config.section import AMP, Amp, Section


class TrainConfig(Section):
    """The engine: steps, optimiser, checkpoints."""

    seed: int = Field(0, ge=0, description="of weights, clips, augmentation and dropped channels")
    epochs: float = Field(33, gt=0, description="passes over the clips, when steps is null")
    steps: int | None = Field(None, ge=1, description="optimiser steps; null: as many as epochs makes")
    batch: int = Field(24, ge=1, description="clips in a step")
    lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's averages")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW); 0 is Adam")
    schedule: Literal["constant", "halving", "cosine"] = Field(
        "halving", description="how the learning rate falls"
    )
    milestones: tuple[int, ...] = Field(
        (400_000, 600_000, 800_000, 1_000_000),
        description="halving: the rate halves once more than this many clips were seen",
    )
    warmup: int = Field(0, ge=0, description="steps over which the rate rises to lr")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; null: not clipped")
    amp: Amp = Field("off", description=AMP)
    log_every: int = Field(10, ge=1, description="steps between lines of log.jsonl")
    checkpoint_every: int = Field(
        500, ge=1, description="steps between checkpoints; one is written at the end too"
    )
    keep: int = Field(2, ge=1, description="how many last checkpoints stay")
