"""Knobs of the training engine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from mamp.core.section import AMP, MANY, Amp, Section

Clips = Annotated[int, Field(ge=0, lt=2**63)]
Average = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Section):
    """The engine: steps, optimiser, checkpoints."""

    seed: int = Field(0, ge=0, lt=2**63, description="of weights, clips, augmentation and dropped channels")
    init: str | None = Field(
        None,
        description=(
            "weights that the network begins with: a file, a run folder or a shipped name; null: drawn by"
            " seed"
        ),
    )
    epochs: float = Field(33, gt=0, le=1e6, description="passes over the clips, when steps is null")
    steps: int | None = Field(
        None, ge=1, le=MANY, description="optimiser steps; null: as many as epochs makes"
    )
    batch: int = Field(24, ge=1, le=MANY, description="clips in a step, those of all ranks together")
    accumulate: int = Field(
        1,
        ge=1,
        le=MANY,
        description="parts that a rank's clips are taken in, one after the other, to save memory",
    )
    lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
    betas: tuple[Average, Average] = Field(
        (0.9, 0.999), description="Adam's averages, each from 0 to below 1"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW); 0 is Adam")
    schedule: Literal["constant", "halving", "cosine", "steps"] = Field(
        "halving", description="how the learning rate falls"
    )
    milestones: tuple[Clips, ...] = Field(
        (400_000, 600_000, 800_000, 1_000_000),
        description="halving: the rate halves once more than this many clips were seen",
    )
    plateaus: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description=(
            "halving: the run is cut into so many equal parts, each at half the rate of the one before; null:"
            " milestones"
        ),
    )
    decay: float = Field(0.9, gt=0, le=1, description="steps: what the rate is multiplied by")
    decay_every: int = Field(
        9501, ge=1, le=MANY, description="steps: after so many steps, each time (SSM-VOS)"
    )
    warmup: int = Field(0, ge=0, le=MANY, description="steps over which the rate rises to lr")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; null: not clipped")
    max_skipped: int = Field(
        5,
        ge=0,
        le=MANY,
        description=(
            "steps in a row that are left out because loss or gradient is not finite, before the run stops;"
            " ten times as many in all"
        ),
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description=("decay of a running average of the weights, kept as the run's weights file; null: none"),
    )
    deterministic: bool = Field(
        True,
        description=(
            "the same numbers from every run on the same hardware: on CUDA slower kernels, and a warning for"
            " an operation that has none of this kind; false: the fastest ones"
        ),
    )
    amp: Amp = Field("off", description=AMP)
    compile: bool = Field(False, description="torch.compile the task; on a CPU it needs a C++ compiler")
    sync_batch_norm: bool = Field(
        False, description="batch norms see the clips of all ranks (CUDA, more than one rank)"
    )
    rank_timeout: float = Field(
        1800,
        gt=0,
        le=10**7,
        description=(
            "seconds that ranks wait for one another before the run stops; validation and checkpoints fall"
            " within"
        ),
    )
    log_every: int = Field(10, ge=1, le=MANY, description="steps between lines of log.jsonl")
    checkpoint_every: int = Field(
        500, ge=1, le=MANY, description="steps between checkpoints; one is written at the end too"
    )
    keep: int = Field(2, ge=1, le=MANY, description="how many last checkpoints stay")
    keep_best: int = Field(
        0, ge=0, le=MANY, description="how many checkpoints with the best validation scores stay besides"
    )
    keep_at: tuple[Annotated[int, Field(ge=1, le=MANY)], ...] = Field(
        (),
        description=(
            "steps whose checkpoints are written and stay whatever keep says, for example where another"
            " recipe begins"
        ),
    )
    expect_loss: dict[float, float] = Field(
        {},
        description=(
            "part of the steps (0.1) -> the loss that this recipe shows there, on the first line of the log"
            " from then on"
        ),
    )
    expect_within: float = Field(
        0.25, gt=0, description="expect_loss: a loss further off than this part of it is warned of"
    )

    expect_steps: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description=(
            "expect_loss: the steps of the run that showed it, a run of another length is not compared;"
            " null: any"
        ),
    )

    @field_validator("expect_loss")
    @classmethod
    def _parts(cls, value: dict[float, float]) -> dict[float, float]:
        if not all(0 < part <= 1 for part in value):
            raise ValueError("needs parts of the steps above 0 and up to 1, such as 0.1")
        return value
