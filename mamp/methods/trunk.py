"""What a method's encoder says of itself, to the probe and the page that read it."""

from __future__ import annotations

from torch import nn


class MethodTrunk(nn.Module):
    """A method's encoder: images (1, 3, H, W) -> features (1, C, h, w).

    normalises: it takes RGB in [0, 1] and normalises by itself; others take RGB normalised as for ImageNet.
    patch: the sides of its inputs are multiples of this many pixels.
    staged: it has stages layer1, layer2, ... that can be read by name.
    """

    normalises: bool = False
    patch: int = 1
    staged: bool = False
