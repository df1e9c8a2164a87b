"""Where things were: flow from a query frame to its memory frames, on the grid of the features.

`none` has no source at all. `dis` and `raft` look at the frames, `coarse` at features of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mamp.propagation.motion.coarse import CoarseMatching
from mamp.propagation.motion.config import MotionConfig, SourceConfig
from mamp.propagation.motion.source import Composed, Source


def build_motion(knobs: MotionConfig, **needs: Any) -> Source | Composed | None:
    """Return the motion source that `knobs` name, for one video; None for no motion.

    needs: as `build_source` takes them. Raises UserError as it does.
    """
    source = build_source(knobs, **needs)
    return Composed(source) if source is not None and knobs.compose else source


def build_source(
    knobs: SourceConfig,
    *,
    features: Callable[[Tensor], Tensor],
    far: int = 15,
    stride: int = 4,
    section: str = "method.motion",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Source | None:
    """Return the source of flow that `knobs` name, for one video; None for no motion.

    Args:
        knobs: which source, and its settings.
        features: makes features (C, h, w) of a frame (3, H, W) being shown; only coarse asks for them.
        far: frames apart that RAFT takes for far.
        stride: pixels to a cell of the flow of DIS (any) and RAFT (4, or 1 for each pixel).
        section: where `knobs` stand in the config, for messages.
        device: where frames and flow lie.
        dtype: number format of RAFT's networks; None is float32.

    Raises:
        UserError: what the source needs (OpenCV, a file of weights) is not there.
    """
    if knobs.source == "none":
        return None
    if knobs.source == "coarse":
        return CoarseMatching(
            features, pool=knobs.coarse_pool, pull=knobs.coarse_pull, temperature=knobs.coarse_temperature
        )
    if knobs.source == "dis":
        from mamp.propagation.motion.dis import DisFlow

        return DisFlow(preset=knobs.dis_preset, stride=stride, section=section, device=device)
    from mamp.propagation.motion.raft import RaftFlow, load_raft

    network = load_raft(knobs.raft, knobs.weights, section=section)
    return RaftFlow(network, iterations=knobs.iterations, far=far, stride=stride, device=device, dtype=dtype)
