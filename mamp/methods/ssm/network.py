"""SSM-VOS's network: one ResNet that sees masks, matching, structure, and the decoder (T-CSVT 2021)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.errors import UserError
from mamp.methods.ssm.config import SsmConfig, SsmNetwork
from mamp.methods.ssm.matching import pick, similarities, structure_maps
from mamp.methods.stm.network import BLOCKS, stage
from mamp.ops.sizes import resize

DEEPEST = {"resnet18": 2, "resnet34": 3, "resnet50": 3, "resnet101": 3}  # blocks of the last stage
MASK_DEVIATION = 1e-4  # of the mask's weights in the first convolution, at first


@dataclass(frozen=True)
class Features:
    """Of frames with masks: at 1/32, 1/16, 1/8 and 1/4, (B, channels, ., .)."""

    deepest: Tensor
    cells: Tensor
    eighth: Tensor
    quarter: Tensor

    def float(self) -> Features:
        """The same in float32."""
        return Features(self.deepest.float(), self.cells.float(), self.eighth.float(), self.quarter.float())


@dataclass(frozen=True)
class Reference:
    """What an object is compared with, (B, ...) each, or None.

    Features at 1/32 and 1/16; which cells are its own, bool (B, h*w); what the structure is made of where the
    reference gives it.
    """

    deepest: Tensor
    cells: Tensor
    own: Tensor
    group: Tensor | None
    whole: Tensor | None

    def __getitem__(self, objects: slice | list[int]) -> Reference:
        parts: list[Any] = [None if x is None else x[objects] for x in self._parts()]
        return Reference(*parts)

    def float(self) -> Reference:
        """The same with its features in float32."""
        floats: list[Any] = [
            x.float() if x is not None and x.is_floating_point() else x for x in self._parts()
        ]
        return Reference(*floats)

    def joined(self, other: Reference) -> Reference:
        """These objects, then those of `other`."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        parts: list[Any] = [None if a is None or b is None else torch.cat((a, b)) for a, b in pairs]
        return Reference(*parts)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(x.nbytes for x in self._parts() if x is not None)

    def _parts(self) -> list[Any]:
        return list(vars(self).values())


class Trunk(nn.Module):
    """ResNet with a fourth input channel: (B, 4, H, W) -> features at 1/32, 1/16, 1/8, 1/4."""

    def __init__(self, backbone: str, *, width: float) -> None:
        super().__init__()
        block, counts = BLOCKS[backbone]
        base = max(8, round(64 * width))
        self.conv1 = nn.Conv2d(4, base, 7, 2, 3, bias=False)
        nn.init.normal_(self.conv1.weight[:, 3:], std=MASK_DEVIATION)
        self.bn1 = nn.BatchNorm2d(base)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        wide = block.expansion
        self.layer1 = stage(block, base, base, count=counts[0], stride=1)
        self.layer2 = stage(block, base * wide, 2 * base, count=counts[1], stride=2)
        self.layer3 = stage(block, 2 * base * wide, 4 * base, count=counts[2], stride=2)
        self.layer4 = stage(block, 4 * base * wide, 8 * base, count=DEEPEST[backbone], stride=2)
        self.channels = tuple(base * wide * n for n in (8, 4, 2, 1))

    def forward(self, x: Tensor) -> Features:
        """Normalised frames and masks."""
        quarter = self.layer1(self.maxpool(F.relu(self.bn1(self.conv1(x)))))
        eighth = self.layer2(quarter)
        cells = self.layer3(eighth)
        return Features(self.layer4(cells), cells, eighth, quarter)


class ResidualBlock(nn.Module):
    """relu(x) + conv2(relu(conv1(relu(x)))). The sum sees relu(x), as the published relu works in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        x = F.relu(x)
        return x + self.conv2(F.relu(self.conv1(x)))


class Context(nn.Module):
    """Reference and frame at 1/32 seen by large separable kernels; `swapped` has the published paddings."""

    def __init__(self, inputs: int, channels: int, *, swapped: bool, kernel: int = 7) -> None:
        super().__init__()
        across, down = (1, kernel), (kernel, 1)
        beside, above = (0, kernel // 2), (kernel // 2, 0)
        self.branch1 = nn.Sequential(
            nn.Conv2d(inputs, channels, across, padding=beside),
            nn.Conv2d(channels, channels, down, padding=above),
        )
        first, second = (beside, above) if swapped else (above, beside)
        self.branch2 = nn.Sequential(
            nn.Conv2d(inputs, channels, down, padding=first),
            nn.Conv2d(channels, channels, across, padding=second),
        )
        self.block = ResidualBlock(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, channels, h, w); with `swapped` h is 7 or more."""
        return self.block(self.branch1(x) + self.branch2(x))


