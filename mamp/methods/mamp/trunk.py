"""MAMP's encoder as an encoder among others: RGB in, features out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.methods.mamp.config import MampConfig
from mamp.methods.trunk import MethodTrunk
from mamp.ops.colour import CHROMA, drop_channel, rgb_to_lab

# Similarities of distilled features differ by less than those of the views: 1.25 of them is best on tune.
SHARPER = 1.25**0.5


class MampTrunk(MethodTrunk):
    """The encoder itself: RGB (1, 3, H, W) in [0, 1] -> features (1, C, h, w) at stride 4.

    They are of the views of `method.propagation.views`.
    """

    normalises = True

    def __init__(self, network: nn.Module, method: MampConfig) -> None:
        super().__init__()
        propagation = method.propagation.model_copy(update={"distilled": False})
        self.network, self.method = network, method.model_copy(update={"propagation": propagation})

    def forward(self, images: Tensor) -> Tensor:
        """Features, joined over the views."""
        lab = rgb_to_lab(images[0], self.method.encoder.lab)
        return encode_views(self.network, lab, self.method)[None]


def encode_views(network: nn.Module, lab: Tensor, method: MampConfig) -> Tensor:
    """Return features (C, h, w) of normalised Lab (3, H, W), all views joined.

    All have one length when compared by cosine; it is 1 but for distilled ones.
    """
    seen = [lab]
    if method.reads_distilled():
        network = network.get_submodule("distilled")
    elif method.propagation.views == "hidden":
        seen = [drop_channel(lab, channel) for channel in CHROMA]
    views = torch.stack(seen).contiguous(memory_format=torch.channels_last)
    features = network(views).float()  # (views, C, h, w)
    if method.encoder.similarity == "cosine":
        features = F.normalize(features, dim=1)
    if method.reads_distilled():
        features = features * SHARPER
    # dot products are then means over the views
    return (features.flatten(0, 1) / len(seen) ** 0.5).contiguous()
