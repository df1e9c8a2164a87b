"""Names in published checkpoints of STM and STM-Cycle -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mamp.config.stm import StmConfig, StmNetwork
from mamp.errors import UserError
from mamp.methods.stm.network import BLOCKS, Bottleneck, Stm

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
    for pattern, ours in NAMES:
        name = re.sub(pattern, ours, name)
    return name


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict, of either code -> ours, and the method's config it belongs to.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items() if not UNUSED.fullmatch(name)}
    network = _network(state, ours)
    wanted = Stm(StmNetwork.model_validate(network)).state_dict()
    for name in wanted.keys() - ours.keys():
        if name.endswith("num_batches_tracked"):  # absent from old files
            ours[name] = torch.zeros((), dtype=torch.int64)
    if wrong := sorted(set(wanted) ^ set(ours)):
        raise UserError(
            f"this STM checkpoint has {len(wrong)} missing or surplus entries, first {wrong[0]}; give a published STM or STM-Cycle one"
        )
    method = {"name": "stm", "network": network}
    return ours, StmConfig.model_validate(method).model_dump(mode="json", include={"name", "network"})


def _network(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the entries' names and shapes tell of the network."""
    try:
        base = ours["memory_encoder.conv1.weight"].shape[0]
        shapes = {part: ours[name].shape[0] for part, name in _SHAPES.items()}
        deepest = ours["memory_head.key.weight"].shape[1]
    except KeyError as missing:
        raise UserError(
            f"this is no STM checkpoint: it has no entry that means {missing}; give a published STM or STM-Cycle one"
        ) from None
    backbone = backbone_of(ours, base=base, deepest=deepest, method="STM")
    second = "others" if "Encoder_M.conv1_o.weight" in state else "rest"
    return {"backbone": backbone, "width": base / 64, "second": second, **shapes}


def backbone_of(ours: Mapping[str, Tensor], *, base: int, deepest: int, method: str) -> str:
    """Which trunk entries named as ours are of. base: channels of its stem; deepest: of its last stage.

    Raises UserError, calling the checkpoint one of `method`, when it is none.
    """
    wide = deepest // (4 * base) == Bottleneck.expansion
    stages = [r"res2\.(\d+)\.", r"res3\.(\d+)\.", r"res4\.(\d+)\."]
    counts = tuple(
        1 + max((int(m[1]) for name in ours if (m := re.match(r"query_encoder\." + part, name))), default=-1)
        for part in stages
    )
    found = [name for name, (block, n) in BLOCKS.items() if n == counts and (block is Bottleneck) == wide]
    if not found:
        raise UserError(
            f"this {method} checkpoint has trunks of {counts} blocks, which is none of {', '.join(BLOCKS)}"
        )
    return found[0]


_SHAPES = {
    "key": "memory_head.key.weight",
    "value": "memory_head.value.weight",
    "decoder": "decoder.fuse.weight",
}
