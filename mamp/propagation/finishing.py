"""Settings of what becomes of scores, for all methods that have them: one range and one meaning."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def sharpen() -> Any:
    """Return the field of `sharpen`, off."""
    return Field(
        1.0,
        ge=1,
        le=8,
        description="power that a label's score is raised to before it is remembered and shown; 1: none",
    )


def background() -> Any:
    """Return the field of `background`, off."""
    return Field(
        1.0,
        gt=0,
        le=1,
        description=(
            "factor of the background's score after `sharpen`; below 1 objects keep more of edges and"
            " thin parts"
        ),
    )


def edge_radius(default: float) -> Any:
    """Return the field of `edge_radius`."""
    return Field(
        default,
        ge=0,
        le=16,
        description=(
            "half side, in cells, of the guided filter that fits masks to the frame's edges; 0: not fitted"
        ),
    )


def edge_eps() -> Any:
    """Return the field of `edge_eps`."""
    return Field(
        1e-4,
        gt=0,
        le=1,
        description="guided filter: edges whose squared contrast is well below it are ignored",
    )


def edge_fit(default: str) -> Any:
    """Return the field of `edge_fit`, "fast" or "exact"."""
    return Field(
        default,
        description=(
            "how the guided filter is computed\n"
            "fast: on a smaller grid (He and Sun, 2015)\n"
            "exact: at every pixel"
        ),
    )
