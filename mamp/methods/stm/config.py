"""Knobs of STM and STM-Cycle, and what their presets set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mamp.core.section import MANY, MAX_MB, MethodConfig, Section, Side
from mamp.methods.memory_network import MemoryNetwork

ON_CPU = 64  # MB of working memory there


class StmNetwork(MemoryNetwork):
    """The network; kept with the weights."""

    second: Literal["rest", "others"] = Field(
        "rest",
        description=(
            "second mask the memory encoder sees: all but the object (STM-Cycle), or the other objects (the"
            " ICCV 2019 network)"
        ),
    )


class StmPropagation(Section):
    """How masks are carried from memory frames to the next frame."""

    fit: Literal["pad", "letterbox"] = Field(
        "pad",
        description=(
            "how a frame meets the network: at its own shape, padded to a multiple of 16; or in a box of"
            " input_size, its first masks eroded by a pixel, as STM-Cycle's program does"
        ),
    )
    short_side: int | None = Field(
        240,
        ge=32,
        le=4096,
        description="pad: longer short sides are scaled down to this many pixels; null: never",
    )
    input_size: tuple[Side, Side] = Field(
        (240, 427), description="letterbox: height and width of the box, in pixels"
    )
    every: int = Field(5, ge=1, le=10_000, description="every n-th frame stays in memory")
    keep_given: bool = Field(
        True, description="frames with given masks stay in memory, too; as published only the first one does"
    )
    max_frames: int | None = Field(
        20,
        ge=1,
        le=MANY,
        description=(
            "most frames in memory besides the previous one: older ones are thinned, the first one stays;"
            " null: no bound, as published"
        ),
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description="memory cells a query cell reads, the most similar ones; null: all, as published",
    )
    late: Literal["keep", "replace"] = Field(
        "keep",
        description=(
            "a mask given later changes its own objects only, or empties all others, as published (they are"
            " remembered as absent)"
        ),
    )
    correction_loops: int = Field(
        0,
        ge=0,
        le=1000,
        description="gradient correction: iterations for each frame that stays in memory; 0: none",
    )
    correction_rate: float = Field(
        150.0,
        ge=0,
        description="gradient correction: what the gradient is multiplied by; published 150 and 180",
    )
    correction_written: bool = Field(
        False,
        description=(
            "gradient correction: the corrected mask is also the result (the published demo), not just what"
            " is remembered"
        ),
    )
    max_mb: int | None = Field(
        None, ge=1, le=MANY, description=MAX_MB.format(what="reading the memory", on_cpu=ON_CPU)
    )


class StmTraining(Section):
    """What is learnt from: clips with masks."""

    frames: int = Field(3, ge=2, le=16, description="frames T of a clip")
    max_objects: int = Field(5, ge=1, le=254, description="objects of a clip; of more, so many are drawn")
    loss: Literal["both", "ce", "iou"] = Field(
        "both", description="bootstrapped cross entropy, IoU loss, or their sum"
    )
    hardest: float = Field(
        0.4, gt=0, le=1, description="part of the pixels, the worst ones, that cross entropy counts"
    )
    cycle: float = Field(
        1.0,
        ge=0,
        description=(
            "weight of the cycle term: the first frame found again from each later one; 0: STM without it"
        ),
    )
    freeze_norm: bool = Field(
        True,
        description="batch norms keep their running statistics, as published; meant for ImageNet weights",
    )
    weight_decay: float = Field(
        0.0, ge=0, description="L2 term added to the gradient (5e-4 as published), not AdamW's decay"
    )
    init: str | None = Field(
        None,
        description=(
            "where trunks begin: imagenet (torchvision downloads it), a file with torchvision's state dict,"
            " or weights of mamp (stm, or the label-free mamp encoder where shapes allow); null: random"
        ),
    )


class StmConfig(MethodConfig):
    """Space-time memory networks (Oh et al., ICCV 2019), cyclic training and correction (Li et al., 2020)."""

    name: Literal["stm"] = Field("stm", description="which method")
    preset: Literal["tuned", "published", "original"] = Field(
        "tuned",
        description=(
            "where the propagation knobs start from: ours, STM-Cycle's program, or the ICCV 2019 program"
        ),
    )
    network: StmNetwork = StmNetwork()
    propagation: StmPropagation = StmPropagation()
    training: StmTraining = StmTraining()


# What a preset sets, and what it sets besides for one data set; "" is every data set.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tuned": {},
    "published": {
        "": {
            "propagation": {
                "fit": "letterbox",
                "input_size": [240, 427],
                "every": 5,
                "keep_given": False,
                "max_frames": None,
                "top_k": None,
                "late": "replace",
                "correction_loops": 10,
                "correction_rate": 150.0,
                "correction_written": False,
            },
        },
    },
    "original": {
        "": {
            "propagation": {
                "fit": "pad",
                "short_side": None,
                "every": 5,
                "keep_given": False,
                "max_frames": None,
                "top_k": None,
                "late": "replace",
                "correction_loops": 0,
            },
        },
    },
}
