"""Knobs of what is measured while training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mamp.core.section import MANY, Section


class ValidationConfig(Section):
    """What is measured during training; nothing unless share or dataset is set. Learning does not change."""

    every: int = Field(
        500, ge=1, le=MANY, description="steps between measurements; there is one at the end too"
    )
    epochs: int | None = Field(
        None, ge=1, le=MANY, description="epochs between measurements, in place of every; null: every"
    )
    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "part of the training videos that is held aside, chosen by a hash of their names, for the loss on"
            " them"
        ),
    )
    clips: int = Field(
        32, ge=1, le=1024, description="clips of held-aside videos that the loss is the mean of"
    )
    dataset: Literal["davis2016", "davis2017", "youtubevos", "longvideos", "folder"] | None = Field(
        None, description="a labelled set for J&F; null: none"
    )
    root: Path | None = Field(None, description="where the labelled set lies")
    split: str = Field("val", description="which list of the labelled set")
    frames: int | None = Field(
        20, ge=3, le=MANY, description="how many first frames of each labelled video are scored; null: all"
    )

    @model_validator(mode="after")
    def _both(self) -> ValidationConfig:
        if (self.dataset is None) != (self.root is None):
            raise ValueError("dataset and root go together; set both, or neither")
        return self
