"""SSM-VOS's encoder as an encoder among others, under the names that a ResNet's stages have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.methods.ssm.config import SsmConfig
from mamp.methods.ssm.network import Ssm
from mamp.methods.trunk import MethodTrunk
from mamp.ops.colour import imagenet


class SsmTrunk(MethodTrunk):
    """RGB (1, 3, H, W) in [0, 1], with an empty mask beside it -> features of the last stage (1, C, h, w).

    The stages are layer1 to layer4; the third, at stride 16, has the cells that are matched.
    """

    normalises, staged = True, True

    def __init__(self, network: Ssm, method: SsmConfig) -> None:
        super().__init__()
        encoder = network.encoder
        self.conv1, self.bn1, self.maxpool = encoder.conv1, encoder.bn1, encoder.maxpool
        self.layer1, self.layer2 = encoder.layer1, encoder.layer2
        self.layer3, self.layer4 = encoder.layer3, encoder.layer4

    def forward(self, images: Tensor) -> Tensor:
        """Not normalised."""
        seen = torch.cat((imagenet(images), images.new_zeros(len(images), 1, *images.shape[2:])), dim=1)
        stem = self.maxpool(F.relu(self.bn1(self.conv1(seen))))
        return self.layer4(self.layer3(self.layer2(self.layer1(stem))))
