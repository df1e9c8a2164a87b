"""Knobs of AFB-URR, and what its presets set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mamp.core.section import MANY, MAX_MB, MethodConfig, Section
from mamp.methods.memory_network import MemoryNetwork

ON_CPU = 64  # MB of working memory there


class AfbNetwork(MemoryNetwork):
    """The network; kept with the weights."""

    local: int = Field(32, ge=1, le=1024, description="channels of the refinement of uncertain regions")


class AfbPropagation(Section):
    """How masks are carried on by the feature banks."""

    fit: Literal["pad", "published"] = Field(
        "pad",
        description=(
            "how a frame meets the network: scaled to short_side at most, or as published: frames of `height`"
            " or more are resized to it by Pillow; both padded to a multiple of 16"
        ),
    )
    short_side: int | None = Field(
        240,
        ge=32,
        le=4096,
        description="pad: longer short sides are scaled down to this many pixels; null: never",
    )
    height: int | None = Field(
        None, ge=32, le=4096, description="published: height that taller frames are resized to; null: never"
    )
    budget: int = Field(
        60_000,
        ge=1,
        le=MANY,
        description=(
            "most cells in all banks together, shared equally by the objects and the background; 300000 as"
            " published; one takes (key + value) * 4 bytes"
        ),
    )
    update_rate: float = Field(
        0.1,
        ge=0,
        le=1,
        description="how far a cell of a bank moves towards the new ones that are merged into it",
    )
    merge_above: float = Field(
        0.95,
        ge=-1,
        le=1,
        description=(
            "new cells whose key is more similar (cosine) to one in the bank are merged into it; others are"
            " appended"
        ),
    )
    evict: Literal["exact", "whole"] = Field(
        "exact",
        description=(
            "which cells go when a bank is full: as many of the least used ones as needed; or as published,"
            " all below whole-number thresholds of use, with first masks that may exceed the budget and 0.8"
            " of it for one object"
        ),
    )
    late: Literal["keep", "rebuild"] = Field(
        "keep",
        description=(
            "a late mask gives its object a bank and leaves the others alone, or all banks begin anew from"
            " its frame, as published"
        ),
    )
    least: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description=(
            "an object's own probability is cut to this and one less it before objects compete: 1e-7 as"
            " published; null: never"
        ),
    )
    max_mb: int | None = Field(
        None, ge=1, le=MANY, description=MAX_MB.format(what="reading and updating", on_cpu=ON_CPU)
    )


class AfbTraining(Section):
    """What is learnt from: clips with masks, whose first frame is matched with each of the others."""

    frames: int = Field(6, ge=2, le=32, description="frames T of a clip")
    max_objects: int = Field(
        2, ge=1, le=254, description="objects of a clip; of more, so many are drawn and others are background"
    )
    uncertainty: float = Field(0.5, ge=0, description="weight of the uncertainty term")
    freeze_norm: bool = Field(
        True,
        description="batch norms keep their running statistics, as published; meant for ImageNet weights",
    )
    init: str | None = Field(
        None,
        description=(
            "where trunks begin: imagenet (torchvision downloads it), a file with torchvision's state dict,"
            " or weights of mamp (afb_urr, stm, or the label-free mamp encoder where shapes allow); null:"
            " random"
        ),
    )


class AfbConfig(MethodConfig):
    """AFB-URR: adaptive feature bank and uncertain-region refinement (Liang et al., NeurIPS 2020)."""

    name: Literal["afb_urr"] = Field("afb_urr", description="which method")
    preset: Literal["tuned", "published"] = Field(
        "tuned", description="where the propagation knobs start from: ours, or the published program"
    )
    network: AfbNetwork = AfbNetwork()
    propagation: AfbPropagation = AfbPropagation()
    training: AfbTraining = AfbTraining()


# What a preset sets, and what it sets besides for one data set; "" is every data set.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tuned": {},
    "published": {
        "": {
            "propagation": {
                "fit": "published",
                "height": None,
                "budget": 300_000,
                "update_rate": 0.1,
                "merge_above": 0.95,
                "evict": "whole",
                "late": "rebuild",
                "least": 1e-7,
            },
        },
        "youtubevos": {"propagation": {"height": 495, "update_rate": 0.05}},
        "longvideos": {"propagation": {"update_rate": 0.05}},
    },
}
