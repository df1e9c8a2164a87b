"""Names in published checkpoints of SSM-VOS -> ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mamp.methods.ssm.config import SsmConfig
from mamp.methods.ssm.network import DEEPEST, Ssm
from mamp.methods.stm.network import BLOCKS, Bottleneck
from mamp.methods.supervised import no_checkpoint, renamed, trunk_of, whole_state

CHECKPOINT = "SSM-VOS"
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
    return renamed(name, NAMES)


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Convert a published state dict; return it with the method's config. The network computes as published.

    Raises UserError when names are missing or left over.
    """
    ours = {our_name(name): value for name, value in state.items()}
    method = SsmConfig.model_validate({"name": "ssm", "network": _network(ours)})
    return whole_state(ours, method, build=Ssm, checkpoint=CHECKPOINT)


def _network(ours: Mapping[str, Tensor]) -> dict[str, Any]:
    """Settings of the network by the entries' names and shapes; the rest is as published."""
    try:
        base = ours["encoder.conv1.weight"].shape[0]
        channels, deepest = ours["structure.group.weight"].shape[0], ours["context.branch1.0.weight"].shape[1]
        top_k = channels // ours["structure.whole.weight"].shape[0]
        decoder = ours["predict.weight"].shape[1]
    except (KeyError, IndexError) as missing:
        raise no_checkpoint(CHECKPOINT, missing) from None
    backbone = trunk_of(
        ours,
        [rf"encoder\.layer{n}\." for n in (1, 2, 3, 4)],
        known={n: ((*counts, DEEPEST[n]), block is Bottleneck) for n, (block, counts) in BLOCKS.items()},
        wide=deepest // (16 * base) == Bottleneck.expansion,
        checkpoint=CHECKPOINT,
    )
    fixed = {"matching": "conv", "structure": "reference", "context": "swapped"}
    return {"backbone": backbone, "width": base / 64, "top_k": top_k, "decoder": decoder, **fixed}
