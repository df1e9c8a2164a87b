"""RAFT (Teed and Deng, ECCV 2020), torchvision's network, used as MAMP does; it was trained with labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.errors import UserError
from mamp.core.reading import read_pickle
from mamp.ops.constants import once
from mamp.ops.sizes import pad_to_multiple
from mamp.propagation.motion.source import Source

STRIDE = 8  # pixels to a cell of RAFT's
NEAR, FAR = 2, 5  # iterations between near and far frames, as MAMP publishes them
SMALLEST = 128  # pixels; below, its correlation pyramid has no fourth level


@dataclass
class Seen:
    """A frame as RAFT takes it, (1, 3, H, W) in [-1, 1]; its size before padding; its feature map.

    The feature map is (1, C, H/8, W/8).
    """

    image: Tensor
    size: tuple[int, int]
    features: Tensor
    context: tuple[Tensor, Tensor] | None = None  # hidden state and context; made when it is the query


class RaftFlow(Source):
    """RAFT's flow; features of a frame and context of a query are computed once.

    iterations: of the recurrent unit, for every pair; None: FAR between frames more than `far` apart, else
    NEAR. stride: pixels to a cell; 4: flow at 1/8 is upsampled as MAMP does; 1: as the network itself does.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        iterations: int | None = None,
        far: int = 15,
        stride: int = 4,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.device, self.dtype = torch.device(device), dtype
        self.iterations, self.far, self.stride = iterations, far, stride
        self.network: Any = network.to(self.device).eval()

    def see(self, index: int, frame: Tensor) -> None:
        """Take note of frame `index`: float (3, H, W) RGB in [0, 1]."""
        for seen in self.kept.values():
            seen.context = None  # it was the query; it is a memory now
        super().see(index, frame)

    @torch.inference_mode()
    def _keep(self, frame: Tensor) -> Seen:
        image = as_raft_takes_it(frame.to(self.device))
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            features = self.network.feature_encoder(image).float()
        return Seen(image, (frame.shape[-2], frame.shape[-1]), features)

    def _between(self, query: Seen, memory: Seen, *, apart: int) -> Tensor:
        iterations = self.iterations or published_iterations(apart, far=self.far)
        eighth, hidden = self.low_resolution(query, memory, iterations=iterations)
        flow = self._upsampled(eighth, hidden)[0]
        height, width = (-(-side // self.stride) for side in query.size)
        return flow[:, :height, :width]

    @torch.inference_mode()
    def _upsampled(self, flow: Tensor, hidden: Tensor) -> Tensor:
        """(1, 2, H/8, W/8) to (1, 2, H', W'), each in its own cells."""
        if self.stride == 1 and self.network.mask_predictor is not None:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                mask = self.network.mask_predictor(hidden)
            return convex(flow, mask.float())
        factor = STRIDE // self.stride
        return factor * F.interpolate(flow, scale_factor=factor, mode="bilinear", align_corners=True)

    @torch.inference_mode()
    def low_resolution(self, query: Seen, memory: Seen, *, iterations: int) -> tuple[Tensor, Tensor]:
        """Flow (1, 2, H/8, W/8) after `iterations`, in its own cells, and the hidden state.

        It is the network's own forward pass without its upsampling.
        """
        lookup, update = self.network.corr_block, self.network.update_block
        lookup.build_pyramid(query.features, memory.features)
        height, width = query.features.shape[-2:]
        home = _places(height, width, self.device)
        there = home
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            hidden, context = self._context(query)
            for _ in range(iterations):
                found = lookup.index_pyramid(centroids_coords=there)
                hidden, delta = update(hidden, context, found, there - home)
                there = there + delta.float()
        lookup.corr_pyramid = []  # the largest thing here; not to be held between frames
        return there - home, hidden

    def _context(self, query: Seen) -> tuple[Tensor, Tensor]:
        """Hidden state and context of a query."""
        if query.context is None:
            both = self.network.context_encoder(query.image)
            hidden = self.network.update_block.hidden_state_size
            query.context = torch.tanh(both[:, :hidden]), F.relu(both[:, hidden:])
        return query.context


@once
def _places(height: int, width: int, device: torch.device) -> Tensor:
    """(1, 2, H, W): x and y of each cell."""
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in (height, width))
    return torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)))[None]


def convex(flow: Tensor, mask: Tensor) -> Tensor:
    """Upsample flow (1, 2, h, w), in its own cells, to pixels (1, 2, 8h, 8w), convex over 3x3 cells.

    mask: (1, 9 * 8 * 8, h, w), its logits.
    """
    height, width = flow.shape[-2:]
    weights = mask.view(1, 1, 9, STRIDE, STRIDE, height, width).softmax(dim=2)
    near = F.unfold(STRIDE * flow, 3, padding=1).view(1, 2, 9, 1, 1, height, width)
    pixels = (weights * near).sum(dim=2)  # (1, 2, 8, 8, h, w)
    return pixels.permute(0, 1, 4, 2, 5, 3).reshape(1, 2, STRIDE * height, STRIDE * width)


def published_iterations(apart: int, *, far: int) -> int:
    """Iterations between frames that are `apart` frames from each other, as MAMP publishes them (A7)."""
    return FAR if apart > far else NEAR


def as_raft_takes_it(frame: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] -> (1, 3, H', W') in [-1, 1], padded with black to multiples of 8."""
    height, width = frame.shape[-2:]
    room = (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height))
    return 2 * pad_to_multiple(F.pad(frame[None], room), STRIDE) - 1


def load_raft(kind: str, weights: str | None, *, section: str = "method.motion") -> nn.Module:
    """Return torchvision's raft_`kind` with the weights of a file, or its own (weights=torchvision).

    Its own are downloaded.

    Raises UserError when there is no such file, it holds something else, or the download fails.
    """
    from torchvision.models import optical_flow

    build = {"large": optical_flow.raft_large, "small": optical_flow.raft_small}[kind]
    if weights is None:
        raise UserError(
            f"{section}.source=raft needs weights; set {section}.weights=FILE, or =torchvision to download"
            " them"
        )
    if weights == "torchvision":
        published = {
            "large": optical_flow.Raft_Large_Weights.C_T_SKHT_V1,
            "small": optical_flow.Raft_Small_Weights.C_T_V2,
        }
        try:
            return build(weights=published[kind])
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"RAFT's weights {published[kind].url} cannot be downloaded ({error}); set"
                f" {section}.weights=FILE"
            ) from None
    network, state = build(weights=None), read_pickle(Path(weights))
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError):
        raise UserError(
            f"{weights} does not hold the weights of torchvision's raft_{kind}; set {section}.raft, or give"
            " another file"
        ) from None
    return network
