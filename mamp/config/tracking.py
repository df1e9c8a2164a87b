"""Settings of what a training run records beside its log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.core.section import MANY, Section


class TrackingConfig(Section):
    """Weights & Biases and TensorBoard; log.jsonl is written whatever is set here.

    Neither unless asked for: a run then needs no account, starts no process of its own and sends nothing
    anywhere.
    """

    mode: Literal["disabled", "offline", "online"] = Field(
        "disabled",
        description=(
            "online sends curves and pictures to wandb; offline keeps them in RUN/wandb, for `wandb sync`"
        ),
    )
    project: str = Field("mamp", min_length=1, description="wandb's project")
    entity: str | None = Field(None, description="wandb's user or team; null: the one of your key")
    name: str | None = Field(None, description="what the run is called; null: the name of its folder")
    group: str | None = Field(
        None,
        min_length=1,
        description="wandb's group, by which runs are shown together; null: a sweep's name, else none",
    )
    job_type: str | None = Field(None, min_length=1, description="wandb's job type, for example pretrain")
    tags: tuple[str, ...] = Field((), description="words to find the run by")
    notes: str | None = Field(None, description="what the run is about, in a sentence or more")
    tensorboard: bool = Field(
        False,
        description=(
            "curves and pictures in RUN/tensorboard, beside wandb or without it; needs the extra tensorboard"
        ),
    )
    pictures_every: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description="steps between pictures, in previews/, wandb and TensorBoard; null: with each checkpoint",
    )
