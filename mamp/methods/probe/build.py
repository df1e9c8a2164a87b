"""The probe's encoder: with random weights, with its own, or the trunk of a network of another method."""

from __future__ import annotations

from typing import Any

from torch import nn

from mamp import methods
from mamp.core.errors import UserError
from mamp.methods.probe.config import ProbeConfig
from mamp.methods.probe.encoders import build_encoder, wrap
from mamp.methods.trunk import MethodTrunk


def build_model(method: ProbeConfig) -> nn.Module:
    """The encoder that `method` names, with random weights (a user's own: as its function makes it)."""
    if method.encoder in methods.METHODS:
        trunk = methods.get(method.encoder).config()
        return on_trunk(methods.get(method.encoder).build_model(trunk), trunk, method)
    return build_encoder(method, pretrained=False)


def build_pretrained(method: ProbeConfig) -> nn.Module:
    """Return the encoder that `method` names, with its weights: downloaded, from a file, or the user's.

    Raises UserError when they cannot be had.
    """
    if method.encoder in methods.METHODS:
        raise UserError(
            f"method.encoder={method.encoder} is the trunk of a method; give its weights with --weights, or"
            " --baseline untrained"
        )
    return build_encoder(method, pretrained=True)


def on_trunk(network: nn.Module, trunk: Any, method: ProbeConfig) -> nn.Module:
    """Return the encoder of another method's network. trunk: that method's config.

    Raises UserError for a method without a trunk, for a layer that it does not have, and where `method` names
    another encoder.
    """
    build = methods.require(trunk.name, "trunk")
    if method.encoder != trunk.name:
        raise UserError(
            f"the weights are of method {trunk.name}, and method.encoder is {method.encoder}; leave one of"
            " the two out"
        )
    found: MethodTrunk = build(network, trunk)
    return wrap(found, method.network, own=not found.staged)
