"""MAMP without torch: its encoder and one propagation step as ONNX graphs. The first file to open:
`graphs.py`.
"""

from __future__ import annotations

from torch import nn

from mamp.core.errors import UserError
from mamp.methods.base import Exported
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.onnx import graphs

__all__ = ["export"]

# settings of method.propagation that the graphs follow and a tool is given by name
WRITTEN = (
    *("labels", "top_k", "radius", "search", "search_near", "search_blocks"),
    *("sharpen", "background", "outside", "views", "distilled", "upsample"),
    *("edge_radius", "edge_eps", "edge_fit", "pad", "subsample", "short_side", "enlarge"),
)
OTHERWISE = {"memory", "memory_length", "temperature"}  # given under another name, or refused
# settings that change how a step is computed, not what it gives; and what only other memories read
WITHOUT = {"tile", "max_mb", "budget_mb", "backfill"}


def export(model: nn.Module, method: MampConfig, *, metadata: dict[str, str]) -> Exported:
    """Return graphs by name, and what a tool must know besides: the rule of the memory, sizes, settings.
    `metadata` goes into each.

    Raises UserError for settings that have no ONNX form.
    """
    _refuse(method)
    knobs = method.propagation
    made = {
        "encoder": graphs.encoder(model, method, metadata=metadata),
        "mask": graphs.mask(method, metadata=metadata),
        "step": graphs.step(method, metadata=metadata),
    }
    described = {
        "memory": {"rule": knobs.memory, "length": knobs.memory_length},
        "temperature": graphs.temperature(method),
        "lab": "exact",
        **knobs.model_dump(
            mode="json",
            include=set(WRITTEN),
        ),
    }
    notes = ("colours are by the exact formula, not OpenCV's table, which differs by up to 0.004",)
    return Exported(made, described, notes if method.encoder.lab != "exact" else ())


def _refuse(method: MampConfig) -> None:
    """UserError for settings that have no ONNX form."""
    if method.encoder.joined:
        raise UserError(
            "method.encoder.joined has no ONNX form here; leave it out, and export the other encoder by its"
            " own tools"
        )
    if method.motion.source != "none":
        raise UserError(
            f"method.motion.source={method.motion.source} has no ONNX form; set method.motion.source=none"
        )
    if method.propagation.memory != "recent":
        raise UserError(
            f"method.propagation.memory={method.propagation.memory} cannot be exported; set"
            " method.propagation.memory=recent"
        )
