"""STM's query encoder as an encoder among others, under the names that a ResNet's stages have."""

from __future__ import annotations

from torch import Tensor, nn

from mamp.methods.stm.config import StmConfig
from mamp.methods.stm.fitting import normalise
from mamp.methods.stm.network import Stm, Trunk
from mamp.methods.trunk import MethodTrunk


class KeyTrunk(MethodTrunk):
    """RGB (1, 3, H, W) in [0, 1] -> keys (1, C, h, w) at stride 16, by which the memory compares frames.

    The stages of the trunk are layer1, layer2 and layer3, so that they are read, and their strides changed,
    like a ResNet's.
    """

    normalises, staged = True, True

    def __init__(self, encoder: Trunk, key: nn.Module, *, colour: str) -> None:
        super().__init__()
        self.colour = colour
        self.stem = nn.Sequential(encoder.conv1, encoder.bn1, encoder.relu, encoder.maxpool)
        self.layer1, self.layer2, self.layer3 = encoder.res2, encoder.res3, encoder.res4
        self.key = key

    def forward(self, images: Tensor) -> Tensor:
        """Keys, not normalised."""
        stem = self.stem(normalise(images, self.colour))
        return self.key(self.layer3(self.layer2(self.layer1(stem))))


class StmTrunk(KeyTrunk):
    """STM's."""

    def __init__(self, network: Stm, method: StmConfig) -> None:
        super().__init__(network.query_encoder, network.query_head.key, colour=method.network.colour)
