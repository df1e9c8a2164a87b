"""AFB-URR's query encoder as an encoder among others."""

from __future__ import annotations

from mamp.methods.afb_urr.config import AfbConfig
from mamp.methods.afb_urr.network import AfbUrr
from mamp.methods.stm.trunk import KeyTrunk


class AfbTrunk(KeyTrunk):
    """RGB (1, 3, H, W) in [0, 1] -> keys (1, C, h, w) at stride 16, as STM's."""

    def __init__(self, network: AfbUrr, method: AfbConfig) -> None:
        super().__init__(network.query_encoder, network.head.key, colour=method.network.colour)
