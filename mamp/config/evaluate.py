"""Knobs of segmenting and evaluating."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.config.section import AMP, Amp, Section


class EvaluateConfig(Section):
    """Segmenting and evaluating."""

    amp: Amp = Field("off", description=AMP)
    bad_frame: Literal["error", "skip", "repeat"] = Field(
        "error", description="what to do about a frame that cannot be read"
    )
