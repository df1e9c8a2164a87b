"""The guided filter as ONNX operators: what `mamp/propagation/guided.py` does."""

from __future__ import annotations

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.parts import grown, planes, resized, sides


def guided_filter(
    g: Graph, image: Value, maps: Value, *, radius: Value, eps: float, step: Value | None = None
) -> Value:
    """Maps (N, H, W) -> (N, H, W), as `mamp.propagation.guided.guided_filter`; radius and step are int64."""
    image = image - g("ReduceMean", image, [1, 2])
    full = sides(g, image)
    size = None if step is None else (full + step - 1) / step
    if step is not None:
        shrunk = g("Round", g.cast(radius, "float64") / g.cast(step, "float64"))  # halves to even, as Python
        radius = g("Max", g.cast(shrunk, "int64"), 1)
    guide = _shrunk(g, image, size)
    window = Window(g, sides(g, guide), radius)
    mean = window.mean(g, guide)  # (3, H, W)
    triangle = _triangle(g, guide, mean, window, eps)

    def one(inner: Graph, number: Value) -> list[Value]:
        plane = inner("Gather", maps, inner("Unsqueeze", number, [0]), axis=0)  # (1, H, W)
        plane = _shrunk(inner, plane, size)
        centre = window.mean(inner, plane)
        covariance = window.mean(inner, guide * plane) - mean * centre
        slope = inner("Concat", *_solve(triangle, planes(inner, covariance)), axis=0)  # (3, H, W)
        offset = centre - inner("ReduceSum", slope * mean, [0])
        function = window.mean(inner, inner("Concat", slope, offset, axis=0))
        if size is not None:
            function = resized(inner, function, full)
        averaged = planes(inner, function, 4)
        colours = planes(inner, image)
        return [sum((averaged[i] * colours[i] for i in range(3)), averaged[3])]

    count = g("Gather", g("Shape", maps, dtype="int64"), 0)
    (found,) = g.repeat(count, one)  # (N, 1, H, W)
    return g("Squeeze", found, [1])


def _shrunk(g: Graph, x: Value, size: Value | None) -> Value:
    """(C, H, W) to `size`, each the mean of the pixels around it; None leaves it."""
    return x if size is None else resized(g, x, size, antialias=True)


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
