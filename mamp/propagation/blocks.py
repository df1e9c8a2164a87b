"""Local correlation near by and by blocks.

A small window is compared cell by cell, a wide one first by the mean features of blocks of 2 x 2 cells.

A block of queries meets every block of the wide window by the mean features of both, a sixteenth of the
products that the cells would need. The best few blocks are gathered, and their cells compared with each of
the four queries. Most of what a query should find is near by, where a mean would hide it.

Letters: C channels, h w feature cells, M memories, V value channels, n blocks gathered, k cells read; Y X
blocks along both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.propagation.correlation import Part, best_in_windows, topk_window, weighted_sum

SIDE = 2  # cells along a block
CELLS = SIDE * SIDE


def block_readout(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    values: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    near: int,
    top_k: int,
    temperature: float,
    blocks: int,
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> Tensor:
    """Read the memory: softmax over the k best cells near by and in the best blocks, mean of their values.

    query: (C, h, w); keys: M of (C, h, w); values: M of (V, h, w). Scores are dot products divided by
    `temperature`. radius: half side of the wide window, in cells; blocks count up to ceil(radius / 2) blocks
    away. near: half side of the small window, in cells.

    blocks: n, how many of them are compared exactly, over all memories. With all of them the result is that
    of every cell of these blocks. Nothing outside the frame takes part.

    Working memory is about `max_bytes`, and one copy of the keys. Returns (V, h, w) in the dtype of `values`.
    """
    weights, index = block_window(
        query,
        keys,
        radius=radius,
        near=near,
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
    near: int,
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
    height, width = query.shape[-2:]
    query = query.float() / temperature
    budget = {"tile": tile, "max_bytes": max_bytes}
    close = _near(query, keys, radius=near, top_k=top_k, **budget)
    blocky = _in_blocks(query, keys, radius=radius, near=near, top_k=top_k, blocks=blocks, **budget)
    scores, index = (torch.cat(parts, dim=1) for parts in zip(close, blocky, strict=True))
    best = scores.topk(min(top_k, scores.shape[1]), dim=1)
    return best.values.softmax(dim=1), index.gather(1, best.indices)


def _near(
    query: Tensor, keys: Sequence[Tensor] | Tensor, *, radius: int, top_k: int, tile: int, max_bytes: int
) -> tuple[Tensor, Tensor]:
    """The best k cells of windows: scores (h*w, k) and places in (M, h, w); -inf where there are fewer."""
    height, width = query.shape[-2:]
    part = Part(radius, "square", (1,) * len(keys), ())
    scores, places = best_in_windows(
        query, keys, part=part, k=top_k, temperature=1.0, outside="masked", tile=tile, max_bytes=max_bytes
    )
    memory, y, x = _apart(places, height, width, margin=radius)
    return scores, (memory * height + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)


def _in_blocks(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    near: int,
    top_k: int,
    blocks: int,
    tile: int,
    max_bytes: int,
) -> tuple[Tensor, Tensor]:
    """The best k cells of the best blocks, those near by left out: as `_near`."""
    height, width = query.shape[-2:]
    place, inside = _best_blocks(query, keys, radius=radius, blocks=blocks, tile=tile, max_bytes=max_bytes)
    table = torch.cat([_rows(key.float()).flatten(1) for key in keys])  # (M*Y*X, 4*C)
    cell, there = _cells(len(keys), height, width, query.device)  # (M*Y*X, 4)
    queries = _rows(query)  # (Y*X, 4, C)
    at = torch.stack((cell // width % height, cell % width)).int()  # (2, M*Y*X, 4): row and column
    count = place.shape[1] * CELLS
    scores = queries.new_empty(*queries.shape[:2], min(top_k, count))
    index = torch.empty_like(scores, dtype=torch.int64)
    step = max(1, max_bytes // (4 * count * (queries.shape[2] + 8 * CELLS)))
    for start in range(0, len(queries), step):
        some = slice(start, start + step)
        chosen = place[some]  # (b, n)
        found = table[chosen.flatten()].view(len(chosen), count, -1)  # (b, 4*n, C)
        hidden = ~(there[chosen] & inside[some, :, None]).flatten(1)[:, None]  # (b, 1, 4*n)
        apart = at[:, chosen].flatten(2)[:, :, None] - at[:, : len(place)][:, some, :, None]  # (2, b, 4, 4*n)
        hidden = hidden | (apart.abs_() <= near).all(0)
        products = (queries[some] @ found.transpose(1, 2)).masked_fill_(hidden, -math.inf)
        scores[some], best = products.topk(scores.shape[2], dim=2)  # (b, 4, k)
        index[some] = cell[chosen].flatten(1)[:, None].expand(-1, CELLS, -1).gather(2, best)
    return _unrows(scores, height, width), _unrows(index, height, width)


def _apart(places: Tensor, height: int, width: int, *, margin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Memory, row and column of places in the flattened memories with a margin, (M, h+2m, w+2m)."""
    across, down = width + 2 * margin, height + 2 * margin
    rows = places // across
    return rows // down, rows % down - margin, places % across - margin


def pooled(x: Tensor) -> Tensor:
    """(C, h, w) -> (C, Y, X): the mean of each block's cells; one that is cut by the border has fewer."""
    return F.avg_pool2d(x[None].float(), SIDE, SIDE, ceil_mode=True, count_include_pad=False)[0]


def _best_blocks(
    query: Tensor, keys: Sequence[Tensor] | Tensor, *, radius: int, blocks: int, tile: int, max_bytes: int
) -> tuple[Tensor, Tensor]:
    """The n blocks of all memories that are most like each block of queries, by the mean.

    Places int64 (Y*X, n) in (M, Y, X), and whether a place is inside the frame.
    """
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
    memory, y, x = _apart(index, rows, columns, margin=reach)
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    place = (memory * rows + y.clamp(0, rows - 1)) * columns + x.clamp(0, columns - 1)
    return place, inside


def _rows(x: Tensor) -> Tensor:
    """(C, h, w) -> (Y*X, 4, C): a row for each block, its cells by rows; 0 beyond the frame."""
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
