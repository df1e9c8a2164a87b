"""How well do the features of a network of your own carry masks?

mamp evaluate davis2017 DAVIS --out runs/mine method=probe method.encoder=examples/own_encoder.py:make
"""

import torch
from torch import nn


def make() -> nn.Module:
    """Return a network: images (B, 3, H, W), mean and deviation taken out, to features (B, C, h, w)."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 7, stride=4, padding=3), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1)
    )
    # your own weights: network.load_state_dict(torch.load("mine.pth", weights_only=True))
    return network.eval()
