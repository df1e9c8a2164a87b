"""STM's network: two ResNet trunks, key and value heads, and the decoder (Oh et al., ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from mamp.methods.stm.config import StmConfig, StmNetwork
from mamp.ops.sizes import resize, size_of

STRIDE = 16  # pixels to a memory cell
BLOCKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6)),
    "resnet50": (Bottleneck, (3, 4, 6)),
    "resnet101": (Bottleneck, (3, 4, 23)),
}


@dataclass
class Query:
    """Frames as they are compared and decoded.

    key (B, C, h, w), value (B, V, h, w). For the decoder, what the trunk has at 1/8 and 1/4, (B, D, ., .).
    size: (H, W) of the frames.
    """

    key: Tensor
    value: Tensor
    eighth: Tensor
    quarter: Tensor
    size: tuple[int, int]


class Trunk(nn.Module):
    """ResNet without its last stage: (B, 3, H, W) -> features at 1/16, 1/8 and 1/4, sides rounded up."""

    def __init__(self, backbone: str, *, width: float) -> None:
        super().__init__()
        block, counts = BLOCKS[backbone]
        base = max(8, round(64 * width))
        self.conv1 = nn.Conv2d(3, base, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.res2 = stage(block, base, base, count=counts[0], stride=1)
        self.res3 = stage(block, base * block.expansion, 2 * base, count=counts[1], stride=2)
        self.res4 = stage(block, 2 * base * block.expansion, 4 * base, count=counts[2], stride=2)
        self.channels = tuple(base * block.expansion * n for n in (4, 2, 1))  # at 1/16, 1/8, 1/4

    def stages(self, stem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Output of the first convolution -> features at 1/16, 1/8, 1/4."""
        return self.deeper(self.shallow(stem))

    def shallow(self, stem: Tensor) -> Tensor:
        """Output of the first convolution -> features at 1/2."""
        return self.relu(self.bn1(stem))

    def deeper(self, half: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at 1/2 -> at 1/16, 1/8, 1/4."""
        quarter = self.res2(self.maxpool(half))
        eighth = self.res3(quarter)
        return self.res4(eighth), eighth, quarter

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised frames -> features at 1/16, 1/8, 1/4."""
        return self.stages(self.conv1(frames))


class MemoryEncoder(Trunk):
    """A trunk that sees each object's mask, and a second one, beside the frame."""

    def __init__(self, backbone: str, *, width: float) -> None:
        super().__init__(backbone, width=width)
        base = self.conv1.out_channels
        self.mask = nn.Conv2d(1, base, 7, 2, 3, bias=False)
        self.second = nn.Conv2d(1, base, 7, 2, 3, bias=False)


class Head(nn.Module):
    """Key (B, C, h, w) and value (B, V, h, w) of features at 1/16."""

    def __init__(self, inputs: int, *, key: int, value: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(inputs, key, 3, padding=1)
        self.value = nn.Conv2d(inputs, value, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, h, w) -> key, value."""
        return self.key(x), self.value(x)


class ResidualBlock(nn.Module):
    """x + conv2(relu(conv1(relu(x)))), no norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Refine(nn.Module):
    """Decoder features brought to the size of a skip feature and joined with it."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, channels, 3, padding=1)
        self.skip_block = ResidualBlock(channels)
        self.block = ResidualBlock(channels)

    def prepare(self, skip: Tensor) -> Tensor:
        """What a frame gives, the same for all its objects."""
        return self.skip_block(self.skip(skip))

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """Prepared skip (K, D, h, w) and coarser features (K, D, ., .) -> (K, D, h, w)."""
        return self.block(skip + resize(x, skip.shape[-2:]))


class Decoder(nn.Module):
    """What was read, with the query's value -> two channels, not the object and the object, at 1/4."""

    def __init__(self, inputs: int, eighth: int, quarter: int, *, channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(inputs, channels, 3, padding=1)
        self.fuse_block = ResidualBlock(channels)
        self.refine3 = Refine(eighth, channels)
        self.refine2 = Refine(quarter, channels)
        self.predict = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, x: Tensor, eighth: Tensor, quarter: Tensor) -> Tensor:
        """(K, 2V, h, w) and prepared skips (K, D, ., .) -> (K, 2, H/4, W/4)."""
        x = self.refine3(eighth, self.fuse_block(self.fuse(x)))
        return self.predict(F.relu(self.refine2(quarter, x)))


class Stm(nn.Module):
    """Space-time memory network. Objects of several frames are one batch; `owner` (K,) has each one's frame.

    entries: what propagation calls, in place of `forward`.
    """

    entries = ("memorise", "look", "decode")

    def __init__(self, knobs: StmNetwork) -> None:
        super().__init__()
        self.backbone, self.rest = knobs.backbone, knobs.second == "rest"
        self.memory_encoder = MemoryEncoder(knobs.backbone, width=knobs.width)
        self.query_encoder = Trunk(knobs.backbone, width=knobs.width)
        deepest, eighth, quarter = self.query_encoder.channels
        self.memory_head = Head(deepest, key=knobs.key, value=knobs.value)
        self.query_head = Head(deepest, key=knobs.key, value=knobs.value)
        self.decoder = Decoder(2 * knobs.value, eighth, quarter, channels=knobs.decoder)

    def memorise(self, frames: Tensor, masks: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (K, C, h*w) and values (K, V, h*w) of K objects.

        frames: normalised (B, 3, H, W). masks: soft (K, H, W); the gradient flows to them. owner: int64 (K,).
        """
        encoder = self.memory_encoder
        second = self._second(masks, owner, count=len(frames))
        stem = encoder.conv1(frames)[owner] + encoder.mask(masks[:, None]) + encoder.second(second[:, None])
        key, value = self.memory_head(encoder.stages(stem)[0])
        return key.flatten(2), value.flatten(2)

    def look(self, frames: Tensor) -> Query:
        """Normalised frames (B, 3, H, W), encoded once for all objects."""
        deepest, eighth, quarter = self.query_encoder(frames)
        key, value = self.query_head(deepest)
        refine3, refine2 = self.decoder.refine3, self.decoder.refine2
        return Query(key, value, refine3.prepare(eighth), refine2.prepare(quarter), size_of(frames))

    def decode(self, query: Query, read: Tensor, owner: Tensor) -> Tensor:
        """Logits (K, 2, H, W), not the object and the object, from what each object read (K, V, h, w)."""
        value = query.value[owner]
        joined = torch.cat((read.to(value.dtype), value), dim=1)
        logits = self.decoder(joined, query.eighth[owner], query.quarter[owner])
        return resize(logits.float(), query.size)

    def _second(self, masks: Tensor, owner: Tensor, *, count: int) -> Tensor:
        """The second mask (K, H, W): all but the object, or the other objects of its frame."""
        if self.rest:
            return bounded(1 - masks)
        together = masks.new_zeros(count, *masks.shape[1:]).index_add(0, owner, masks)
        return bounded(together[owner] - masks)


def stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, *, count: int, stride: int
) -> nn.Sequential:
    """A stage of torchvision's ResNet, by torchvision's names."""
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(inputs, planes, stride, shortcut)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(count - 1)))


def bounded(x: Tensor) -> Tensor:
    """Cut x to [0, 1], with derivative 0 on the bounds in every release of torch.

    A mask of zeros lies on a bound, and releases differ there.
    """
    return torch.where((x > 0) & (x < 1), x, (x >= 1).to(x.dtype))


def aggregate(logits: Tensor, *, least: float = 1e-7) -> Tensor:
    """Return logits (K+1, H, W), background first, of a frame's objects (K, 2, H, W).

    It is the soft aggregation of their odds (STM, section 3.5). A softmax over the first dimension makes them
    probabilities.
    """
    p = logits.softmax(dim=1)[:, 1]  # (K, H, W)
    together = torch.cat(((1 - p).prod(dim=0, keepdim=True), p)).clamp(least, 1 - least)
    return torch.log(together / (1 - together))


def build_model(method: StmConfig) -> Stm:
    """Return the network that `method` describes, with fresh weights."""
    return Stm(method.network)
