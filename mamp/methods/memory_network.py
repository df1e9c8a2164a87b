"""Settings of the networks that STM and AFB-URR have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mamp.core.section import Backbone, Section, Width


class MemoryNetwork(Section):
    """Two ResNet trunks, heads for keys and values, a decoder; kept with the weights."""

    backbone: Backbone = Field("resnet50", description="trunk of both encoders, stages 1 to 3")
    width: Width = Field(
        1.0,
        description="channel counts of the trunks as a fraction of the published 64, 128, 256",
    )
    key: int = Field(128, ge=1, le=1024, description="channels C of a key")
    value: int = Field(512, ge=1, le=2048, description="channels V of a value")
    decoder: int = Field(256, ge=1, le=1024, description="channels of the decoder")
    colour: Literal["rgb", "lab"] = Field(
        "rgb",
        description=(
            "what the trunks see\nrgb: RGB normalised as for ImageNet\nlab: normalised Lab, as MAMP's encoder"
        ),
    )
