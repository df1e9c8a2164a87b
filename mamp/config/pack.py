"""Settings of packing training video."""

from __future__ import annotations

from pydantic import Field

from mamp.core.section import Section


class PackConfig(Section):
    """How frames become small videos."""

    size: int = Field(
        256, ge=32, le=4096, multiple_of=2, description="short side in pixels; a smaller clip stays as it is"
    )
    keyframes: int = Field(
        1, ge=1, le=250, description="frames from one keyframe to the next; 1 reads fastest at random"
    )
    quality: int = Field(
        18, ge=0, le=51, description="x264's constant rate factor; less is better and larger"
    )
