"""Flow alone: masks carried by optical flow between frames, the baseline of label-free propagation.

The first file to open: `propagator.py` (what happens per frame).
"""

from __future__ import annotations

from mamp.methods.base import Method, later
from mamp.methods.flow.config import FlowConfig

METHOD = Method(
    name="flow",
    description="masks carried by optical flow alone (DIS, RAFT or matching of colours), the baseline",
    config=FlowConfig,
    build_propagator=later("mamp.methods.flow.propagator:FlowPropagator"),
    needs_weights=False,
)
