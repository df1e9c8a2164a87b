"""The memory read by blocks as ONNX operators: what `block_readout` of `mamp/propagation/blocks.py` does, a
tile of blocks at a time.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.parts import cut, filled, grown, sides, up_to
from mamp.methods.mamp.onnx.readout import best_cells, block, outside_window
from mamp.propagation.blocks import CELLS, SIDE


def block_readout(
    g: Graph,
    query: Value,
    keys: Value,
    values: Value,
    *,
    radius: int,
    top_k: int,
    temperature: float,
    blocks: int,
    tile: int,
) -> Value:
    """Query (C, h, w), keys (M, C, h, w), values (M, V, h, w) -> (V, h, w); the other arguments are those of
    the original.

    One tile of t x t blocks of queries at a time meets the (t+2R) x (t+2R) blocks around it, R = ceil(radius
    / 2).
    """
    reach = -(-radius // SIDE)
    side, size = tile + 2 * reach, sides(g, query)
    coarse = up_to(g, size, SIDE) / SIDE  # blocks (Y, X)
    tiled = up_to(g, coarse, tile)
    counts = tiled / tile  # tiles (ny, nx)
    columns = g("Gather", counts, 1)
    margin, after = g.constant([reach, reach]), tiled - coarse + reach
    there = g("Expand", g.constant(1.0), g("Concat", [1], size, axis=0))  # (1, h, w)
    looked_at = filled(g, _pooled(g, g("Unsqueeze", query, [0]), there), tiled)  # (1, C, Y', X')
    seen = grown(g, _pooled(g, keys, there), margin, after)  # (M, C, Y', X')
    queries = filled(g, _rows(g, g("Unsqueeze", query / temperature, [0])), tiled)  # (1, 4*C, Y', X')
    tables = [grown(g, _rows(g, x), margin, after) for x in (keys, values)]
    cells = grown(g, _rows(g, g("Unsqueeze", there, [0])), margin, after)  # (1, 4, Y', X')
    window = outside_window(g, tile, reach)
    groups = min(blocks, (2 * reach + 1) ** 2)

    def one(inner: Graph, number: Value) -> list[Value]:
        place = (
            inner("Unsqueeze", number / columns, [0]),
            inner("Unsqueeze", inner("Mod", number, columns), [0]),
        )
        corner = inner("Concat", *place, axis=0) * tile
        mean = inner("Transpose", inner("Squeeze", block(inner, looked_at, corner, tile), [0]), perm=[1, 0])
        scores = inner("MatMul", mean, block(inner, seen, corner, side))  # (M, t*t, (t+2R)^2)
        inside = _gathered(inner, cells, corner, side)  # (1, (t+2R)^2, 4)
        nothing = inner("Equal", inner("ReduceMax", inside, [2], keepdims=0), 0.0, dtype="bool")
        hidden = inner("Or", window, nothing, dtype="bool")
        top, memory, cell = best_cells(inner, scores, hidden, top_k=blocks, groups=groups)  # (t*t, n)
        chosen = inner("Concat", memory, cell, axis=2)  # (t*t, n, 2)
        found, labels = (
            _flat(inner, inner("GatherND", _gathered(inner, table, corner, side), chosen)) for table in tables
        )  # (t*t, 4*n, C) and (t*t, 4*n, V)
        asked = _gathered(inner, queries, corner, tile)  # (1, t*t, 4*C)
        asked = inner("Reshape", asked, [tile * tile, CELLS, -1])
        products = inner("MatMul", asked, inner("Transpose", found, perm=[0, 2, 1]))  # (t*t, 4, 4*n)
        fits = inner("GatherND", inner("Squeeze", inside, [0]), cell)  # (t*t, n, 4)
        none = inner("Unsqueeze", inner("Equal", top, -np.inf, dtype="bool"), [2])
        absent = inner("Or", inner("Equal", fits, 0.0, dtype="bool"), none, dtype="bool")
        absent = inner("Reshape", absent, [tile * tile, 1, -1])
        products = inner("Where", absent, inner.constant(-np.inf), products, dtype="float32")
        return [_read(inner, products, labels, top_k)]  # (t*t, 4, V)

    (read,) = g.repeat(g("ReduceProd", counts, keepdims=0), one)  # (ny*nx, t*t, 4, V)
    read = g("Reshape", read, g("Concat", counts, [tile, tile, SIDE, SIDE, -1], axis=0))
    full = g("Transpose", read, perm=[6, 0, 2, 4, 1, 3, 5])  # (V, ny, t, 2, nx, t, 2)
    return cut(g, g("Reshape", full, g("Concat", [-1], tiled * SIDE, axis=0)), size)


def _read(g: Graph, products: Value, labels: Value, top_k: int) -> Value:
    """Scores (t*t, 4, cells) and the cells' labels (t*t, cells, V) -> (t*t, 4, V)."""
    cells = g("Shape", products, dtype="int64", start=2, end=3)
    wanted = g("Min", cells, [top_k])
    top, best = g.several("TopK", products, wanted, dtypes=["float32", "int64"])  # (t*t, 4, k)
    picked = g("GatherND", labels, g("Reshape", best, [0, -1, 1]), batch_dims=1)  # (t*t, 4*k, V)
    shape = g("Concat", [0, CELLS], wanted, [-1], axis=0)
    weights = g("Unsqueeze", g("Softmax", top, axis=2), [2])  # (t*t, 4, 1, k)
    return g("Squeeze", g("MatMul", weights, g("Reshape", picked, shape)), [2])


def _pooled(g: Graph, x: Value, there: Value) -> Value:
    """(M, C, h, w) -> (M, C, Y, X), means of the cells inside the frame; there: ones (1, h, w)."""
    even = up_to(g, sides(g, there), SIDE)
    mean = partial(g, "AveragePool", kernel_shape=[SIDE, SIDE], strides=[SIDE, SIDE])
    # the cells outside count as 0 in both
    return mean(filled(g, x, even)) / mean(filled(g, g("Unsqueeze", there, [0]), even))


def _rows(g: Graph, x: Value) -> Value:
    """(M, C, h, w) -> (M, 4*C, Y, X): the channels of a block's four cells, one cell after the other; 0
    outside the frame.
    """
    even = filled(g, x, up_to(g, sides(g, x), SIDE))
    return g("SpaceToDepth", even, blocksize=SIDE)


def _gathered(g: Graph, x: Value, corner: Value, side: int) -> Value:
    """(M, D, Y', X') -> (M, side*side, D), from `corner` on."""
    return g("Transpose", block(g, x, corner, side), perm=[0, 2, 1])


def _flat(g: Graph, x: Value) -> Value:
    """(t*t, n, 4*D) -> (t*t, 4*n, D)."""
    depth = g("Shape", x, dtype="int64", start=2, end=3) / CELLS
    return g("Reshape", x, g("Concat", [0, -1], depth, axis=0))
