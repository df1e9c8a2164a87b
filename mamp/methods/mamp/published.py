"""The published checkpoint of MAMP, read by its own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mamp.core.errors import UserError
from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import build_model, published_name


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    try:
        first, last = state["feature_extraction.conv1.0.weight"], state["post_convolution.weight"]
    except KeyError as missing:
        raise UserError(
            f"this is not a MAMP checkpoint: it has no entry {missing}; give the published mamp.pt"
        ) from None
    encoder = {"width": first.shape[0] / 64, "features": last.shape[0], "lab": "opencv", "similarity": "dot"}
    method = {"name": "mamp", "encoder": encoder}
    names = {
        published_name(name): name for name in build_model(MampConfig.model_validate(method)).state_dict()
    }
    if wrong := sorted(set(names) ^ set(state)):
        raise UserError(
            f"this MAMP checkpoint has {len(wrong)} missing or surplus entries, first {wrong[0]}; give the"
            " published mamp.pt"
        )
    return {names[name]: value for name, value in state.items()}, method
