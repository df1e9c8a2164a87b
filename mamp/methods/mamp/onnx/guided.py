"""The guided filter as ONNX operators: what `mamp/propagation/guided.py` does."""

from __future__ import annotations

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.parts import grown, planes, sides


def guided_filter(g: Graph, image: Value, maps: Value, *, radius: Value, eps: float) -> Value:
    """Maps (N, H, W) -> (N, H, W), as `mamp.propagation.guided.guided_filter`; `radius` is an int64 scalar,
    in pixels.
    """
    image = image - g("ReduceMean", image, [1, 2])
    window = Window(g, sides(g, image), radius)
    mean = window.mean(g, image)  # (3, H, W)
    triangle = _triangle(g, image, mean, window, eps)

    def one(inner: Graph, number: Value) -> list[Value]:
        plane = inner("Gather", maps, inner("Unsqueeze", number, [0]), axis=0)  # (1, H, W)
        centre = window.mean(inner, plane)
        covariance = window.mean(inner, image * plane) - mean * centre
        slope = inner("Concat", *_solve(triangle, planes(inner, covariance)), axis=0)  # (3, H, W)
        offset = centre - inner("ReduceSum", slope * mean, [0])
        averaged = planes(inner, window.mean(inner, inner("Concat", slope, offset, axis=0)), 4)
        colours = planes(inner, image)
        return [sum((averaged[i] * colours[i] for i in range(3)), averaged[3])]

    count = g("Gather", g("Shape", maps, dtype="int64"), 0)
    (found,) = g.repeat(count, one)  # (N, 1, H, W)
    return g("Squeeze", found, [1])


class Window:
    """Means over square windows of half side `radius`, cut at the frame's borders.

    State: the kernel, and how many cells each window has along both sides.
    """

    def __init__(self, g: Graph, size: Value, radius: Value) -> None:
        side = radius * 2 + 1
        self.margin = g("Unsqueeze", radius, [0])
        shape = g("Concat", [1, 1, 1], g("Unsqueeze", side, [0]), axis=0)
        self.row = g("Expand", g.constant(1.0), shape)  # (1, 1, 1, P)
        self.column = g("Transpose", self.row, perm=[0, 1, 3, 2])
        ones = g("Expand", g.constant(1.0), g("Concat", [1], size, axis=0))
        self.cells = self._sum(g, ones)  # (1, H, W)

    def mean(self, g: Graph, x: Value) -> Value:
        """(C, H, W) -> the same size."""
        return self._sum(g, x) / self.cells

    def _sum(self, g: Graph, x: Value) -> Value:
        none, both = g.constant([0]), self.margin
        batch = g("Unsqueeze", x, [1])  # (C, 1, H, W)
        across, down = g("Concat", none, both, axis=0), g("Concat", both, none, axis=0)
        batch = g("Conv", grown(g, batch, across, across), self.row)
        batch = g("Conv", grown(g, batch, down, down), self.column)
        return g("Squeeze", batch, [1])


def _triangle(g: Graph, image: Value, mean: Value, window: Window, eps: float) -> list[list[Value]]:
    """Cholesky's lower triangle of the colours' covariance plus eps at each pixel, planes (1, H, W)."""
    colours, means = planes(g, image), planes(g, mean)
    lower: list[list[Value]] = []
    for i in range(3):
        row: list[Value] = []
        for j in range(i + 1):
            product = window.mean(g, colours[i] * colours[j]) - means[i] * means[j]
            if i == j:
                product = g("Max", product, 0.0) + eps
            for k in range(j):
                product = product - row[k] * lower[j][k] if j < i else product - row[k] * row[k]
            row.append(g("Sqrt", g("Max", product, eps / 2)) if i == j else product / lower[j][j])
        lower.append(row)
    return lower


def _solve(lower: list[list[Value]], right: list[Value]) -> list[Value]:
    """x of L L^T x = right, plane by plane."""
    half: list[Value] = []
    for i in range(3):
        rest = right[i]
        for k in range(i):
            rest = rest - lower[i][k] * half[k]
        half.append(rest / lower[i][i])
    solved: list[Value] = [half[0]] * 3
    for i in (2, 1, 0):
        rest = half[i]
        for k in range(i + 1, 3):
            rest = rest - lower[k][i] * solved[k]
        solved[i] = rest / lower[i][i]
    return solved
