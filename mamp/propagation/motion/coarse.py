"""Alignment without a flow network: our own features, pooled, matched over the whole frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.motion.source import Source

CHUNK = 1 << 22  # scores held at once


@dataclass(frozen=True)
class Pooled:
    """size: (h, w) of the feature grid. patches: (N, 9C), the 3x3 pooled cells around each of N."""

    size: tuple[int, int]
    rows: int
    columns: int
    patches: Tensor


class CoarseMatching(Source):
    """Move each block of pool x pool cells as one, to where its pooled features match best.

    The window of a query is placed by it; what is finer is the window's own business, so only far motion
    counts. features: makes features (C, h, w) of the frame (3, H, W) being shown; flow is on their grid.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Tensor],
        *,
        pool: int = 4,
        pull: float = 0.01,
        temperature: float = 0.02,
    ) -> None:
        super().__init__()
        self.features, self.pool, self.pull, self.temperature = features, pool, pull, temperature

    def _keep(self, frame: Tensor) -> Pooled:
        features = self.features(frame)
        height, width = features.shape[-2:]
        cells = F.normalize(features.float(), dim=0)[None]
        pooled = F.normalize(F.avg_pool2d(cells, self.pool, ceil_mode=True, count_include_pad=False), dim=1)
        rows, columns = pooled.shape[-2:]
        patches = F.unfold(F.pad(pooled, (1, 1, 1, 1), mode="replicate"), 3)[0].T.contiguous()
        return Pooled((height, width), rows, columns, patches)

    def _between(self, query: Pooled, memory: Pooled, *, apart: int) -> Tensor:
        moved = displacements(
            query, memory, pull=self.pull, temperature=self.temperature
        )  # (2, rows, columns)
        cells = self.pool * moved.repeat_interleave(self.pool, 1).repeat_interleave(self.pool, 2)
        return cells[:, : query.size[0], : query.size[1]]


def displacements(query: Pooled, memory: Pooled, *, pull: float, temperature: float) -> Tensor:
    """(2, rows, columns) in pooled cells: the best match, refined by a soft-argmax over the 3x3 around it.

    A match is the mean cosine of the nine pairs of pooled cells, less `pull` for each pooled cell of
    distance: where all looks the same nothing moves.
    """
    rows, columns = query.rows, query.columns
    y = torch.arange(rows, device=query.patches.device).repeat_interleave(columns)
    x = torch.arange(columns, device=query.patches.device).repeat(rows)
    step = max(1, CHUNK // len(y))
    moved = []
    for start in range(0, len(y), step):
        part = slice(start, start + step)
        scores = query.patches[part] @ memory.patches.T / 9  # (n, N)
        distance = torch.hypot((y - y[part, None]).float(), (x - x[part, None]).float())
        best_y, best_x = _refined((scores - pull * distance).unflatten(1, (rows, columns)), temperature)
        moved.append(torch.stack((best_x - x[part], best_y - y[part])))
    return torch.cat(moved, dim=1).unflatten(1, (rows, columns))


def _refined(scores: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Rows and columns (n,) of the best of (n, rows, columns): softmax mean of the 3x3 around it."""
    rows, columns = scores.shape[-2:]
    best = scores.flatten(1).argmax(dim=1)
    y, x = best // columns, best % columns
    offset = torch.arange(-1, 2, device=scores.device)
    near_y, near_x = _mirrored(y[:, None] + offset, rows), _mirrored(x[:, None] + offset, columns)  # (n, 3)
    near = (near_y[:, :, None] * columns + near_x[:, None]).flatten(1)  # (n, 9)
    weights = (scores.flatten(1).gather(1, near) / temperature).softmax(dim=1).unflatten(1, (3, 3))
    return y + (weights.sum(2) * offset).sum(1), x + (weights.sum(1) * offset).sum(1)


def _mirrored(places: Tensor, count: int) -> Tensor:
    """-1 -> 1 and count -> count - 2, so that a best match at the border is not drawn to either side."""
    inside = torch.where(places < 0, -places, places)
    return torch.where(inside >= count, 2 * count - 2 - inside, inside).clamp(0, count - 1)
