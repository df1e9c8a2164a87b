"""How a frame meets the network as published: resized by Pillow where it is tall."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.methods.afb_urr.config import AfbPropagation
from mamp.methods.stm.fitting import Fit, Padded
from mamp.ops.pillow import pillow_bicubic, pillow_nearest


class Tall(Padded):
    """A frame of `height` or more, resized to it: bicubic as Pillow's of 8 bits, masks by nearest.

    The rest as `Padded`.
    """

    def __init__(self, size: tuple[int, int], height: int | None) -> None:
        super().__init__(size, None)
        if height is not None and size[0] >= height:
            inner = height, int(size[1] / size[0] * height)
            super().__init__(inner, None)
            self.size = size

    def frame(self, frame: Tensor) -> Tensor:
        """Black around."""
        if tuple(frame.shape[-2:]) != self.inner:
            frame = pillow_bicubic(frame, self.inner)
        return F.pad(frame, self.margins)

    def masks(self, masks: Tensor) -> Tensor:
        """Each pixel the nearest one's."""
        if tuple(masks.shape[-2:]) != self.inner:
            masks = pillow_nearest(masks, self.inner)
        return torch.cat((1 - masks.sum(0, keepdim=True), masks))

    def to_frame(self, probabilities: Tensor) -> Tensor:
        """Each pixel the nearest one's, by PyTorch's rule, which is another than Pillow's."""
        if tuple(probabilities.shape[-2:]) == self.size:
            return probabilities
        return F.interpolate(probabilities[None], self.size, mode="nearest")[0]


def make_fit(size: tuple[int, int], knobs: AfbPropagation) -> Fit:
    """What `method.propagation.fit` says, for frames of this size."""
    return Tall(size, knobs.height) if knobs.fit == "published" else Padded(size, knobs.short_side)
