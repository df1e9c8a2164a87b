"""An ONNX graph, written an operator a line.

    g = Graph("encoder")
    image = g.input("image", "uint8", ["height", "width", 3])
    g.output("features", g("Relu", image * 2.0 - 1.0), "float32", ["height", "width", 3])
    model = g.model()

Values know `+ - * /`, with one another and with Python's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # Resize with antialias; onnxruntime 1.14 and later
IR_VERSION = 8  # of the same time as the opset

TYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True)
class Value:
    """The output of an operator. Numbers beside it take its type; without one, as `constant` makes them."""

    graph: Graph
    name: str
    dtype: str = "float32"

    def __add__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __radd__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._with("Div", other)

    def _with(self, op: str, other: Any) -> Value:
        if not isinstance(other, Value):
            other = self.graph.constant(other, self.dtype)
        inner = max(self.graph, other.graph, key=lambda graph: graph.depth)
        return inner(op, self, other, dtype=self.dtype)


class Graph:
    """A graph as it grows, or the body of a loop in it, which may use the values around it.

    State: its nodes, inputs and outputs; constants and the numbering of names are those of the outermost
    graph.
    """

    def __init__(self, name: str, *, outer: Graph | None = None) -> None:
        self.name = name
        self.root: Graph = outer.root if outer else self
        self.depth: int = outer.depth + 1 if outer else 0
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: dict[tuple[Any, ...], onnx.TensorProto] = {}
        self.numbers = count()

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> Value:
        """A named input; a side that is a word may be of any length."""
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
        return Value(self, name, dtype)

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """`value` as a named output."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name], name=self._fresh("n")))
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[value.dtype], shape))

    def constant(self, value: Any, dtype: str | None = None) -> Value:
        """A number or an array; without `dtype`, float64 becomes float32 and integers int64."""
        array = np.asarray(value)
        if dtype is None:
            kinds = {"f": "float32", "i": "int64", "u": "int64", "b": "bool"}
            dtype = kinds[array.dtype.kind]
        array = array.astype(dtype)
        key = (dtype, array.shape, array.tobytes())
        constants = self.root.constants
        if key not in constants:
            constants[key] = numpy_helper.from_array(array, self._fresh("c"))
        return Value(self, constants[key].name, dtype)

    def __call__(self, op: str, *inputs: Any, dtype: str | None = None, **attributes: Any) -> Value:
        """The first output of operator `op`; `dtype` is that of the first input where none is given."""
        return self.several(op, *inputs, dtypes=[dtype], **attributes)[0]

    def several(
        self, op: str, *inputs: Any, dtypes: Sequence[str | None], **attributes: Any
    ) -> tuple[Value, ...]:
        """As a call, for an operator with as many outputs as `dtypes`. None as an input leaves it out."""
        values = [
            x if isinstance(x, Value) or x is None else self.constant(x) for x in inputs
        ]  # numbers and lists
        first = next((value.dtype for value in values if value is not None), "float32")
        outputs = [Value(self, self._fresh("v"), dtype or first) for dtype in dtypes]
        names = ["" if value is None else value.name for value in values]
        # with a name: optimisers call what they add after it
        node = helper.make_node(op, names, [v.name for v in outputs], name=self._fresh("n"), **attributes)
        self.nodes.append(node)
        return tuple(outputs)

    def cast(self, value: Value, dtype: str) -> Value:
        """`value` as numbers of type `dtype`."""
        return self("Cast", value, dtype=dtype, to=TYPES[dtype])

    def repeat(self, times: Value, body: Callable[[Graph, Value], list[Value]]) -> tuple[Value, ...]:
        """Join what `body(graph, number)` gives for numbers 0 to times - 1 along a new first dimension."""
        inner = Graph(self._fresh("body"), outer=self)
        number = inner.input(self._fresh("number"), "int64", [])
        going = inner.input(self._fresh("going"), "bool", [])
        results = body(inner, number)
        for value in (going, *results):
            name = self._fresh("out")
            inner.nodes.append(helper.make_node("Identity", [value.name], [name], name=self._fresh("n")))
            inner.outputs.append(helper.make_tensor_value_info(name, TYPES[value.dtype], None))
        dtypes = [value.dtype for value in results]
        return self.several("Loop", times, None, dtypes=dtypes, body=inner._proto())

    def model(self, *, about: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model, checked; `metadata` goes inside."""
        from mamp import __version__

        model = helper.make_model(
            self._proto(),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="mamp",
            producer_version=__version__,
            doc_string=about,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _proto(self) -> onnx.GraphProto:
        held = list(self.constants.values()) if self.root is self else []
        return helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, held)

    def _fresh(self, kind: str) -> str:
        return f"{kind}{next(self.root.numbers)}"
