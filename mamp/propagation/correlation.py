"""Local correlation between a query's features and memories' features, by tiles of queries.

A tile of t x t query cells meets one (t+2r) x (t+2r) block of keys per memory, as one batched matrix product:
the window of every query of the tile lies inside that block. Nothing is unfolded per query but one chunk's
scores.

Letters: C channels, h w feature cells, M memories, V value channels, P = 2r+1 window side, t tile side, n
tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.constants import numbers, once


def query_tiles(x: Tensor, tile: int) -> Tensor:
    """(B, C, h, w) -> (B, ny, nx, t*t, C), zero-filled right and bottom."""
    batch, channels, height, width = x.shape
    x = F.pad(x, (0, -width % tile, 0, -height % tile))
    x = x.reshape(batch, channels, x.shape[2] // tile, tile, x.shape[3] // tile, tile)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)


def key_blocks(x: Tensor, *, tile: int, radius: int) -> Tensor:
    """(B, C, h, w) -> (B, ny, nx, C, (t+2r)^2): what each tile's queries may look at; 0 outside the frame."""
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


@once
def _hidden(tile: int, radius: int, device: torch.device) -> Tensor:
    """(t*t, (t+2r)^2): 0 where a cell of the block is in the window of a query of the tile, else -inf."""
    offset = torch.arange(tile + 2 * radius, device=device)[None] - torch.arange(tile, device=device)[:, None]
    near = (offset >= 0) & (offset <= 2 * radius)  # (t, t+2r)
    window = (near[:, None, :, None] & near[None, :, None, :]).flatten(2).flatten(0, 1)
    return torch.zeros(window.shape, device=device).masked_fill(~window, -math.inf)


def window_attention(
    query: Tensor, keys: list[Tensor], values: list[Tensor], *, radius: int, temperature: float, tile: int = 8
) -> Tensor:
    """Softmax over the whole window of every reference, and the weighted mean of their values.

    query: (B, C, h, w); keys: r of (B, C, h, w); values: r of (B, V, h, w). Scores are dot products divided
    by `temperature`; window cells outside the frame have score and value 0, as published (MAMP,
    reconstruction). Returns (B, V, h, w) in float32.
    """
    height, width = query.shape[-2:]
    with torch.autocast(query.device.type, enabled=False):
        tiles = query_tiles(query.float() / temperature, tile)  # (B, ny, nx, t*t, C)
        hidden = _hidden(tile, radius, query.device)
        scores = [tiles @ key_blocks(k.float(), tile=tile, radius=radius) + hidden for k in keys]
        weights = torch.cat(scores, dim=-1).softmax(dim=-1)  # (B, ny, nx, t*t, r*(t+2r)^2)
        blocks = torch.cat([key_blocks(v.float(), tile=tile, radius=radius) for v in values], dim=-1)
        return untile(weights @ blocks.transpose(-1, -2), height, width)


