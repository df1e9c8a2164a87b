"""MAMP's encoder: a plain ResNet-18 with features at stride 4 (Miao et al., 2022)."""

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

    width: channel counts as a fraction of the published 64, 64, 128, 256, 256. features: C. depth: blocks in
    a layer. At width 1, C = 64 and depth 2 it has the published 5,291,648 parameters.
    distilled: beside it stands a network of one block in a layer, `distilled`, which gives in one pass of the
    whole frame features alike where those of the two views joined are; `forward` leaves it out.
    """

    def __init__(
        self, *, width: float = 1.0, features: int = 64, depth: int = 2, distilled: bool = False
    ) -> None:
        super().__init__()
        c = [max(8, round(n * width)) for n in (64, 64, 128, 256, 256)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, c[0], 7, 2, 3, bias=False), nn.BatchNorm2d(c[0]), nn.ReLU(inplace=True)
        )
        self.layer1 = _layer(c[0], c[1], depth)
        self.layer2 = _layer(c[1], c[2], depth, stride=2)
        self.layer3 = _layer(c[2], c[3], depth)
        self.layer4 = _layer(c[3], c[4], depth)
        self.head = nn.Conv2d(c[4], features, 3, 1, 1)
        self.distilled = Encoder(width=width, features=features, depth=1) if distilled else None

    def forward(self, lab: Tensor) -> Tensor:
        """Features at stride 4, not normalised."""
        x = self.layer2(self.layer1(self.stem(lab)))  # (B, 128, h, w) at width 1
        return self.head(self.layer4(self.layer3(x)))


def _layer(inputs: int, outputs: int, depth: int, *, stride: int = 1) -> nn.Sequential:
    """`depth` blocks, the first of which changes channels and side."""
    first = Block(inputs, outputs, stride=stride)
    return nn.Sequential(first, *(Block(outputs, outputs) for _ in range(depth - 1)))


def published_name(name: str) -> str:
    """Our state-dict name -> the name in published checkpoints."""
    if name.startswith("head."):
        return "post_convolution." + name.removeprefix("head.")
    if name.startswith("stem."):
        return "feature_extraction.conv1." + name.removeprefix("stem.")
    return "feature_extraction." + name


def build_model(method: MampConfig) -> Encoder:
    """Return the encoder that `method` describes, with fresh weights."""
    knobs = method.encoder
    return Encoder(width=knobs.width, features=knobs.features, distilled=knobs.distilled)
