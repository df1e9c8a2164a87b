"""Settings of segmenting and evaluating."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.core.section import AMP, Amp, Section


class EvaluateConfig(Section):
    """Segmenting and evaluating."""

    amp: Amp = Field("auto", description=AMP)
    compile: bool = Field(
        False,
        description=(
            "compile the network with torch.compile: half a minute at the start; faster frames on a GPU, not"
            " on a CPU"
        ),
    )
    bad_frame: Literal["error", "skip", "repeat"] = Field(
        "error",
        description=(
            "what to do about a frame that cannot be read\n"
            "error: stop\n"
            "skip: leave it out\n"
            "repeat: use the nearest good frame before it"
        ),
    )
