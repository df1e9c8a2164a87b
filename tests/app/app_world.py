"""The small video of these tests, and the settings that are fast on it."""

from __future__ import annotations

SIZE = (40, 56)
FRAMES = 7
SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}
QUICK = [
    "method.propagation.short_side=null",
    "method.propagation.radius=4",
    "method.propagation.memory_length=2",
    "method.propagation.edge_radius=0",
]
