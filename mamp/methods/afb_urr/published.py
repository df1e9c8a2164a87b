"""Names in published checkpoints of AFB-URR -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mamp.config.afb_urr import AfbConfig, AfbNetwork
from mamp.methods.afb_urr.network import AfbUrr
from mamp.methods.stm.published import backbone_of
from mamp.methods.supervised import complete, no_checkpoint, renamed

CHECKPOINT = "AFB-URR"
UNUSED = re.compile(r"encoder_[mq]\.(mean|std)")  # the pixels' mean and deviation, constants here
NAMES = (
    (r"^encoder_m\.conv1_m\.", "memory_encoder.mask."),
    (r"^encoder_m\.conv1_o\.", "memory_encoder.second."),
    (r"^encoder_m\.", "memory_encoder."),
    (r"^encoder_q\.", "query_encoder."),
    (r"^keyval_r4\.Key\.", "head.key."),
    (r"^keyval_r4\.Value\.", "head.value."),
    (r"\.convFM\.", ".fuse."),
    (r"^decoder\.ResMM\.", "decoder.fuse_block."),
    (r"\.local_convFM\.", ".local_fuse."),
    (r"\.local_ResMM\.", ".local_block."),
    (r"\.local_pred2\.", ".local_predict."),
    (r"\.RF(\d)\.", r".refine\1."),
    (r"\.convFS\.", ".skip."),
    (r"\.ResFS\.", ".skip_block."),
    (r"\.ResMM\.", ".block."),
    (r"\.pred2\.", ".predict."),
)
_SHAPES = {
    "key": "head.key.weight",
    "value": "head.value.weight",
    "decoder": "decoder.fuse.weight",
    "local": "decoder.local_fuse.weight",
}


def our_name(name: str) -> str:
    """A published entry's name -> ours."""
    return renamed(name, NAMES)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items() if not UNUSED.fullmatch(name)}
    network = _network(ours)
    with torch.device("meta"):
        model = AfbUrr(AfbNetwork.model_validate(network))
    complete(ours, model, checkpoint=CHECKPOINT)
    method = {"name": "afb_urr", "network": network}
    return ours, AfbConfig.model_validate(method).model_dump(mode="json", include={"name", "network"})


def _network(ours: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the entries' names and shapes tell of the network."""
    try:
        base = ours["memory_encoder.conv1.weight"].shape[0]
        shapes = {part: ours[name].shape[0] for part, name in _SHAPES.items()}
        deepest = ours["head.key.weight"].shape[1]
    except KeyError as missing:
        raise no_checkpoint(CHECKPOINT, missing) from None
    backbone = backbone_of(ours, base=base, deepest=deepest, checkpoint=CHECKPOINT)
    return {"backbone": backbone, "width": base / 64, **shapes}