def topk_readout(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    values: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    outside: str = "zero",
    shape: str = "square",
    ties: str = "cut",
    counts: Sequence[int] | None = None,
    free: Sequence[int] = (),
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> Tensor:
    """The k most similar window cells of all memories, softmax over those k, weighted mean of their values.

    query: (C, h, w); keys: M of (C, h, w); values: M of (V, h, w). Scores are dot products divided by
    `temperature`.
    outside: "zero" lets cells outside the frame compete with score 0 and value 0, as published (MAMP A4, A6);
    "masked" leaves them out. shape: the window's, see `window_offsets`. ties: "cut" reads exactly k cells,
    "kept" all that are as similar as the k-th (only with outside="masked"). counts: how often each memory
    takes part, None is once; 0 leaves
    it out. free: memories that take part once more, without a window. k is at most the cells there are.
    Working memory is about `max_bytes`. Returns (V, h, w) in the dtype of `values`.
    """
    part = Part(radius, shape, tuple(counts or [1] * len(keys)), tuple(free))
    spare = int(ties == "kept")
    scores, index, copies = _best(
        query,
        keys,
        part,
        k=top_k + spare,
        temperature=temperature,
        outside=outside,
        tile=tile,
        max_bytes=max_bytes,
    )
    weights, cut = _weights(scores, copies, top_k)
    result = weighted_sum(weights, index, values, radius=radius, max_bytes=max_bytes)
    if ties == "kept" and len(rows := cut.nonzero()[:, 0]):  # asks the device once, not twice
        dense = _readout_rows(rows, query / temperature, keys, values, part, top_k=top_k, max_bytes=max_bytes)
        result.flatten(1)[:, rows] = dense.to(result.dtype)
    return result


def topk_window(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    outside: str = "zero",
    tile: int = 8,
    max_bytes: int = 1 << 24,
) -> tuple[Tensor, Tensor]:
    """Weights and places of the k most similar cells of square windows; arguments as in `topk_readout`.

    Returns weights float32 (h*w, k), descending, summing to 1, and index int64 (h*w, k) into the flattened
    memories padded by r on all sides, (M, h+2r, w+2r).
    """
    part = Part(radius, "square", (1,) * len(keys), ())
    scores, index, _ = _best(
        query, keys, part, k=top_k, temperature=temperature, outside=outside, tile=tile, max_bytes=max_bytes
    )
    return scores.softmax(dim=-1), index


@dataclass(frozen=True)
class Part:
    """Which cells take part: the window, how often each memory has it, memories that count once in full."""

    radius: int
    shape: str
    counts: tuple[int, ...]
    free: tuple[int, ...]


def window_offsets(radius: int, shape: str) -> Tensor:
    """The cells of a window, int64, ascending, each as row * P + column from the window's top left corner.

    shape: "square", "disc" (distance from the middle at most r) or "open_disc" (distance below r).
    """
    side = torch.arange(-radius, radius + 1)
    distance = side[:, None] ** 2 + side**2  # squared, exact
    inside = {
        "square": distance >= 0,
        "disc": distance <= radius**2,
        "open_disc": distance < radius**2,
    }[shape]
    return inside.flatten().nonzero()[:, 0]


@once
def _offsets_on(radius: int, shape: str, device: torch.device) -> Tensor:
    """`window_offsets` on the device."""
    return window_offsets(radius, shape).to(device)


def _weights(scores: Tensor, copies: Tensor | None, top_k: int) -> tuple[Tensor, Tensor]:
    """Softmax of the first k of descending scores (n, k or more), each for `copies` equal ones.

    Returns weights (n, .) and, per row, whether an entry as good as the last of the k was cut off.
    """
    if copies is None and scores.shape[-1] <= top_k:
        return scores.softmax(dim=-1), scores.new_zeros(len(scores), dtype=torch.bool)
    there = torch.ones_like(scores, dtype=torch.int64) if copies is None else copies
    taken = (top_k - (there.cumsum(-1) - there)).clamp(min=0).minimum(there)
    last = scores.masked_fill(taken == 0, math.inf).amin(dim=-1, keepdim=True)
    near = scores >= last - 1e-6 * last.abs()  # equal, but for the order of summation
    cut = (near & (taken < there) & (scores > -math.inf)).any(dim=-1)
    weights = (scores - scores[:, :1]).exp() * taken
    return weights / weights.sum(dim=-1, keepdim=True), cut


def weighted_sum(
    weights: Tensor, index: Tensor, values: Sequence[Tensor] | Tensor, *, radius: int, max_bytes: int
) -> Tensor:
    """Weights and places (h*w, k) as of `topk_window` and values M of (V, h, w) -> (V, h, w)."""
    first, (height, width) = values[0], values[0].shape[-2:]
    inner = slice(radius, radius + height), slice(radius, radius + width)
    framed = len(values), height + 2 * radius, width + 2 * radius
    step = max(1, max_bytes // (math.prod(framed) * first.element_size()))
    picked = first.new_empty(len(first), height, width)
    for start in range(0, len(first), step):
        count = min(step, len(first) - start)
        table = first.new_zeros(*framed, count)
        for n, value in enumerate(values):
            table[n, inner[0], inner[1]] = value[start : start + count].movedim(0, -1)
        part = F.embedding_bag(
            index, table.flatten(0, 2), mode="sum", per_sample_weights=weights.to(table.dtype)
        )
        picked[start : start + count] = part.T.unflatten(1, (height, width))
    return picked


def _readout_rows(
    rows: Tensor,
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    values: Sequence[Tensor] | Tensor,
    part: Part,
    *,
    top_k: int,
    max_bytes: int,
) -> Tensor:
    """The readout of queries (n, flat indices) with all cells as good as the k-th: (V, n), cell by cell."""
    height, width = query.shape[-2:]
    window = torch.zeros((2 * part.radius + 1) ** 2, dtype=torch.bool, device=query.device)
    window[_offsets_on(part.radius, part.shape, query.device)] = True
    memories = [(m, True) for m, count in enumerate(part.counts) for _ in range(count)]
    memories += [(m, False) for m in part.free]
    column = torch.arange(height * width, device=query.device)
    flat = torch.cat([values[m].flatten(1) for m, _ in memories], dim=1)  # (V, N*h*w)
    step = max(1, max_bytes // (16 * len(memories) * height * width))
    results = []
    for chosen in rows.split(step):
        dy = column // width - chosen[:, None] // width + part.radius  # (n, h*w)
        dx = column % width - chosen[:, None] % width + part.radius
        side = 2 * part.radius + 1
        inside = (dy >= 0) & (dy < side) & (dx >= 0) & (dx < side)
        inside &= window[(dy * side + dx).clamp(0, side * side - 1)]
        q = query.flatten(1)[:, chosen].T.float()  # (n, C)
        scores = []
        for m, bounded in memories:
            score = q @ keys[m].flatten(1).float()
            scores.append(score.masked_fill(~inside, -math.inf) if bounded else score)
        all_scores = torch.cat(scores, dim=1)  # (n, N*h*w)
        least = all_scores.topk(min(top_k, all_scores.shape[1]), dim=1).values[:, -1:]
        weights = all_scores.masked_fill(all_scores < least, -math.inf).softmax(dim=1)
        results.append(flat @ weights.to(flat.dtype).T)
    return torch.cat(results, dim=1)


def _best(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    part: Part,
    *,
    k: int,
    temperature: float,
    outside: str,
    tile: int,
    max_bytes: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The k best entries of all that takes part: scores (h*w, k), descending, and places as of `topk_window`.

    The third, int64 (h*w, k), is how often each entry is there; None where everything is there once.
    """
    near = [m for m, count in enumerate(part.counts) if count]
    windows = partial(
        best_in_windows,
        query,
        part=part,
        k=k,
        temperature=temperature,
        outside=outside,
        tile=tile,
        max_bytes=max_bytes,
    )
    if len(near) == len(keys) and max(part.counts) == 1 and not part.free:
        return *windows(keys), None
    height, width = query.shape[-2:]
    frame = (height + 2 * part.radius) * (width + 2 * part.radius)
    found = []
    if near:
        scores, places = windows([keys[m] for m in near])
        memory = numbers(tuple(near), query.device)[places // frame]
        copies = numbers(part.counts, query.device)[memory]
        found.append((scores, memory * frame + places % frame, copies))
    for m in part.free:
        scores, places = _best_in_frame(
            query, keys[m], k=k, temperature=temperature, radius=part.radius, max_bytes=max_bytes
        )
        found.append((scores, m * frame + places, torch.ones_like(places)))
    scores, places, copies = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    return best.values, places.gather(1, best.indices), copies.gather(1, best.indices)


def _best_in_frame(
    query: Tensor, key: Tensor, *, k: int, temperature: float, radius: int, max_bytes: int
) -> tuple[Tensor, Tensor]:
    """Best k of all cells of one memory: scores (h*w, k), descending, and places in it padded by r."""
    width = query.shape[-1]
    queries, table = query.flatten(1).T.float(), key.flatten(1).float()  # (h*w, C), (C, h*w)
    step = max(1, max_bytes // (8 * table.shape[1]))
    best = [(q / temperature @ table).topk(min(k, table.shape[1]), dim=1) for q in queries.split(step)]
    cell = torch.cat([b.indices for b in best])
    places = (cell // width + radius) * (width + 2 * radius) + cell % width + radius
    return torch.cat([b.values for b in best]), places


def best_in_windows(
    query: Tensor,
    keys: Sequence[Tensor] | Tensor,
    *,
    part: Part,
    k: int,
    temperature: float,
    outside: str,
    tile: int,
    max_bytes: int,
) -> tuple[Tensor, Tensor]:
    """Best k of the windows of all memories: scores (h*w, k), descending, and places as of `topk_window`."""
    radius, memories, (height, width) = part.radius, len(keys), query.shape[-2:]
    tile = min(tile, 4 * math.ceil(max(height, width) / 4))
    offsets = _offsets_on(radius, part.shape, query.device)
    window, block = len(offsets), (tile + 2 * radius) ** 2
    k = min(k, memories * window)
    tiles = query_tiles(query[None].float(), tile)[0]  # (ny, nx, t*t, C)
    rows, columns, cells, channels = tiles.shape
    ones = torch.ones_like(query[:1]) if outside == "masked" else None
    scores = tiles.new_empty(rows, columns, cells, k)
    places = torch.empty_like(scores, dtype=torch.int64)
    per_tile = 4 * (
        cells * ((memories + 2) * block + 3 * window + 3 * memories * min(k, window)) + channels * block
    )
    step = max(1, max_bytes // per_tile)
    for top in range(0, rows, max(1, step // columns)):
        for left in range(0, columns, step):
            some = slice(top, top + max(1, step // columns)), slice(left, left + step)
            chosen = tiles[some] / temperature
            products = [chosen @ _blocks_of(key, chosen, top, left, radius) for key in keys]
            hidden = None
            if ones is not None:
                hidden = _blocks_of(ones, chosen, top, left, radius) == 0
            scores[some], places[some] = _topk_tiles(
                products, hidden, tile=tile, radius=radius, k=k, offsets=offsets
            )
    scores = untile(scores[None], height, width)[0].flatten(1).T  # (h*w, k)
    places = untile(places[None], height, width)[0].flatten(1).T
    return scores, _absolute(places, height, width, radius)


def _blocks_of(x: Tensor, tiles: Tensor, top: int, left: int, radius: int) -> Tensor:
    """(C, h, w) -> (rows, columns, C, (t+2r)^2) for tiles from tile (top, left) on; 0 outside.

    tiles: (rows, columns, t*t, .).
    """
    tile = math.isqrt(tiles.shape[2])
    y, x0 = top * tile - radius, left * tile - radius
    height, width = (count * tile + 2 * radius for count in tiles.shape[:2])
    inside = x[:, max(y, 0) : y + height, max(x0, 0) : x0 + width].float()
    before = max(-x0, 0), max(-y, 0)
    after = width - before[0] - inside.shape[-1], height - before[1] - inside.shape[-2]
    return _blocks(F.pad(inside, (before[0], after[0], before[1], after[1])), tile, tile + 2 * radius)


def _topk_tiles(
    scores: list[Tensor], hidden: Tensor | None, *, tile: int, radius: int, k: int, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Best k of scores M of (rows, columns, t*t, (t+2r)^2), descending, and their places.

    A place is (memory, row offset, column offset) as one number.

    Cells at the same offset in all memories are a group, by its best. The best k cells lie in the best k
    groups, so one selection among the offsets and one among M * k cells do for a selection in every memory.
    """
    window = (2 * radius + 1) ** 2
    best = reduce(torch.maximum, scores)
    if hidden is not None:
        best = best.masked_fill(hidden, -math.inf)
    candidates = _windows(best, tile, radius)
    if len(offsets) < window:
        candidates = candidates[..., offsets]
    groups = candidates.topk(min(k, len(offsets)), dim=-1, sorted=len(scores) == 1)
    chosen = offsets[groups.indices]
    if len(scores) == 1:
        return groups.values, chosen
    places = _in_block(chosen, tile, radius)
    cells = torch.stack([s.gather(-1, places) for s in scores], dim=-2)  # (rows, columns, t*t, M, k)
    if hidden is not None:
        cells = cells.masked_fill((groups.values == -math.inf).unsqueeze(-2), -math.inf)
    top = cells.flatten(-2).topk(k, dim=-1)
    count = groups.indices.shape[-1]
    memory, group = top.indices // count, top.indices % count
    return top.values, memory * window + chosen.gather(-1, group)


def _windows(scores: Tensor, tile: int, radius: int) -> Tensor:
    """(rows, columns, t*t, (t+2r)^2) -> (rows, columns, t*t, P*P).

    Query (y, x) sees rows y..y+2r and columns x..x+2r.
    """
    rows, columns, cells, block = scores.shape
    side, window = tile + 2 * radius, 2 * radius + 1
    strides = cells * block, tile * block + side, block + 1, side, 1
    view = scores.contiguous().as_strided((rows * columns, tile, tile, window, window), strides)
    return view.reshape(rows, columns, cells, window * window)


def _in_block(offsets: Tensor, tile: int, radius: int) -> Tensor:
    """Offsets (..., t*t, k) in each query's window -> places in its tile's block."""
    side, window = tile + 2 * radius, 2 * radius + 1
    corner = _corners(tile, side, offsets.device)[:, None]
    return corner + offsets // window * side + offsets % window


@once
def _corners(tile: int, side: int, device: torch.device) -> Tensor:
    """(t*t,): the place of each query of a tile in rows of `side` cells."""
    cell = torch.arange(tile * tile, device=device)
    return cell // tile * side + cell % tile


def _absolute(local: Tensor, height: int, width: int, radius: int) -> Tensor:
    """(h*w, k) places in each query's own windows -> places in the flattened padded memories."""
    side, window = 2 * radius + 1, (2 * radius + 1) ** 2
    memory, offset = local // window, local % window
    y = torch.arange(height, device=local.device).repeat_interleave(width)[:, None] + offset // side
    x = torch.arange(width, device=local.device).repeat(height)[:, None] + offset % side
    return (memory * (height + 2 * radius) + y) * (width + 2 * radius) + x
