"""The memory read near by and by blocks, as ONNX operators, a tile of blocks at a time.

It does what `block_readout` of `mamp/propagation/blocks.py` does.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.parts import cut, filled, grown, sides, up_to
from mamp.methods.mamp.onnx.readout import best_cells, block, outside_window
from mamp.propagation.blocks import CELLS, SIDE

Best = tuple[Value, Value]  # scores (n, k) and labels (n, k, V) of the best cells of n queries


def block_readout(
    g: Graph,
    query: Value,
    keys: Value,
    values: Value,
    *,
    radius: int,
    near: int,
    top_k: int,
    temperature: float,
    blocks: int,
    tile: int,
) -> Value:
    """Query (C, h, w), keys (M, C, h, w), values (M, V, h, w) -> (V, h, w).

    The other arguments are those of `mamp.propagation.blocks.block_readout`.

    One tile of t x t blocks of queries at a time meets the cells and the blocks around it.
    """
    size = sides(g, query)
    tiled = up_to(g, up_to(g, size, SIDE) / SIDE, tile)  # blocks (Y', X')
    counts = tiled / tile  # tiles (ny, nx)
    columns = g("Gather", counts, 1)
    query = query / temperature
    close = _Near(g, query, keys, values, tiled, radius=near, top_k=top_k, side=SIDE * tile)
    far = _Blocks(
        g, query, keys, values, tiled, radius=radius, near=near, top_k=top_k, blocks=blocks, tile=tile
    )

    def one(inner: Graph, number: Value) -> list[Value]:
        place = (
            inner("Unsqueeze", number / columns, [0]),
            inner("Unsqueeze", inner("Mod", number, columns), [0]),
        )
        corner = inner("Concat", *place, axis=0) * tile
        found = zip(close.best(inner, corner * SIDE), far.best(inner, corner), strict=True)
        scores, labels = (inner("Concat", *both, axis=1) for both in found)
        top, chosen = _top(inner, scores, top_k)
        read = inner("GatherND", labels, inner("Unsqueeze", chosen, [2]), batch_dims=1)  # (n, k, V)
        weights = inner("Unsqueeze", inner("Softmax", top, axis=1), [1])  # (n, 1, k)
        return [inner("Squeeze", inner("MatMul", weights, read), [1])]  # (n, V)

    (read,) = g.repeat(g("ReduceProd", counts, keepdims=0), one)  # (ny*nx, n, V)
    read = g("Reshape", read, g("Concat", counts, [SIDE * tile, SIDE * tile, -1], axis=0))
    full = g("Transpose", read, perm=[4, 0, 2, 1, 3])  # (V, ny, 2*t, nx, 2*t)
    return cut(g, g("Reshape", full, g("Concat", [-1], tiled * SIDE, axis=0)), size)


class _Near:
    """The best cells near by of the queries of a tile of `side` x `side` cells."""

    def __init__(
        self,
        g: Graph,
        query: Value,
        keys: Value,
        values: Value,
        tiled: Value,
        *,
        radius: int,
        top_k: int,
        side: int,
    ) -> None:
        self.side, self.block, self.top_k = side, side + 2 * radius, top_k
        size, cells = sides(g, query), tiled * SIDE
        margin, after = g.constant([radius, radius]), cells - size + radius
        self.queries = filled(g, query, cells)
        self.keys, self.values = grown(g, keys, margin, after), grown(g, values, margin, after)
        self.frame = grown(g, g("Expand", g.constant(1.0), size), margin, after)
        self.window = outside_window(g, side, radius)
        self.groups = min(top_k, (2 * radius + 1) ** 2)

    def best(self, g: Graph, corner: Value) -> Best:
        """Of the tile at `corner`, in cells; cells by rows."""
        asked = g("Transpose", block(g, self.queries, corner, self.side), perm=[1, 0])  # (n, C)
        scores = g("MatMul", asked, block(g, self.keys, corner, self.block))
        nothing = g("Equal", block(g, self.frame, corner, self.block), 0.0, dtype="bool")
        hidden = g("Or", self.window, nothing, dtype="bool")
        top, memory, cell = best_cells(g, scores, hidden, top_k=self.top_k, groups=self.groups)
        labels = g("Transpose", block(g, self.values, corner, self.block), perm=[0, 2, 1])
        return top, g("GatherND", labels, g("Concat", memory, cell, axis=2))


class _Blocks:
    """The best cells of the best blocks for the queries of a tile of `tile` x `tile` blocks."""

    def __init__(
        self,
        g: Graph,
        query: Value,
        keys: Value,
        values: Value,
        tiled: Value,
        *,
        radius: int,
        near: int,
        top_k: int,
        blocks: int,
        tile: int,
    ) -> None:
        self.reach = -(-radius // SIDE)
        self.tile, self.side, self.near = tile, tile + 2 * self.reach, near
        self.top_k, self.blocks = top_k, blocks
        size = sides(g, query)
        coarse = up_to(g, size, SIDE) / SIDE  # blocks (Y, X)
        margin, after = g.constant([self.reach, self.reach]), tiled - coarse + self.reach
        there = g("Expand", g.constant(1.0), g("Concat", [1], size, axis=0))  # (1, h, w)
        self.means = filled(g, _pooled(g, g("Unsqueeze", query, [0]), there), tiled)  # (1, C, Y', X')
        self.seen = grown(g, _pooled(g, keys, there), margin, after)  # (M, C, Y', X')
        self.queries = filled(g, _rows(g, g("Unsqueeze", query, [0])), tiled)  # (1, 4*C, Y', X')
        self.tables = [grown(g, _rows(g, x), margin, after) for x in (keys, values)]
        self.cells = grown(g, _rows(g, g("Unsqueeze", there, [0])), margin, after)  # (1, 4, Y', X')
        self.window = outside_window(g, tile, self.reach)
        self.groups = min(blocks, (2 * self.reach + 1) ** 2)

    def best(self, g: Graph, corner: Value) -> Best:
        """Of the tile at `corner`, in blocks; cells by rows."""
        tile, side = self.tile, self.side
        mean = g("Transpose", g("Squeeze", block(g, self.means, corner, tile), [0]), perm=[1, 0])
        scores = g("MatMul", mean, block(g, self.seen, corner, side))  # (M, t*t, (t+2R)^2)
        inside = _gathered(g, self.cells, corner, side)  # (1, (t+2R)^2, 4)
        nothing = g("Equal", g("ReduceMax", inside, [2], keepdims=0), 0.0, dtype="bool")
        hidden = g("Or", self.window, nothing, dtype="bool")
        top, memory, cell = best_cells(g, scores, hidden, top_k=self.blocks, groups=self.groups)  # (t*t, n)
        chosen = g("Concat", memory, cell, axis=2)  # (t*t, n, 2)
        keys, labels = (
            _flat(g, g("GatherND", _gathered(g, table, corner, side), chosen)) for table in self.tables
        )  # (t*t, 4*n, C) and (t*t, 4*n, V)
        asked = g("Reshape", _gathered(g, self.queries, corner, tile), [tile * tile, CELLS, -1])
        products = g("MatMul", asked, g("Transpose", keys, perm=[0, 2, 1]))  # (t*t, 4, 4*n)
        fits = g("GatherND", g("Squeeze", inside, [0]), cell)  # (t*t, n, 4)
        none = g("Unsqueeze", g("Equal", top, -np.inf, dtype="bool"), [2])
        absent = g("Or", g("Equal", fits, 0.0, dtype="bool"), none, dtype="bool")
        absent = g("Or", g("Reshape", absent, [tile * tile, 1, -1]), self._near_by(g, cell), dtype="bool")
        products = g("Where", absent, g.constant(-np.inf), products, dtype="float32")
        best, place = _top(g, products, self.top_k)  # (t*t, 4, k)
        picked = g("GatherND", labels, g("Reshape", place, [0, -1, 1]), batch_dims=1)  # (t*t, 4*k, V)
        return self._by_rows(g, best, 1), self._by_rows(g, picked, 2)

    def _near_by(self, g: Graph, cell: Value) -> Value:
        """(t*t, 4, 4*n) bool: is this cell of a block (t*t, n, 1) one of those near by?"""
        tile, within = self.tile, []
        own = np.stack(np.divmod(np.arange(tile * tile), tile))[:, :, None, None]  # of each query's block
        for axis, steps in enumerate((cell / self.side, g("Mod", cell, g.constant(self.side)))):
            step = (steps - g.constant(own[axis] + self.reach)) * SIDE  # (t*t, n, 1)
            cells = np.arange(CELLS) // SIDE if axis == 0 else np.arange(CELLS) % SIDE
            offset = g("Reshape", step + g.constant(cells[None, None]), [tile * tile, 1, -1])
            offset = g("Abs", offset - g.constant(cells[None, :, None]))  # (t*t, 4, 4*n)
            within.append(g("LessOrEqual", offset, self.near, dtype="bool"))
        return g("And", *within, dtype="bool")

    def _by_rows(self, g: Graph, x: Value, last: int) -> Value:
        """(t*t, 4, k) or, of labels, (t*t, 4*k, V) -> those of the cells by rows: (n, k), (n, k, V)."""
        depth = g("Shape", x, dtype="int64", start=2, end=3)
        tail = [depth] if last == 1 else [g.constant([-1]), depth]
        shape = [self.tile, self.tile, SIDE, SIDE]
        split = g("Reshape", x, g("Concat", shape, *tail, axis=0))
        order = [0, 2, 1, 3, 4, 5][: 4 + last]
        cells = SIDE * SIDE * self.tile * self.tile
        return g("Reshape", g("Transpose", split, perm=order), g("Concat", [cells], *tail, axis=0))


def _top(g: Graph, scores: Value, top_k: int) -> tuple[Value, Value]:
    """The best k along the last side, or all where there are fewer, and their places."""
    count = g("Slice", g("Shape", scores, dtype="int64"), [-1], [np.iinfo(np.int64).max])
    best, place = g.several("TopK", scores, g("Min", count, [top_k]), dtypes=["float32", "int64"])
    return best, place


def _pooled(g: Graph, x: Value, there: Value) -> Value:
    """(M, C, h, w) -> (M, C, Y, X), means of the cells inside the frame; there: ones (1, h, w)."""
    even = up_to(g, sides(g, there), SIDE)
    mean = partial(g, "AveragePool", kernel_shape=[SIDE, SIDE], strides=[SIDE, SIDE])
    # the cells outside count as 0 in both
    return mean(filled(g, x, even)) / mean(filled(g, g("Unsqueeze", there, [0]), even))


def _rows(g: Graph, x: Value) -> Value:
    """(M, C, h, w) -> (M, 4*C, Y, X): the channels of a block's four cells, one after the other.

    0 outside the frame.
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
