"""Where things were: flow from a query frame to its memory frames, on the grid of the features.

`none` has no source at all. `dis` and `raft` look at the frames, `coarse` at the method's own features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mamp.propagation.motion.coarse import CoarseMatching
from mamp.propagation.motion.config import MotionConfig
from mamp.propagation.motion.source import Composed, Source


def build_motion(
    knobs: MotionConfig,
    *,
    features: Callable[[], Tensor],
    far: int = 15,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Source | Composed | None:
    """The motion source that `knobs` name, for one video; None for no motion.

    features: the method's features (C, h, w) of the frame that is being shown. far: frames apart that RAFT
    takes for far. dtype: number format of RAFT's networks (None is float32).

    Raises UserError when what the source needs (OpenCV, a file of weights) is not there.
    """
    source: Source
    if knobs.source == "none":
        return None
    if knobs.source == "coarse":
        source = CoarseMatching(
            features, pool=knobs.coarse_pool, pull=knobs.coarse_pull, temperature=knobs.coarse_temperature
        )
    elif knobs.source == "dis":
        from mamp.propagation.motion.dis import DisFlow

        source = DisFlow(preset=knobs.dis_preset, device=device)
    else:
        from mamp.propagation.motion.raft import RaftFlow, load_raft

        network = load_raft(knobs.raft, knobs.weights)
        source = RaftFlow(network, iterations=knobs.iterations, far=far, device=device, dtype=dtype)
    return Composed(source) if knobs.compose else source
