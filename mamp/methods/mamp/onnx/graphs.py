"""The three ONNX graphs that carry masks without torch: features, a mask's labels, one step.

    encoder   image uint8 (H, W, 3) RGB                     -> features float32 (C, h, w)
    mask      mask int64 (H, W), objects 1 to K              -> labels float32 (K+1, h, w), background first
    step      image, features of the frame that is asked for
              keys float32 (M, C, h, w), values (M, K+1, h, w): features and labels of the memory frames
                                                            -> labels to remember, mask int64 (H, W),
                                                            probabilities (K+1, H, W)

They do what `MampPropagator` does, and keep its words; a tool keeps the memory.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
from torch import nn

from mamp.methods.mamp.config import MampConfig
from mamp.methods.mamp.encoder import STRIDE, Block, Encoder
from mamp.methods.mamp.onnx import parts
from mamp.methods.mamp.onnx.blocks import block_readout
from mamp.methods.mamp.onnx.graph import Graph, Value
from mamp.methods.mamp.onnx.guided import guided_filter
from mamp.methods.mamp.onnx.readout import topk_readout
from mamp.methods.mamp.trunk import SHARPER
from mamp.ops.colour import CHROMA
from mamp.ops.folding import fold_batch_norms
from mamp.propagation.guided import FINE, SHORT

FEATURES = ["channels", "rows", "columns"]
LABELS = ["labels", "rows", "columns"]
IMAGE: list[int | str] = ["height", "width", 3]


def encoder(model: nn.Module, method: MampConfig, *, metadata: dict[str, str]) -> onnx.ModelProto:
    """A frame's features; `model` is an `Encoder`."""
    g, knobs = Graph("encoder"), method.propagation
    frame = _frame(g)
    if knobs.short_side is not None:
        frame = parts.resized(g, frame, _scaled(g, parts.sides(g, frame), method), antialias=True)
    lab = parts.rgb_to_lab(g, frame)
    # padded after normalising, as published: the network's 0 is a mid grey
    lab = parts.every(g, _padded(g, lab, method), knobs.subsample)
    distilled, views = method.reads_distilled(), g("Unsqueeze", lab, [0])  # (1, 3, H, W)
    hidden = knobs.views == "hidden" and not distilled
    if hidden:
        kept = 1.5 * (1 - np.eye(3, dtype=np.float32)[list(CHROMA)])  # (views, 3)
        views = views * kept[:, :, None, None]
    chosen = model.get_submodule("distilled") if distilled else model
    features = network(g, fold_batch_norms(chosen), views)  # (views, C, h, w)
    if method.encoder.similarity == "cosine":
        features = features / g("Max", g("ReduceL2", features, [1]), 1e-12)
    if distilled:
        features = features * SHARPER
    count = len(CHROMA) if hidden else 1
    joined = g("Reshape", features, g("Concat", [-1], parts.sides(g, features), axis=0))
    g.output("features", joined / count**0.5, FEATURES)
    return g.model(about="A frame's features.", metadata=metadata)


def network(g: Graph, module: nn.Module, x: Value) -> Value:
    """The layers of the encoder, batch norms folded; TypeError for a layer that is not known here."""
    if isinstance(module, nn.Conv2d):
        held = [
            p.detach().cpu().float().contiguous().numpy()
            for p in (module.weight, module.bias)
            if p is not None
        ]
        assert isinstance(module.padding, tuple)
        padding, stride = [*module.padding, *module.padding], list(module.stride)
        return g("Conv", x, *(g.constant(p) for p in held), pads=padding, strides=stride)
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.ReLU):
        return g("Relu", x)
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = network(g, layer, x)
        return x
    if isinstance(module, Block):
        return g("Relu", network(g, module.left, x) + network(g, module.shortcut, x))
    if isinstance(module, Encoder):
        for part in (module.stem, module.layer1, module.layer2, module.layer3, module.layer4, module.head):
            x = network(g, part, x)
        return x
    raise TypeError(f"{type(module).__name__} has no ONNX form here")


