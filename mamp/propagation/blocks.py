"""Local correlation in two stages: which blocks of 2 x 2 cells are alike on the mean, then the cells of those
blocks exactly.

A block of queries meets every block of its window by the mean features of both, a sixteenth of the products
that the cells would need. The best few blocks are gathered, and their cells compared with each of the four
queries.

Letters: C channels, h w feature cells, M memories, V value channels, n blocks gathered, k cells read; Y X
blocks along both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.correlation import topk_window, weighted_sum

SIDE = 2  # cells along a block
CELLS = SIDE * SIDE


def block_readout(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    values: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    blocks: int,
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> Tensor:
    """The k most similar cells of the best blocks of all memories, softmax over those k, weighted mean of
    their values.

    query: (C, h, w); keys: M of (C, h, w); values: M of (V, h, w). Scores are dot products divided by
    `temperature`.
    radius: half side of the window, in cells; all blocks count that are at most ceil(radius / 2) blocks away.
    blocks: n, how many of them are compared exactly, over all memories. With all of them the result is that
    of every cell of these blocks. Nothing outside the frame takes part.
    Working memory is about `max_bytes`, and one copy of the keys. Returns (V, h, w) in the dtype of `values`.
    """
    weights, index = block_window(
        query,
        keys,
        radius=radius,
        top_k=top_k,
        temperature=temperature,
        blocks=blocks,
        tile=tile,
        max_bytes=max_bytes,
    )
    return weighted_sum(weights, index, values, radius=0, max_bytes=max_bytes)


def block_window(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    blocks: int,
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> tuple[Tensor, Tensor]:
    """Weights and places of the cells that `block_readout` reads; arguments as there.

    Returns weights float32 (h*w, k), descending, summing to 1, and index int64 (h*w, k) into the flattened
    memories (M, h, w).
    """
    size = query.shape[-2:]
    place, inside = _best_blocks(
        query, keys, radius=radius, blocks=blocks, tile=tile, max_bytes=max_bytes
    )  # (Y*X, n)
    table = torch.cat([_rows(key.float()).flatten(1) for key in keys])  # (M*Y*X, 4*C)
    cell, there = _cells(len(keys), size[0], size[1], query.device)  # (M*Y*X, 4)
    queries = _rows(query.float() / temperature)  # (Y*X, 4, C)
    count = place.shape[1] * CELLS
    scores = queries.new_empty(*queries.shape[:2], min(top_k, count))
    index = torch.empty_like(scores, dtype=torch.int64)
    step = max(1, max_bytes // (4 * count * (queries.shape[2] + 4 * CELLS)))
    for start in range(0, len(queries), step):
        some = slice(start, start + step)
        chosen = place[some]  # (b, n)
        found = table[chosen.flatten()].view(len(chosen), count, -1)  # (b, 4*n, C)
        hidden = ~(there[chosen] & inside[some, :, None]).flatten(1)  # (b, 4*n)
        products = (queries[some] @ found.transpose(1, 2)).masked_fill_(hidden[:, None], -math.inf)
        scores[some], best = products.topk(scores.shape[2], dim=2)  # (b, 4, k)
        index[some] = cell[chosen].flatten(1)[:, None].expand(-1, CELLS, -1).gather(2, best)
    return _unrows(scores.softmax(dim=2), *size), _unrows(index, *size)


def pooled(x: Tensor) -> Tensor:
    """(C, h, w) -> (C, Y, X): the mean of each block's cells; one that is cut by the border has fewer."""
    return F.avg_pool2d(x[None].float(), SIDE, SIDE, ceil_mode=True, count_include_pad=False)[0]


def _best_blocks(
    query: Tensor, keys: Sequence[Tensor] | Tensor, *, radius: int, blocks: int, tile: int, max_bytes: int
) -> tuple[Tensor, Tensor]:
    """The n blocks of all memories that are most like each block of queries, by the mean: places int64 (Y*X,
    n) in (M, Y, X), and whether a place is inside the frame."""
    reach = math.ceil(radius / SIDE)
    coarse = pooled(query)
    rows, columns = coarse.shape[-2:]
    _, index = topk_window(
        coarse,
        [pooled(key) for key in keys],
        radius=reach,
        top_k=blocks,
        temperature=1.0,
        outside="masked",
        tile=tile,
        max_bytes=max_bytes,
    )
    across = columns + 2 * reach  # of the memories padded by `reach`
    memory, y, x = (
        index // ((rows + 2 * reach) * across),
        index // across % (rows + 2 * reach) - reach,
        index % across - reach,
    )
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    place = (memory * rows + y.clamp(0, rows - 1)) * columns + x.clamp(0, columns - 1)
    return place, inside


def _rows(x: Tensor) -> Tensor:
    """(C, h, w) -> (Y*X, 4, C): a row for each block, its cells by rows; 0 where the frame ends inside a
    block.
    """
    channels, height, width = x.shape
    x = F.pad(x, (0, width % SIDE, 0, height % SIDE))
    x = x.unflatten(1, (-1, SIDE)).unflatten(3, (-1, SIDE))  # (C, Y, 2, X, 2)
    return x.permute(1, 3, 2, 4, 0).reshape(-1, CELLS, channels)


def _unrows(x: Tensor, height: int, width: int) -> Tensor:
    """(Y*X, 4, k) -> (h*w, k); undoes `_rows`."""
    rows, columns = math.ceil(height / SIDE), math.ceil(width / SIDE)
    x = x.view(rows, columns, SIDE, SIDE, -1).permute(0, 2, 1, 3, 4)
    return x.reshape(rows * SIDE, columns * SIDE, -1)[:height, :width].flatten(0, 1)


def _cells(memories: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Each block's cells as places in (M, h, w), int64 (M*Y*X, 4), and which of them are inside the frame."""
    place = torch.arange(memories * height * width, device=device).view(memories, height, width)
    there = _rows(torch.ones(1, height, width, device=device))[:, :, 0] > 0
    return _rows(place).movedim(2, 0).flatten(0, 1), there.repeat(memories, 1)
