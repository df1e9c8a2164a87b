"""Names in published checkpoints of AFB-URR -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mamp.methods.afb_urr.config import AfbConfig
from mamp.methods.afb_urr.network import AfbUrr
from mamp.methods.stm.published import DECODER, memory_network
from mamp.methods.supervised import renamed, whole_state

CHECKPOINT = "AFB-URR"
UNUSED = re.compile(r"encoder_[mq]\.(mean|std)")  # the pixels' mean and deviation, constants here
NAMES = (
    (r"^encoder_m\.conv1_m\.", "memory_encoder.mask."),
    (r"^encoder_m\.conv1_o\.", "memory_encoder.second."),
    (r"^encoder_m\.", "memory_encoder."),
    (r"^encoder_q\.", "query_encoder."),
    (r"^keyval_r4\.Key\.", "head.key."),
    (r"^keyval_r4\.Value\.", "head.value."),
    (r"\.local_convFM\.", ".local_fuse."),
    (r"\.local_ResMM\.", ".local_block."),
    (r"\.local_pred2\.", ".local_predict."),
    *DECODER,
)
_SIZES = {
    "key": "head.key",
    "value": "head.value",
    "decoder": "decoder.fuse",
    "local": "decoder.local_fuse",
}


def our_name(name: str) -> str:
    """A published entry's name -> ours."""
    return renamed(name, NAMES)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items() if not UNUSED.fullmatch(name)}
    network = memory_network(ours, _SIZES, checkpoint=CHECKPOINT)
    method = AfbConfig.model_validate({"name": "afb_urr", "network": network})
    return whole_state(ours, method, build=AfbUrr, checkpoint=CHECKPOINT)