def mask(method: MampConfig, *, metadata: dict[str, str]) -> onnx.ModelProto:
    """The labels on the feature grid of a mask that is given."""
    g = Graph("mask")
    numbers = g.input("mask", "int64", ["height", "width"])
    g.output("labels", _to_grid(g, numbers, g("ReduceMax", numbers, keepdims=0), method), LABELS)
    return g.model(about="A given mask's labels on the feature grid.", metadata=metadata)


def step(method: MampConfig, *, metadata: dict[str, str]) -> onnx.ModelProto:
    """One frame: read the memory, bring the labels to the frame, fit them to its edges."""
    g, knobs = Graph("step"), method.propagation
    frame = _frame(g)
    query = g.input("features", "float32", FEATURES)
    keys = g.input("keys", "float32", ["memory", *FEATURES])
    values = g.input("values", "float32", ["memory", *LABELS])
    scores = _read(g, query, keys, values, method)  # (K+1, h, w)
    scores = parts.sharpened(g, scores, knobs.sharpen, knobs.background)
    size = parts.sides(g, frame)
    probabilities = _to_frame(g, scores, size, method)
    if knobs.edge_radius:
        radius = _edge_radius(g, size, method)
        step = _fast_step(g, radius, size) if knobs.edge_fit == "fast" else None
        fitted = guided_filter(g, frame, probabilities, radius=radius, eps=knobs.edge_eps, step=step)
        probabilities = parts.normalised(g, g("Clip", fitted, 0.0, 1.0))
    winner = g("ArgMax", probabilities, axis=0, keepdims=0, dtype="int64")  # the first of equals
    if knobs.labels == "hard":
        last = g("Gather", g("Shape", scores, dtype="int64"), 0) - 1
        g.output("labels", _to_grid(g, winner, last, method), LABELS)
    else:
        g.output("labels", parts.normalised(g, scores), LABELS)
    g.output("mask", winner, ["height", "width"])
    g.output("probabilities", probabilities, ["labels", "height", "width"])
    return g.model(about="One frame's labels, from those of the memory frames.", metadata=metadata)


def _read(g: Graph, query: Value, keys: Value, values: Value, method: MampConfig) -> Value:
    """The labels (K+1, h, w) of the query, by the search that is set."""
    knobs = method.propagation
    read = partial(topk_readout, outside=knobs.outside)
    if knobs.resolved_search() == "blocks":
        read = partial(block_readout, near=knobs.search_near, blocks=knobs.search_blocks)
    return read(
        g,
        query,
        keys,
        values,
        radius=knobs.radius,
        top_k=knobs.top_k,
        temperature=temperature(method),
        tile=knobs.tile,
    )


def temperature(method: MampConfig) -> float:
    """The divisor of similarities in force."""
    return method.propagation.temperature or method.encoder.resolved_temperature()


def _frame(g: Graph) -> Value:
    """The input `image` as float (3, H, W) in [0, 1]."""
    pixels = g.cast(g.input("image", "uint8", IMAGE), "float32")
    return g("Transpose", pixels, perm=[2, 0, 1]) / 255.0


def _factor(g: Graph, size: Value, method: MampConfig) -> Value:
    """The working size over the frame's, a float64 scalar: what the network sees is so much larger."""
    shorter = g.cast(g("ReduceMin", size, keepdims=0), "float64")
    wanted = g.constant(method.propagation.short_side, "float64")
    return g("Min", wanted / shorter, g.constant(method.propagation.enlarge, "float64"))


def _scaled(g: Graph, size: Value, method: MampConfig) -> Value:
    """The size (2,) at which the network sees frames of `size`."""
    if method.propagation.short_side is None:
        return size
    exact = g("Round", g.cast(size, "float64") * _factor(g, size, method))  # halves to even, as Python
    return g("Max", g.cast(exact, "int64"), 1)


