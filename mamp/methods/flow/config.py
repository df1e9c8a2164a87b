"""Settings of flow, the baseline without a network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.core.section import MethodConfig
from mamp.propagation.motion.config import SourceConfig


class FlowPropagation(SourceConfig):
    """Where flow comes from, and how it carries masks to the next frame."""

    source: Literal["dis", "raft", "coarse"] = Field(
        "dis",
        description=(
            "where pixels were\n"
            "dis: OpenCV's DIS flow (extra opencv)\n"
            "raft: RAFT, which was trained with labels\n"
            "coarse: global matching of the frames' colours"
        ),
    )
    iterations: int = Field(12, ge=1, le=64, description="raft: iterations; 12 as torchvision has them")
    coarse_pool: int = Field(
        8, ge=1, le=32, description="coarse: side of the block of pixels that moves as one"
    )
    direction: Literal["lookup", "splat"] = Field(
        "lookup",
        description=(
            "which way the flow goes\n"
            "lookup: from the new frame back; each pixel reads the mask where it came from\n"
            "splat: forward; each pixel of the mask is put where it goes"
        ),
    )
    chain: bool = Field(
        False,
        description=(
            "masks come from the last frame that masks were given for, along all flow since; false: from the"
            " frame before"
        ),
    )
    labels: Literal["soft", "hard"] = Field(
        "soft",
        description=("what is remembered of a finished frame\nsoft: its probabilities\nhard: its label map"),
    )


class FlowConfig(MethodConfig):
    """Masks carried by optical flow alone: no network, no weights."""

    name: Literal["flow"] = Field("flow", description="which method")
    propagation: FlowPropagation = FlowPropagation()
