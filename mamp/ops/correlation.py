"""Local correlation between a query's features and memories' features, by tiles of queries.

A tile of t x t query cells meets one (t+2r) x (t+2r) block of keys per memory, as one batched matrix product:
the window of every query of the tile lies inside that block. Nothing is unfolded per query but one chunk's scores.

Letters: C channels, h w feature cells, M memories, V value channels, P = 2r+1 window side, t tile side, n tiles.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def query_tiles(x: Tensor, tile: int) -> Tensor:
    """(B, C, h, w) -> (B, ny, nx, t*t, C), zero-filled right and bottom."""
    batch, channels, height, width = x.shape
    x = F.pad(x, (0, -width % tile, 0, -height % tile))
    x = x.reshape(batch, channels, x.shape[2] // tile, tile, x.shape[3] // tile, tile)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)


def key_blocks(x: Tensor, *, tile: int, radius: int) -> Tensor:
    """(B, C, h, w) -> (B, ny, nx, C, (t+2r)^2): what the queries of each tile may look at; 0 outside the frame."""
    return _blocks(_framed(x, tile, radius), tile, tile + 2 * radius)


def _framed(x: Tensor, tile: int, radius: int) -> Tensor:
    """(..., h, w) with r zeros on all sides, and what fills the last tiles."""
    height, width = x.shape[-2:]
    return F.pad(x, (radius, radius + -width % tile, radius, radius + -height % tile))


def _blocks(x: Tensor, tile: int, side: int) -> Tensor:
    """(..., C, h', w') -> (..., ny, nx, C, side^2), a block every `tile` cells."""
    x = x.unfold(-2, side, tile).unfold(-2, side, tile)  # (..., C, ny, nx, side, side)
    return x.movedim(-5, -3).flatten(-2)


def untile(x: Tensor, height: int, width: int) -> Tensor:
    """(B, ny, nx, t*t, C) -> (B, C, h, w); undoes `query_tiles`."""
    batch, rows, columns, cells, channels = x.shape
    tile = math.isqrt(cells)
    x = x.reshape(batch, rows, columns, tile, tile, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(batch, channels, rows * tile, columns * tile)[:, :, :height, :width]


def _in_window(tile: int, radius: int, device: torch.device) -> Tensor:
    """(t*t, (t+2r)^2) bool: is this cell of the block in the window of this query of the tile?"""
    offset = torch.arange(tile + 2 * radius, device=device)[None] - torch.arange(tile, device=device)[:, None]
    near = (offset >= 0) & (offset <= 2 * radius)  # (t, t+2r)
    return (near[:, None, :, None] & near[None, :, None, :]).flatten(2).flatten(0, 1)


def window_attention(
    query: Tensor, keys: list[Tensor], values: list[Tensor], *, radius: int, temperature: float, tile: int = 8
) -> Tensor:
    """Softmax over the whole window of every reference, and the weighted mean of their values.

    query: (B, C, h, w); keys: r of (B, C, h, w); values: r of (B, V, h, w). Scores are dot products divided by
    `temperature`; window cells outside the frame have score and value 0, as published (MAMP, reconstruction).
    Returns (B, V, h, w) in float32.
    """
    height, width = query.shape[-2:]
    with torch.autocast(query.device.type, enabled=False):
        tiles = query_tiles(query.float() / temperature, tile)  # (B, ny, nx, t*t, C)
        window = _in_window(tile, radius, query.device)
        hidden = torch.zeros(window.shape, device=query.device).masked_fill(~window, -math.inf)
        scores = [tiles @ key_blocks(k.float(), tile=tile, radius=radius) + hidden for k in keys]
        weights = torch.cat(scores, dim=-1).softmax(dim=-1)  # (B, ny, nx, t*t, r*(t+2r)^2)
        blocks = torch.cat([key_blocks(v.float(), tile=tile, radius=radius) for v in values], dim=-1)
        return untile(weights @ blocks.transpose(-1, -2), height, width)


def topk_readout(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    outside: str = "zero",
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> Tensor:
    """The k most similar window cells of all memories, softmax over those k, weighted mean of their values.

    query: (C, h, w); keys: (M, C, h, w); values: (M, V, h, w). Scores are dot products divided by `temperature`.
    outside: "zero" lets cells outside the frame compete with score 0 and value 0, as published (MAMP A4, A6);
    "masked" leaves them out. k is at most the M*P*P cells there are. Working memory is about `max_bytes`.
    Returns (V, h, w) in the dtype of `values`.
    """
    weights, index = topk_window(
        query,
        keys,
        radius=radius,
        top_k=top_k,
        temperature=temperature,
        outside=outside,
        tile=tile,
        max_bytes=max_bytes,
    )
    padded = F.pad(values, (radius,) * 4)  # (M, V, h+2r, w+2r)
    table = padded.permute(0, 2, 3, 1).flatten(0, 2)  # (M*(h+2r)*(w+2r), V)
    picked = F.embedding_bag(
        index, table.contiguous(), mode="sum", per_sample_weights=weights.to(table.dtype)
    )
    return picked.T.unflatten(1, query.shape[-2:])


def topk_window(
    query: Tensor,
    keys: Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    outside: str = "zero",
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> tuple[Tensor, Tensor]:
    """Weights and places of the k most similar window cells; arguments as in `topk_readout`.

    Returns weights float32 (h*w, k), descending, summing to 1, and index int64 (h*w, k) into the flattened
    memories padded by r on all sides, (M, h+2r, w+2r).
    """
    memories, _, height, width = keys.shape
    tile = min(tile, 4 * math.ceil(max(height, width) / 4))
    k = min(top_k, memories * (2 * radius + 1) ** 2)
    tiles = query_tiles(query[None].float() / temperature, tile)[0]  # (ny, nx, t*t, C)
    rows, columns = tiles.shape[:2]
    strips = [_framed(keys.float(), tile, radius)]  # (M, C, h', w')
    if outside == "masked":
        inside = _framed(torch.ones_like(keys[:1, :1], dtype=torch.float32), tile, radius)
        strips.append(torch.zeros_like(inside).masked_fill_(inside == 0, -math.inf))
    side = tile + 2 * radius
    per_row = columns * tile * tile * (side * side + 3 * (2 * radius + 1) ** 2) * 4  # scores, windows, places
    step = max(1, max_bytes // per_row)
    best = []
    for top in range(0, rows, step):
        count = min(step, rows - top)
        span = slice(top * tile, (top + count - 1) * tile + side)
        parts = [strip[:, :, span] for strip in strips]
        best.append(_topk_rows(tiles[top : top + count], *parts, radius=radius, k=k))
    scores, local = (torch.cat(parts) for parts in zip(*best, strict=True))  # (ny, nx, t*t, k)
    scores = untile(scores[None], height, width)[0].flatten(1).T  # (h*w, k)
    local = untile(local[None], height, width)[0].flatten(1).T
    return scores.softmax(dim=-1), _absolute(local, height, width, radius)


def _topk_rows(
    tiles: Tensor, keys: Tensor, hidden: Tensor | None = None, *, radius: int, k: int
) -> tuple[Tensor, Tensor]:
    """Best k scores of some rows of tiles, and their places (memory, row offset, column offset) as one number."""
    rows, columns, cells, _ = tiles.shape
    tile, window = math.isqrt(cells), (2 * radius + 1) ** 2
    side = tile + 2 * radius
    edge = None if hidden is None else _blocks(hidden[0], tile, side)  # (rows, nx, 1, (t+2r)^2)
    best: tuple[Tensor, Tensor] | None = None
    for memory, strip in enumerate(keys):
        scores = tiles @ _blocks(strip, tile, side)  # (rows, nx, t*t, (t+2r)^2)
        if edge is not None:
            scores = scores + edge
        s = side * side
        banded = (
            scores.as_strided(  # query (y, x) of the tile sees rows y..y+2r, columns x..x+2r of the block
                (rows * columns, tile, tile, 2 * radius + 1, 2 * radius + 1),
                (cells * s, tile * s + side, s + 1, side, 1),
            )
        )
        top = banded.reshape(rows, columns, cells, window).topk(min(k, window), dim=-1, sorted=False)
        found = top.values, top.indices + memory * window
        best = found if best is None else _better(best, found, k)
    assert best is not None
    order = best[0].argsort(dim=-1, descending=True)
    return best[0].gather(-1, order), best[1].gather(-1, order)


def _better(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    scores, places = torch.cat((a[0], b[0]), dim=-1), torch.cat((a[1], b[1]), dim=-1)
    top = scores.topk(min(k, scores.shape[-1]), dim=-1, sorted=False)
    return top.values, places.gather(-1, top.indices)


def _absolute(local: Tensor, height: int, width: int, radius: int) -> Tensor:
    """(h*w, k) places in each query's own windows -> places in the flattened padded memories."""
    side, window = 2 * radius + 1, (2 * radius + 1) ** 2
    memory, offset = local // window, local % window
    y = torch.arange(height, device=local.device).repeat_interleave(width)[:, None] + offset // side
    x = torch.arange(width, device=local.device).repeat(height)[:, None] + offset % side
    return (memory * (height + 2 * radius) + y) * (width + 2 * radius) + x
