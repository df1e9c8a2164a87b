"""MAMP: motion-aware mask propagation (Miao, Bennamoun, Gao and Mian, ICME 2022, arXiv 2107.12569).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mamp.config import MampConfig
from mamp.errors import UserError
from mamp.methods.mamp.encoder import Encoder, published_name
from mamp.methods.mamp.propagator import MampPropagator as build_propagator
from mamp.methods.mamp.task import MampTask as build_task
from mamp.methods.mamp.trunk import MampTrunk as build_trunk
from mamp.methods.mamp.widen import widened

__all__ = [
    "build_model",
    "build_propagator",
    "build_task",
    "build_trunk",
    "from_published",
    "to_onnx",
    "widened",
]


def build_model(method: MampConfig) -> Encoder:
    """The encoder that `method` describes, with fresh weights."""
    knobs = method.encoder
    return Encoder(width=knobs.width, features=knobs.features, distilled=knobs.distilled)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    try:
        first, last = state["feature_extraction.conv1.0.weight"], state["post_convolution.weight"]
    except KeyError as missing:
        raise UserError(
            f"this is no MAMP checkpoint: it has no entry {missing}; give the published mamp.pt"
        ) from None
    encoder = {"width": first.shape[0] / 64, "features": last.shape[0], "lab": "opencv", "similarity": "dot"}
    method = {"name": "mamp", "encoder": encoder}
    names = {
        published_name(name): name for name in build_model(MampConfig.model_validate(method)).state_dict()
    }
    if wrong := sorted(set(names) ^ set(state)):
        raise UserError(
            f"this MAMP checkpoint has {len(wrong)} missing or surplus entries, first {wrong[0]}; give the published mamp.pt"
        )
    return {names[name]: value for name, value in state.items()}, method


def to_onnx(
    model: nn.Module, method: MampConfig, *, metadata: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """ONNX graphs by name, and what a tool must know besides, as JSON; the package onnx must be there."""
    from mamp.methods.mamp.onnx import export

    return export(model, method, metadata=metadata)