def _padded(g: Graph, x: Value, method: MampConfig) -> Value:
    """(C, H, W) padded to the multiple."""
    return parts.filled(g, x, parts.up_to(g, parts.sides(g, x), method.propagation.pad))


def _to_grid(g: Graph, numbers: Value, last: Value, method: MampConfig) -> Value:
    """Label map int64 (H, W) of the objects 1 to `last` = K -> (K+1, h, w), background first."""
    knobs, cell = method.propagation, STRIDE * method.propagation.subsample
    if knobs.short_side is not None:
        numbers = _nearest(g, numbers, _scaled(g, parts.sides(g, numbers), method))
    padded = _padded(g, parts.one_hot(g, numbers, last), method)
    cells = parts.every(g, padded, cell)  # the pixel at each cell's centre
    if knobs.labels == "soft":
        whole = parts.filled(g, padded, parts.up_to(g, parts.sides(g, padded), cell))
        touched = g("MaxPool", g("Unsqueeze", whole, [1]), kernel_shape=[cell, cell], strides=[cell, cell])
        cells = _with_small_ones(g, cells, g("Squeeze", touched, [1]))
    return parts.with_background(g, cells)


def _nearest(g: Graph, numbers: Value, size: Value) -> Value:
    """(H, W) to `size`: the pixel that each new pixel's centre lies in."""
    source = parts.sides(g, numbers)
    scale = g.cast(source, "float32") / g.cast(size, "float32")
    for axis in (0, 1):
        pick = partial(g, "Gather", axis=0)
        centres = g.cast(g("Range", 0, pick(size, axis), 1), "float32") + 0.5
        place = g.cast(g("Floor", centres * pick(scale, axis)), "int64")
        numbers = g("Gather", numbers, g("Min", place, pick(source, axis) - 1), axis=axis)
    return numbers


def _with_small_ones(g: Graph, cells: Value, touched: Value) -> Value:
    """(K, h, w), where an object that covers no cell's centre gets the cells it touches instead."""
    absent = g("Equal", g("ReduceMax", cells, [1, 2]), 0.0, dtype="bool")
    gained = touched * g.cast(absent, "float32")
    together = gained / g("Max", g("ReduceSum", gained, [0]), 1.0)
    one = g.constant(1.0)
    return cells * (one - g("ReduceSum", together, [0])) + together


def _to_frame(g: Graph, scores: Value, size: Value, method: MampConfig) -> Value:
    """(K+1, h, w) -> probabilities (K+1, H, W)."""
    knobs, cell = method.propagation, STRIDE * method.propagation.subsample
    scaled = _scaled(g, size, method)
    padded = parts.up_to(g, scaled, knobs.pad)
    if knobs.upsample == "centred":
        reach = (parts.sides(g, scores) - 1) * cell + 1
        full = parts.resized(g, scores, reach, corners=True)
        full = parts.grown(g, full, g.constant([0, 0]), padded - reach, mode="edge")
    else:
        full = parts.resized(g, scores, padded)
    return parts.normalised(g, parts.resized(g, parts.cut(g, full, scaled), size))


def _fast_step(g: Graph, radius: Value, size: Value) -> Value:
    """As `mamp.propagation.guided.fast_step`, an int64 scalar."""
    return g("Max", g("Min", radius / FINE, g("ReduceMin", size, keepdims=0) / SHORT), 1)


def _edge_radius(g: Graph, size: Value, method: MampConfig) -> Value:
    """Half side of the guided filter's windows in pixels of the video, an int64 scalar."""
    knobs = method.propagation
    radius = g.constant(knobs.edge_radius * STRIDE * knobs.subsample, "float64")
    if knobs.short_side is not None:
        radius = radius / _factor(g, size, method)
    return g("Max", g.cast(g("Round", radius), "int64"), 1)
