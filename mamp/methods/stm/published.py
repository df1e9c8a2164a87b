"""Names in published checkpoints of STM and STM-Cycle -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mamp.methods.stm.config import StmConfig
from mamp.methods.stm.network import BLOCKS, Bottleneck, Stm
from mamp.methods.supervised import no_checkpoint, renamed, trunk_of, whole_state

CHECKPOINT = "STM"
UNUSED = re.compile(r"Encoder_[MQ]\.(mean|std)")  # the pixels' mean and deviation, constants here
DECODER = (  # AFB-URR's names, too
    (r"\.convFM\.", ".fuse."),
    (r"^decoder\.ResMM\.", "decoder.fuse_block."),
    (r"\.RF(\d)\.", r".refine\1."),
    (r"\.convFS\.", ".skip."),
    (r"\.ResFS\.", ".skip_block."),
    (r"\.ResMM\.", ".block."),
    (r"\.pred2\.", ".predict."),
)
NAMES = (
    (r"^Encoder_M\.conv1_m\.", "memory_encoder.mask."),
    (r"^Encoder_M\.conv1_(bg|o)\.", "memory_encoder.second."),
    (r"^Encoder_M\.", "memory_encoder."),
    (r"^Encoder_Q\.", "query_encoder."),
    (r"^KV_M_r4\.", "memory_head."),
    (r"^KV_Q_r4\.", "query_head."),
    (r"^Decoder\.", "decoder."),
    (r"\.Key\.", ".key."),
    (r"\.Value\.", ".value."),
    *DECODER,
)
_SIZES = {"key": "memory_head.key", "value": "memory_head.value", "decoder": "decoder.fuse"}


def our_name(name: str) -> str:
    """A published entry's name -> ours."""
    return renamed(name, NAMES)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict, of either code -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items() if not UNUSED.fullmatch(name)}
    network = memory_network(ours, _SIZES, checkpoint=CHECKPOINT)
    network["second"] = "others" if "Encoder_M.conv1_o.weight" in state else "rest"
    method = StmConfig.model_validate({"name": "stm", "network": network})
    return whole_state(ours, method, build=Stm, checkpoint=CHECKPOINT)


def memory_network(
    ours: Mapping[str, Tensor], sizes: Mapping[str, str], *, checkpoint: str
) -> dict[str, Any]:
    """Return the settings of `MemoryNetwork` that entries' names and shapes show.

    ours: named as ours. sizes: a setting, and the layer whose outputs it counts; `key` for one.
    """
    try:
        base = ours["memory_encoder.conv1.weight"].shape[0]
        weights = {setting: ours[f"{layer}.weight"] for setting, layer in sizes.items()}
    except KeyError as missing:
        raise no_checkpoint(checkpoint, missing) from None
    deepest = weights["key"].shape[1]
    backbone = trunk_of(
        ours,
        [rf"query_encoder\.res{n}\." for n in (2, 3, 4)],
        known={name: (counts, block is Bottleneck) for name, (block, counts) in BLOCKS.items()},
        wide=deepest // (4 * base) == Bottleneck.expansion,
        checkpoint=checkpoint,
    )
    shapes = {setting: weight.shape[0] for setting, weight in weights.items()}
    return {"backbone": backbone, "width": base / 64, **shapes}
