"""Fit frames to the network and masks back to frames: one fit for each published program, and this one's."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.methods.stm.config import StmPropagation
from mamp.methods.stm.network import STRIDE
from mamp.ops.colour import imagenet, rgb_to_lab
from mamp.ops.sizes import letterbox, neighbours_on, resize, scaled, short_side_factor


class Fit(Protocol):
    """Frames and masks of one size (H, W), fitted to the masks' grid (I) and the network's (N), and back."""

    inner: tuple[int, int]  # the frame's size in what the network sees

    def frame(self, frame: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] -> (3, N), not normalised."""

    def masks(self, masks: Tensor) -> Tensor:
        """Disjoint masks (K, H, W) in {0, 1} -> labels (K+1, I), background first; 0 where unlabelled."""

    def to_network(self, labels: Tensor) -> Tensor:
        """(K, I) -> (K, N)."""

    def from_network(self, logits: Tensor) -> Tensor:
        """(..., N) -> (..., I)."""

    def to_frame(self, probabilities: Tensor) -> Tensor:
        """(K+1, I) -> (K+1, H, W)."""


class Letterbox:
    """A frame in the middle of a black box, as STM-Cycle's program fits it; I and N are the box.

    Given masks are eroded: only box pixels that read labelled pixels alone keep their label. The published
    program resized masks bilinearly and cut off the fraction.
    """

    def __init__(self, size: tuple[int, int], box: tuple[int, int]) -> None:
        self.size = size
        self.inner, self.margins = letterbox(size, box)

    def frame(self, frame: Tensor) -> Tensor:
        """Bilinear, black around."""
        rows, columns = self._neighbours(frame.device)
        shrunk = torch.lerp(frame[:, rows[0]], frame[:, rows[1]], rows[2][:, None])
        shrunk = torch.lerp(shrunk[..., columns[0]], shrunk[..., columns[1]], columns[2])
        return F.pad(shrunk, self.margins)

    def masks(self, masks: Tensor) -> Tensor:
        """Eroded; pixels between labels and around the frame have none."""
        labels = torch.cat((1 - masks.sum(0, keepdim=True), masks))
        rows, columns = self._neighbours(masks.device)
        whole = labels[:, rows[0]].minimum(labels[:, rows[1]])
        whole = whole[..., columns[0]].minimum(whole[..., columns[1]])
        return F.pad(whole, self.margins)

    def to_network(self, labels: Tensor) -> Tensor:
        """The same."""
        return labels

    def from_network(self, logits: Tensor) -> Tensor:
        """The same."""
        return logits

    def to_frame(self, probabilities: Tensor) -> Tensor:
        """Cut out of the box, each pixel the nearest one's."""
        (height, width), (left, _, top, _) = self.inner, self.margins
        cut = probabilities[:, top : top + height, left : left + width]
        return F.interpolate(cut[None], self.size, mode="nearest")[0]

    def _neighbours(self, device: torch.device) -> list[tuple[Tensor, ...]]:
        """For rows and columns: first and second pixel, and the second one's part."""
        return [neighbours_on(*side, device) for side in zip(self.size, self.inner, strict=True)]


class Padded:
    """A frame at its shape, scaled to a short side at most (I), and padded to a multiple of 16 (N).

    The padding is half before and half after, as in the ICCV 2019 program; masks are 0 there.
    """

    def __init__(self, size: tuple[int, int], short_side: int | None) -> None:
        self.size = size
        self.inner = scaled(size, short_side_factor(size, short_side))
        spare_h, spare_w = -self.inner[0] % STRIDE, -self.inner[1] % STRIDE
        self.margins = (spare_w // 2, spare_w - spare_w // 2, spare_h // 2, spare_h - spare_h // 2)

    def frame(self, frame: Tensor) -> Tensor:
        """Bilinear, black around."""
        return F.pad(resize(frame, self.inner), self.margins)

    def masks(self, masks: Tensor) -> Tensor:
        """Soft where pixels are averaged."""
        return resize(torch.cat((1 - masks.sum(0, keepdim=True), masks)), self.inner)

    def to_network(self, labels: Tensor) -> Tensor:
        """0 around."""
        return F.pad(labels, self.margins)

    def from_network(self, logits: Tensor) -> Tensor:
        """Cut out."""
        left, _, top, _ = self.margins
        return logits[..., top : top + self.inner[0], left : left + self.inner[1]]

    def to_frame(self, probabilities: Tensor) -> Tensor:
        """Bilinear."""
        return resize(probabilities, self.size)


def make_fit(size: tuple[int, int], knobs: StmPropagation) -> Fit:
    """What `method.propagation.fit` says, for frames of this size."""
    if knobs.fit == "letterbox":
        return Letterbox(size, knobs.input_size)
    return Padded(size, knobs.short_side)


def normalise(frames: Tensor, colour: str) -> Tensor:
    """RGB (..., 3, H, W) in [0, 1] -> what the trunks see; black padding becomes what black is."""
    return rgb_to_lab(frames) if colour == "lab" else imagenet(frames)
