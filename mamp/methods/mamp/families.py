"""Encoders that can be joined to MAMP's by a short name; no torch.

What `layer`, `scale`, `weight` and the pixels' mean and deviation of a family are follows from what its
authors say of it. Only for those in SEEN were they chosen by running it (docs/experiments.md).
"""

from __future__ import annotations

from typing import Any

_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

FAMILIES: dict[str, dict[str, Any]] = {
    "efficientnet-lite0": {
        "encoder": "mamp.methods.mamp.lite:make",
        "layer": "network.blocks.2",
        "scale": 2,
        "weight": 0.3,
        **_HALF,
    },
    "dino-small": {"encoder": "timm:vit_small_patch16_224.dino", "scale": 2, "weight": 0.3},
    "dino-small-8": {"encoder": "timm:vit_small_patch8_224.dino", "scale": 1, "weight": 0.3},
    "dinov2-small": {"encoder": "timm:vit_small_patch14_reg4_dinov2.lvd142m", "scale": 2, "weight": 0.3},
    "dinov3-small": {"encoder": "timm:vit_small_patch16_dinov3.lvd1689m", "scale": 2, "weight": 0.3},
    "dinov3-base": {"encoder": "timm:vit_base_patch16_dinov3.lvd1689m", "scale": 2, "weight": 0.3},
    "moco-resnet50": {"encoder": "torchvision:resnet50", "stage": 3, "scale": 1, "weight": 0.3},
}
SEEN = {"efficientnet-lite0"}
# families whose weights no library downloads
NEED_A_FILE = {"moco-resnet50"}


def settings(given: Any) -> Any:
    """What was given of an encoder to join, a name or a mapping, as a mapping with its family's settings."""
    if isinstance(given, str):
        given = {"encoder": given}
    if not isinstance(given, dict) or given.get("encoder") not in FAMILIES:
        return given
    name = given["encoder"]
    return {**FAMILIES[name], "family": name, **{k: v for k, v in given.items() if k != "encoder"}}