class Refine(nn.Module):
    """Decoder features brought to the size of finer ones and joined with them."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, channels, 3, padding=1)
        self.skip_block = ResidualBlock(channels)
        self.block = ResidualBlock(channels)

    def forward(self, x: Tensor, fine: Tensor, maps: Tensor) -> Tensor:
        """Coarser (B, D, ., .), features and maps (B, ., h, w) -> (B, D, h, w)."""
        skip = self.skip_block(self.skip(torch.cat((fine, maps), dim=1)))
        return self.block(resize(x, skip.shape[-2:]) + skip)


class Structure(nn.Module):
    """What the separable structure maps are made of, and masks by them alone."""

    def __init__(self, channels: int, *, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.group = nn.Conv2d(channels, channels, 1, groups=top_k)
        self.whole = nn.Conv2d(channels, channels // top_k, 1)
        self.predict = nn.Conv2d(2 * (channels // top_k), 2, 1)

    def prepare(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, h, w) -> k groups (B, C, h, w) and the whole (B, C/k, h, w)."""
        return F.relu(self.group(cells)), F.relu(self.whole(cells))


class Ssm(nn.Module):
    """Separable structure modelling. One object a row: its own crop of the frame, its own reference.

    entries: what propagation calls. Similarities are sums of products of features, beyond 65,504, the
    largest number of fp16; all that is made of them is float32 where mixed precision is fp16.
    """

    entries = ("refer", "look", "forward")

    def __init__(self, knobs: SsmNetwork, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = knobs.backbone
        self.matching, self.by_reference = knobs.matching, knobs.structure == "reference"
        self.encoder = Trunk(knobs.backbone, width=knobs.width)
        deepest, cells, eighth, quarter = self.encoder.channels
        if cells % knobs.top_k:
            raise UserError(
                f"method.network.top_k={knobs.top_k} does not divide the {cells} channels at 1/16; choose one"
                " that does"
            )
        self.structure = Structure(cells, top_k=knobs.top_k)
        maps = 2 * knobs.top_k + 2 * (cells // knobs.top_k)
        self.context = Context(2 * deepest, knobs.decoder, swapped=knobs.context == "swapped")
        self.refine1 = Refine(cells + maps, knobs.decoder)
        self.refine2 = Refine(eighth + maps, knobs.decoder)
        self.refine3 = Refine(quarter + maps, knobs.decoder)
        self.dropout = nn.Dropout2d(dropout)
        self.predict = nn.Conv2d(knobs.decoder, 2, 3, padding=1)

    def refer(self, frames: Tensor, masks: Tensor) -> Reference:
        """Encode normalised crops (B, 3, H, W) and masks (B, 1, H, W), once for all frames to come."""
        found = self.encoder(torch.cat((frames, masks), dim=1))
        own = resize(masks, found.cells.shape[-2:]).flatten(1) > 0.5
        group, whole = self.structure.prepare(found.cells) if self.by_reference else (None, None)
        return Reference(found.deepest, found.cells, own, group, whole)

    def look(self, frames: Tensor, previous: Tensor) -> Features:
        """Normalised crops (B, 3, H, W) and the masks of the frame before (B, 1, H, W)."""
        return self.encoder(torch.cat((frames, previous), dim=1))

    def forward(self, reference: Reference, seen: Features, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return logits (B, 2, *size), not the object and the object, and those of the structure alone."""
        x = self.context(torch.cat((reference.deepest, seen.deepest), dim=1))
        kind = seen.cells.device.type
        narrow = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        with torch.autocast(kind, enabled=False) if narrow else contextlib.nullcontext():
            if narrow:
                x, reference, seen = x.float(), reference.float(), seen.float()
            maps, structure = self.compare(reference, seen)
            x = self.refine1(x, seen.cells, maps)
            for refine, fine in ((self.refine2, seen.eighth), (self.refine3, seen.quarter)):
                maps = F.interpolate(maps, fine.shape[-2:], mode="nearest")
                x = refine(x, fine, maps)
            logits = self.predict(self.dropout(x))
        return resize(logits.float(), size), resize(structure.float(), size)

    def compare(self, reference: Reference, seen: Features) -> tuple[Tensor, Tensor]:
        """Return what a cell is like, (B, 2k + 2C/k, h, w), and masks (B, 2, h, w) by the structure alone."""
        with torch.autocast(seen.cells.device.type, enabled=False):
            affinity = similarities(reference.cells.float(), seen.cells.float(), matching=self.matching)
        picked = pick(affinity, reference.own, top_k=self.structure.top_k)
        source = reference.cells if self.by_reference else seen.cells
        group, whole = reference.group, reference.whole
        if group is None or whole is None:
            group, whole = self.structure.prepare(seen.cells)
        structure = structure_maps(source, picked.cells, group, whole)
        shape = seen.cells.shape[-2:]
        maps = [picked.background.unflatten(-1, shape), picked.object.unflatten(-1, shape), structure]
        return torch.cat(maps, dim=1), self.structure.predict(structure)


def build_model(method: SsmConfig) -> Ssm:
    """Return the network that `method` describes, with fresh weights."""
    return Ssm(method.network)
