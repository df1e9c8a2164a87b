"""Sizes, colour and labels as ONNX operators. Tests hold them equal to the functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.ops.colour import MEAN, SCALE

# kornia's sRGB to XYZ, and its white (D65)
RGB_TO_XYZ = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
WHITE = [0.95047, 1.0, 1.08883]
LAST = np.iinfo(np.int64).max  # the end of a slice


def sides(g: Graph, x: Value) -> Value:
    """The last two sides of `x`: int64 (2,)."""
    return g("Slice", g("Shape", x, dtype="int64"), [-2], [LAST])


def up_to(g: Graph, size: Value, multiple: int) -> Value:
    """Sides (2,), each up to the next multiple."""
    return (size + (multiple - 1)) / multiple * multiple


def grown(g: Graph, x: Value, before: Value, after: Value, *, mode: str = "constant") -> Value:
    """Pad `x` by rows and columns (2,) before and after: 0, or by mode="edge" those of its border."""
    pads = g("Concat", before, after, axis=0)
    return g("Pad", x, pads, None, [-2, -1], mode=mode)


def filled(g: Graph, x: Value, size: Value) -> Value:
    """`x` with zeros right and bottom up to `size`."""
    return grown(g, x, g.constant([0, 0]), size - sides(g, x))


def cut(g: Graph, x: Value, size: Value) -> Value:
    """The first rows and columns of `x`."""
    return g("Slice", x, [0, 0], size, [-2, -1])


def every(g: Graph, x: Value, step: int) -> Value:
    """Every n-th row and column of `x`."""
    return x if step == 1 else g("Slice", x, [0, 0], [LAST, LAST], [-2, -1], [step, step])


def resized(g: Graph, x: Value, size: Value, *, antialias: bool = False, corners: bool = False) -> Value:
    """Float (C, H, W) bilinearly to `size`, by half-pixel centres, or by the centres of the corners."""
    how: dict[str, Any] = {"coordinate_transformation_mode": "align_corners" if corners else "half_pixel"}
    if antialias:
        how |= {"antialias": 1, "exclude_outside": 1}  # at the border torch reads what there is
    batch = g("Unsqueeze", x, [0])
    target = g("Concat", g("Slice", g("Shape", batch, dtype="int64"), [0], [2]), size, axis=0)
    return g("Squeeze", g("Resize", batch, None, None, target, mode="linear", **how), [0])


def rgb_to_lab(g: Graph, rgb: Value) -> Value:
    """RGB (3, H, W) in [0, 1] -> normalised Lab, as `mamp.ops.colour.rgb_to_lab` by the exact formula."""
    bent = g("Pow", (rgb + 0.055) / 1.055, 2.4)
    linear = g("Where", g("Greater", rgb, 0.04045, dtype="bool"), bent, rgb / 12.92, dtype="float32")
    size = sides(g, rgb)
    flat = g("Reshape", linear, [3, -1])
    xyz = g("MatMul", g.constant(RGB_TO_XYZ), flat) / np.array(WHITE)[:, None]
    root = g("Pow", g("Max", xyz, 0.008856), 1 / 3)
    level = g("Where", g("Greater", xyz, 0.008856, dtype="bool"), root, xyz * 7.787 + 4 / 29, dtype="float32")
    # L = 116 y - 16, a = 500 (x - y), b = 200 (y - z)
    mixed = g("MatMul", g.constant([[0, 116.0, 0], [500.0, -500.0, 0], [0, 200.0, -200.0]]), level)
    mean, scale = np.array(MEAN) + [16, 0, 0], np.array(SCALE)
    lab = (mixed - mean[:, None]) / scale[:, None]
    return g("Reshape", lab, g("Concat", [3], size, axis=0))


def normalised(g: Graph, scores: Value) -> Value:
    """(K+1, ...) divided by the sum, background where the sum is 0: `mamp.propagation.labels.normalised`."""
    total = g("ReduceSum", scores, [0])
    rest = g("Cast", g("Equal", total, 0.0, dtype="bool"), dtype="float32", to=1)
    shares = scores / g("Max", total, 1e-12)
    first = g("Slice", shares, [0], [1], [0]) + rest
    return g("Concat", first, g("Slice", shares, [1], [LAST], [0]), axis=0)


def sharpened(g: Graph, scores: Value, power: float, background: float) -> Value:
    """As `mamp.propagation.labels.sharpened`."""
    if power == 1 and background == 1:
        return scores
    scores = g("Pow", g("Max", scores, 0.0), power)
    first, others = g("Slice", scores, [0], [1], [0]), g("Slice", scores, [1], [LAST], [0])
    return normalised(g, g("Concat", first * background, others, axis=0))


def with_background(g: Graph, masks: Value) -> Value:
    """(K, ...) masks -> (K+1, ...), background first."""
    one = g.constant(np.ones(1, np.float32))
    return g("Concat", one - g("ReduceSum", masks, [0]), masks, axis=0)


def one_hot(g: Graph, numbers: Value, last: Value) -> Value:
    """Label map int64 (H, W) -> float masks (K, H, W) of the labels 1 to `last` = K."""
    labels = g("Unsqueeze", g("Range", g.constant(1), last + 1, g.constant(1)), [1, 2])
    return g.cast(g("Equal", g("Unsqueeze", numbers, [0]), labels, dtype="bool"), "float32")


def planes(g: Graph, x: Value, count: int = 3) -> list[Value]:
    """(C, H, W) -> its first planes, (1, H, W) each."""
    return [g("Slice", x, [i], [i + 1], [0]) for i in range(count)]
