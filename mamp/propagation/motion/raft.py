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
from mamp.ops.sizes import pad_to_multiple
from mamp.propagation.motion.source import Source

STRIDE = 8  # pixels to a cell of RAFT's
NEAR, FAR = 2, 5  # iterations between near and far frames, as MAMP publishes them
SMALLEST = 128  # pixels; below, its correlation pyramid has no fourth level


@dataclass
class Seen:
    """A frame: as RAFT takes it (1, 3, H, W) in [-1, 1], its size before padding, its feature map (1, C, H/8,
    W/8).
    """

    image: Tensor
    size: tuple[int, int]
    features: Tensor
    context: tuple[Tensor, Tensor] | None = None  # hidden state and context; made when it is the query


class RaftFlow(Source):
    """RAFT's flow at 1/8, upsampled as MAMP does; features of a frame and context of a query are computed
    once.

    iterations: of the recurrent unit, for every pair; None: FAR between frames more than `far` apart, else
    NEAR.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        iterations: int | None = None,
        far: int = 15,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.device, self.dtype = torch.device(device), dtype
        self.iterations, self.far = iterations, far
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
        eighth = self.low_resolution(query, memory, iterations=iterations)
        quarter = 2 * F.interpolate(eighth, scale_factor=2, mode="bilinear", align_corners=True)[0]
        height, width = (-(-side // 4) for side in query.size)
        return quarter[:, :height, :width]

    @torch.inference_mode()
    def low_resolution(self, query: Seen, memory: Seen, *, iterations: int) -> Tensor:
        """(1, 2, H/8, W/8) flow after `iterations`, in its own cells: the network's own forward without its
        upsampling.
        """
        lookup, update = self.network.corr_block, self.network.update_block
        lookup.build_pyramid(query.features, memory.features)
        height, width = query.features.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        home = torch.stack((columns, rows)).float().to(self.device)[None]
        there = home
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            hidden, context = self._context(query)
            for _ in range(iterations):
                found = lookup.index_pyramid(centroids_coords=there)
                hidden, delta = update(hidden, context, found, there - home)
                there = there + delta.float()
        lookup.corr_pyramid = []  # the largest thing here; not to be held between frames
        return there - home

    def _context(self, query: Seen) -> tuple[Tensor, Tensor]:
        """Hidden state and context of a query."""
        if query.context is None:
            both = self.network.context_encoder(query.image)
            hidden = self.network.update_block.hidden_state_size
            query.context = torch.tanh(both[:, :hidden]), F.relu(both[:, hidden:])
        return query.context


def published_iterations(apart: int, *, far: int) -> int:
    """Iterations between frames that are `apart` frames from each other, as MAMP publishes them (A7)."""
    return FAR if apart > far else NEAR


def as_raft_takes_it(frame: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] -> (1, 3, H', W') in [-1, 1], padded right and bottom with black to multiples
    of 8.
    """
    height, width = frame.shape[-2:]
    room = (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height))
    return 2 * pad_to_multiple(F.pad(frame[None], room), STRIDE) - 1


def load_raft(kind: str, weights: str | None) -> nn.Module:
    """torchvision's raft_`kind` with the weights in a file, or with its own: weights=torchvision, which
    downloads them.

    Raises UserError when there is no such file, it holds something else, or the download fails.
    """
    from torchvision.models import optical_flow

    build = {"large": optical_flow.raft_large, "small": optical_flow.raft_small}[kind]
    if weights is None:
        raise UserError(
            "method.motion.source=raft needs weights; set method.motion.weights=FILE, or =torchvision to"
            " download them"
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
                " method.motion.weights=FILE"
            ) from None
    network, state = build(weights=None), read_pickle(Path(weights))
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError):
        raise UserError(
            f"{weights} does not hold the weights of torchvision's raft_{kind}; set method.motion.raft, or"
            " give another file"
        ) from None
    return network
