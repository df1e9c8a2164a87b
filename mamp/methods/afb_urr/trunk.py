"""AFB-URR's query encoder as an encoder among others: RGB in, features out."""

from __future__ import annotations

from torch import Tensor, nn

from mamp.config.afb_urr import AfbConfig
from mamp.methods.afb_urr.network import AfbUrr
from mamp.methods.stm.fitting import normalise


class AfbTrunk(nn.Module):
    """RGB (1, 3, H, W) in [0, 1] -> features (1, C, h, w) of the query encoder's second stage, at stride 8."""

    normalises = True  # images come in [0, 1]
    patch = 1

    def __init__(self, network: nn.Module, method: AfbConfig) -> None:
        super().__init__()
        assert isinstance(network, AfbUrr)
        self.encoder, self.colour = network.query_encoder, method.network.colour

    def forward(self, images: Tensor) -> Tensor:
        """Features, not normalised."""
        return self.encoder(normalise(images, self.colour))[1]
