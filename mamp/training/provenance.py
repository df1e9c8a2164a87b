"""What goes with a run's weights: what made them, and the weights it began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mamp import weights
from mamp.config import Config
from mamp.core.errors import UserError
from mamp.loading.census import Census
from mamp.segmentation.model import checksum


def provenance(
    config: Config, census: Census, code: Mapping[str, Any], init: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Plain values that go with checkpoints and weights; places on this machine are left out.

    init: of the weights that the network began with, as `begin_with` gives it.
    """
    values = config.model_dump(mode="json")
    recipe = {
        "data": {k: v for k, v in values["data"].items() if k not in ("root", "leave_out")},
        "train": {k: v for k, v in values["train"].items() if k != "init"},
    }
    return {
        "mamp": code["mamp"],
        "commit": code["commit"],
        "changed": bool(code["diff"]),
        "data": {
            "videos": len(census.counts),
            "frames": census.frames,
            "digest": census.digest,
            "left_out": census.left_out,
        },
        "recipe": recipe,
        **({"init": init} if init else {}),
    }


def begin_with(model: nn.Module, config: Config) -> dict[str, Any] | None:
    """Put the weights `train.init` into the network; return their name, checksum and provenance.

    Raises UserError when there are no such weights, or they are of another method, width or form.
    """
    if config.train.init is None:
        return None
    found = weights.read(config.train.init)
    kept = found.method.get("name")
    if kept != config.method.name:
        raise UserError(
            f"train.init={config.train.init} holds weights of method {kept}, not {config.method.name}; give"
            " others"
        )
    learnt = weights.without_distilled(found)
    weights.fill(
        model, learnt, remedy="set train.init to weights that fit, or method.encoder as they have it"
    )
    return {
        "weights": found.path.name,
        "sha256": checksum(learnt.state),
        "provenance": dict(learnt.provenance),
    }
