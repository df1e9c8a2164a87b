"""The probe: masks carried by the frozen features of any encoder, under the protocols that papers report.

The first files to open: `propagator.py` (what happens per frame), `encoders.py` (where features come from) and the presets
in `mamp/config/probe.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mamp import methods
from mamp.config import METHOD_CONFIGS, Config, ProbeConfig
from mamp.errors import UserError
from mamp.methods.base import TrainingTask
from mamp.methods.probe.encoders import build_encoder, wrap
from mamp.methods.probe.propagator import ProbePropagator as build_propagator

__all__ = ["build_model", "build_pretrained", "build_propagator", "build_task", "from_published", "on_trunk"]


def build_model(method: ProbeConfig) -> nn.Module:
    """The encoder that `method` names, with random weights (a user's own: as its function makes it)."""
    if method.encoder in methods.METHODS:
        trunk = METHOD_CONFIGS[method.encoder]()
        return on_trunk(methods.get(method.encoder).build_model(trunk), trunk, method)
    return build_encoder(method, pretrained=False)


def build_pretrained(method: ProbeConfig) -> nn.Module:
    """The encoder that `method` names, with the weights that are its own: downloaded, from a file, or the user's.

    Raises UserError when they cannot be had.
    """
    if method.encoder in methods.METHODS:
        raise UserError(
            f"method.encoder={method.encoder} is a trunk of ours; give its weights with --weights, or --baseline untrained"
        )
    return build_encoder(method, pretrained=True)


def on_trunk(network: nn.Module, trunk: Any, method: ProbeConfig) -> nn.Module:
    """The encoder that a network of another method of ours has; trunk: that method's config.

    Raises UserError for a method without a trunk, for a layer that it does not have, and where `method` names another encoder.
    """
    build = getattr(methods.get(trunk.name), "build_trunk", None)
    if build is None:
        able = [name for name in methods.METHODS if hasattr(methods.get(name), "build_trunk")]
        raise UserError(f"method {trunk.name} has no trunk to probe; use one of {', '.join(able)}")
    if method.encoder != trunk.name:
        raise UserError(
            f"the weights are of method {trunk.name}, and method.encoder is {method.encoder}; leave one of the two out"
        )
    found = build(network, trunk)
    return wrap(found, method.network, own=not hasattr(found, "layer1"))


def build_task(config: Config) -> TrainingTask:
    """There is none."""
    raise UserError("method probe learns nothing; train another method, or your encoder where it lives")


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Encoders are read as they are."""
    raise UserError("method probe converts nothing; give the encoder's file with method.network.weights=FILE")
