"""The memory read as ONNX operators, a tile at a time. It does what `topk_readout` does."""

from __future__ import annotations

import numpy as np

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.parts import cut, filled, grown, sides, up_to


def topk_readout(
    g: Graph,
    query: Value,
    keys: Value,
    values: Value,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    outside: str,
    tile: int,
) -> Value:
    """Query (C, h, w), keys (M, C, h, w), values (M, V, h, w) -> (V, h, w).

    The other arguments are those of `mamp.propagation.correlation.topk_readout`.

    One tile of t x t queries at a time meets the block of (t+2r) x (t+2r) cells around it, so that M of (t*t,
    (t+2r)^2) scores are held at most, whatever the frame's size.
    """
    side, size = tile + 2 * radius, sides(g, query)
    tiled = up_to(g, size, tile)
    margin, after = g.constant([radius, radius]), tiled - size + radius
    queries = filled(g, query / temperature, tiled)
    keys, values = grown(g, keys, margin, after), grown(g, values, margin, after)
    frame = grown(g, g("Expand", g.constant(1.0), size), margin, after)
    counts = tiled / tile  # tiles (ny, nx)
    columns = g("Gather", counts, 1)
    window = outside_window(g, tile, radius)  # (t*t, (t+2r)^2)
    groups = min(top_k, (2 * radius + 1) ** 2)

    def one(inner: Graph, number: Value) -> list[Value]:
        place = (
            inner("Unsqueeze", number / columns, [0]),
            inner("Unsqueeze", inner("Mod", number, columns), [0]),
        )
        corner = inner("Concat", *place, axis=0) * tile
        cells = inner("Transpose", block(inner, queries, corner, tile), perm=[1, 0])  # (t*t, C)
        scores = inner("MatMul", cells, block(inner, keys, corner, side))  # (M, t*t, (t+2r)^2)
        hidden = window
        if outside == "masked":
            nothing = inner("Equal", block(inner, frame, corner, side), 0.0, dtype="bool")
            hidden = inner("Or", window, nothing, dtype="bool")
        top, memory, cell = best_cells(inner, scores, hidden, top_k=top_k, groups=groups)  # (t*t, k)
        labels = inner("Transpose", block(inner, values, corner, side), perm=[0, 2, 1])  # (M, (t+2r)^2, V)
        read = inner("GatherND", labels, inner("Concat", memory, cell, axis=2))  # (t*t, k, V)
        weights = inner("Unsqueeze", inner("Softmax", top, axis=1), [1])  # (t*t, 1, k)
        return [inner("Squeeze", inner("MatMul", weights, read), [1])]  # (t*t, V)

    (read,) = g.repeat(g("ReduceProd", counts, keepdims=0), one)  # (ny*nx, t*t, V)
    shape = g("Concat", counts, [tile, tile, -1], axis=0)
    full = g("Transpose", g("Reshape", read, shape), perm=[4, 0, 2, 1, 3])  # (V, ny, t, nx, t)
    return cut(g, g("Reshape", full, g("Concat", [-1], tiled, axis=0)), size)


def block(g: Graph, x: Value, corner: Value, side: int) -> Value:
    """(..., h', w') -> (..., side * side), from `corner` (2,) on."""
    part = g("Slice", x, corner, corner + side, [-2, -1])
    lead = g("Slice", g("Shape", part, dtype="int64"), [0], [-2])
    return g("Reshape", part, g("Concat", lead, [side * side], axis=0))


def best_cells(
    g: Graph, scores: Value, hidden: Value, *, top_k: int, groups: int
) -> tuple[Value, Value, Value]:
    """Best k of scores (M, n, cells): scores (n, k), descending, and of each memory and cell (n, k, 1).

    Cells at the same place in all memories are a group, known by its best; the best k cells lie in the best k
    groups.
    """
    least = g.constant(-np.inf)
    best = g("Where", hidden, least, g("ReduceMax", scores, [0], keepdims=0), dtype="float32")
    group, place = g.several("TopK", best, [groups], dtypes=["float32", "int64"])  # (n, groups)
    count = g("Shape", scores, dtype="int64", start=0, end=1)  # M
    spread = g("Expand", place, g("Concat", count, [1, 1], axis=0))
    cells = g("GatherElements", scores, spread, axis=2)  # (M, n, groups)
    cells = g("Where", g("Equal", group, -np.inf, dtype="bool"), least, cells, dtype="float32")
    cells = g("Reshape", g("Transpose", cells, perm=[1, 0, 2]), g("Concat", [0], count * groups, axis=0))
    wanted = g("Min", count * groups, [top_k])
    top, chosen = g.several("TopK", cells, wanted, dtypes=["float32", "int64"])  # (n, k)
    cell = g("GatherElements", place, g("Mod", chosen, groups), axis=1)
    return top, g("Unsqueeze", chosen / groups, [2]), g("Unsqueeze", cell, [2])


def outside_window(g: Graph, tile: int, radius: int) -> Value:
    """(t*t, (t+2r)^2) bool: is this cell of the block outside the window of this query of the tile?"""
    offset = np.arange(tile + 2 * radius)[None] - np.arange(tile)[:, None]
    near = g.constant((offset >= 0) & (offset <= 2 * radius))  # (t, t+2r)
    both = g("And", g("Unsqueeze", near, [1, 3]), g("Unsqueeze", near, [0, 2]))
    return g("Not", g("Reshape", both, [tile * tile, -1]))
