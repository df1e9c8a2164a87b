"""Names in published checkpoints of SSM-VOS -> ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mamp.config.ssm import SsmConfig, SsmNetwork
from mamp.errors import UserError
from mamp.methods.ssm.network import DEEPEST, Ssm
from mamp.methods.stm.network import BLOCKS, Bottleneck

NAMES = (
    (r"^pixel_corr\.self_structure\.group_conv\.0\.", "structure.group."),
    (r"^pixel_corr\.self_structure\.global_conv\.0\.", "structure.whole."),
    (r"^pixel_corr\.conv1x1\.", "structure.predict."),
    (r"^GCB\.", "context."),
    (r"^RM(\d)\.conv\.", r"refine\1.skip."),
    (r"^RM(\d)\.RB1\.", r"refine\1.skip_block."),
    (r"^RM(\d)\.RB2\.", r"refine\1.block."),
    (r"^context\.RB\.", "context.block."),
    (r"\.res\.1\.", ".conv1."),
    (r"\.res\.3\.", ".conv2."),
    (r"^classifier\.", "predict."),
)


def our_name(name: str) -> str:
    """A published entry's name -> ours."""
    for pattern, ours in NAMES:
        name = re.sub(pattern, ours, name)
    return name


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A published state dict -> ours, and the method's config it belongs to: its network computes as published.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items()}
    network = _network(ours)
    with torch.device("meta"):
        wanted = Ssm(SsmNetwork.model_validate(network)).state_dict()
    for name in wanted.keys() - ours.keys():
        if name.endswith("num_batches_tracked"):  # absent from old files
            ours[name] = torch.zeros((), dtype=torch.int64)
    if wrong := sorted(set(wanted) ^ set(ours)):
        raise UserError(
            f"this SSM-VOS checkpoint has {len(wrong)} missing or surplus entries, first {wrong[0]}; give a published one"
        )
    method = {"name": "ssm", "network": network}
    return ours, SsmConfig.model_validate(method).model_dump(mode="json", include={"name", "network"})


def _network(ours: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the entries' names and shapes tell of the network; the rest is as published."""
    try:
        base = ours["encoder.conv1.weight"].shape[0]
        channels, deepest = ours["structure.group.weight"].shape[0], ours["context.branch1.0.weight"].shape[1]
        top_k = channels // ours["structure.whole.weight"].shape[0]
        decoder = ours["predict.weight"].shape[1]
    except (KeyError, IndexError) as missing:
        raise UserError(
            f"this is no SSM-VOS checkpoint: it has no entry that means {missing}; give a published one"
        ) from None
    wide = deepest // (16 * base) == Bottleneck.expansion
    counts = tuple(
        1
        + max(
            (int(m[1]) for name in ours if (m := re.match(rf"encoder\.layer{n}\.(\d+)\.", name))), default=-1
        )
        for n in (1, 2, 3, 4)
    )
    found = [
        name
        for name, (block, blocks) in BLOCKS.items()
        if (*blocks, DEEPEST[name]) == counts and (block is Bottleneck) == wide
    ]
    if not found:
        raise UserError(
            f"this SSM-VOS checkpoint has a trunk of {counts} blocks, which is none of {', '.join(BLOCKS)}"
        )
    fixed = {"matching": "conv", "structure": "reference", "context": "swapped"}
    return {"backbone": found[0], "width": base / 64, "top_k": top_k, "decoder": decoder, **fixed}
