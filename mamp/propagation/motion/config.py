"""Settings of motion: where things were in memory frames."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.core.section import Section


class SourceConfig(Section):
    """Where flow comes from, and the settings of each source."""

    source: Literal["none", "coarse", "dis", "raft"] = Field(
        "none",
        description=(
            "where things were in earlier frames\n"
            "none: no motion\n"
            "coarse: global matching of pooled features\n"
            "dis: OpenCV's DIS flow (extra opencv)\n"
            "raft: RAFT, which was trained with labels"
        ),
    )
    dis_preset: Literal["ultrafast", "fast", "medium"] = Field(
        "medium", description="dis: OpenCV's preset, from fast to careful"
    )
    raft: Literal["large", "small"] = Field(
        "large", description="raft: which network; the published one is large"
    )
    weights: str | None = Field(
        None,
        description=(
            "raft: a file with the weights of torchvision's network, or `torchvision` to download them"
        ),
    )
    iterations: int | None = Field(
        None, ge=1, le=64, description="raft: iterations; null: 2, and 5 to far frames, as published"
    )
    coarse_pool: int = Field(
        4, ge=1, le=32, description="coarse: side of the block of cells that moves as one"
    )
    coarse_pull: float = Field(
        0.01,
        ge=0,
        le=1,
        description="coarse: cosine that a block of distance must gain; keeps even areas still",
    )
    coarse_temperature: float = Field(
        0.02, gt=0, description="coarse: divisor of cosines where the best match is refined below a block"
    )


class MotionConfig(SourceConfig):
    """Where things were: memory frames are brought to the query before features are compared."""

    compose: bool = Field(
        False, description="flow to far frames as a chain of flows between neighbours, one new flow a frame"
    )
