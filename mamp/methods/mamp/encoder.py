"""MAMP's encoder: a plain residual network with features at stride 4 (Miao et al., 2022; layout of
ResNet-18).
"""

from __future__ import annotations

from torch import Tensor, nn

from mamp.methods.mamp.config import MampConfig

STRIDE = 4  # pixels to a feature cell


class Block(nn.Module):
    """ReLU(left(x) + shortcut(x)), two 3x3 convolutions on the left."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.left = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, ceil(h/stride), ceil(w/stride))."""
        return self.relu(self.left(x) + self.shortcut(x))


class Encoder(nn.Module):
    """Normalised Lab (B, 3, H, W) -> features (B, C, ceil(ceil(H/2)/2), ceil(ceil(W/2)/2)).

    width: channel counts as a fraction of the published 64, 64, 128, 256, 256. features: C.
    At width 1 and C = 64 it has the published 5,291,648 parameters.
    """

    def __init__(self, *, width: float = 1.0, features: int = 64) -> None:
        super().__init__()
        c = [max(8, round(n * width)) for n in (64, 64, 128, 256, 256)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, c[0], 7, 2, 3, bias=False), nn.BatchNorm2d(c[0]), nn.ReLU(inplace=True)
        )
        self.layer1 = nn.Sequential(Block(c[0], c[1]), Block(c[1], c[1]))
        self.layer2 = nn.Sequential(Block(c[1], c[2], stride=2), Block(c[2], c[2]))
        self.layer3 = nn.Sequential(Block(c[2], c[3]), Block(c[3], c[3]))
        self.layer4 = nn.Sequential(Block(c[3], c[4]), Block(c[4], c[4]))
        self.head = nn.Conv2d(c[4], features, 3, 1, 1)

    def forward(self, lab: Tensor) -> Tensor:
        """Features at stride 4, not normalised."""
        x = self.layer2(self.layer1(self.stem(lab)))  # (B, 128, h, w) at width 1
        return self.head(self.layer4(self.layer3(x)))


def published_name(name: str) -> str:
    """Our state-dict name -> the name in published checkpoints."""
    if name.startswith("head."):
        return "post_convolution." + name.removeprefix("head.")
    if name.startswith("stem."):
        return "feature_extraction.conv1." + name.removeprefix("stem.")
    return "feature_extraction." + name


def build_model(method: MampConfig) -> Encoder:
    """Return the encoder that `method` describes, with fresh weights."""
    return Encoder(width=method.encoder.width, features=method.encoder.features)
