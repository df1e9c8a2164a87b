"""Names in published checkpoints of STM and STM-Cycle -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mamp.config.stm import StmConfig, StmNetwork
from mamp.methods.stm.network import BLOCKS, Bottleneck, Stm
from mamp.methods.supervised import complete, no_checkpoint, renamed, trunk_of

CHECKPOINT = "STM"
UNUSED = re.compile(r"Encoder_[MQ]\.(mean|std)")  # the pixels' mean and deviation, constants here
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
    (r"\.convFM\.", ".fuse."),
    (r"^decoder\.ResMM\.", "decoder.fuse_block."),
    (r"\.RF(\d)\.", r".refine\1."),
    (r"\.convFS\.", ".skip."),
    (r"\.ResFS\.", ".skip_block."),
    (r"\.ResMM\.", ".block."),
    (r"\.pred2\.", ".predict."),
)


def our_name(name: str) -> str:
    """A published entry's name -> ours."""
    return renamed(name, NAMES)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict, of either code -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items() if not UNUSED.fullmatch(name)}
    network = _network(state, ours)
    with torch.device("meta"):
        model = Stm(StmNetwork.model_validate(network))
    complete(ours, model, checkpoint=CHECKPOINT)
    method = {"name": "stm", "network": network}
    return ours, StmConfig.model_validate(method).model_dump(mode="json", include={"name", "network"})


def _network(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the entries' names and shapes tell of the network."""
    try:
        base = ours["memory_encoder.conv1.weight"].shape[0]
        shapes = {part: ours[name].shape[0] for part, name in _SHAPES.items()}
        deepest = ours["memory_head.key.weight"].shape[1]
    except KeyError as missing:
        raise no_checkpoint(CHECKPOINT, missing) from None
    backbone = backbone_of(ours, base=base, deepest=deepest, checkpoint=CHECKPOINT)
    second = "others" if "Encoder_M.conv1_o.weight" in state else "rest"
    return {"backbone": backbone, "width": base / 64, "second": second, **shapes}


def backbone_of(ours: Mapping[str, Tensor], *, base: int, deepest: int, checkpoint: str) -> str:
    """Which trunk entries named as ours are of. base: channels of its stem; deepest: of its last stage."""
    return trunk_of(
        ours,
        [rf"query_encoder\.res{n}\." for n in (2, 3, 4)],
        known={name: (counts, block is Bottleneck) for name, (block, counts) in BLOCKS.items()},
        wide=deepest // (4 * base) == Bottleneck.expansion,
        checkpoint=checkpoint,
    )


_SHAPES = {
    "key": "memory_head.key.weight",
    "value": "memory_head.value.weight",
    "decoder": "decoder.fuse.weight",
}
