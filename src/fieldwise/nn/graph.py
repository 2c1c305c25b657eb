"""An ONNX graph that is being written: how a model answers where there is no torch (`nn.emit` has the layers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

__all__ = ["OPSET", "Graph", "NotExportable"]

OPSET = 17
_IR_VERSION = 8


class NotExportable(Exception):
    """A part cannot be said in ONNX; the message is the reason."""


class Graph:
    """A graph that is being written: operators in order, and the constants that they take.

    Parameters
    ----------
    dtype
        Of its numbers, float32 or float64.

    Examples
    --------
    >>> graph = Graph(np.dtype(np.float32))
    >>> y = graph.add("Add", "x", graph.constant([1.0]))
    >>> model = graph.finish({"x": ("B", 1)}, {"y": ("B", 1)}, {"y": y})
    >>> [node.op_type for node in model.graph.node]
    ['Add', 'Identity']
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.kind = TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """Return the name of a constant, of the graph's type unless another is given."""
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype=dtype or self.dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant (n,) of whole numbers: axes and places."""
        return self.constant(values, np.int64)

    def weight(self, tensor: Tensor) -> str:
        """Return the name of a constant that has a weight's numbers."""
        return self.constant(tensor.detach().cpu().numpy())

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output, and return the output's name."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def sum(self, x: str, *axes: int, keepdims: bool = False) -> str:
        """Sum over axes."""
        return self.add("ReduceSum", x, self.integers(*axes), keepdims=int(keepdims))

    def cut(self, x: str, axis: int, begin: int, end: int) -> str:
        """Return ``x[begin:end]`` along an axis."""
        return self.add("Slice", x, self.integers(begin), self.integers(end), self.integers(axis))

    def repeated(self, like: str, value: str, *shape: int) -> str:
        """Return a constant (1, ...) as (B, *shape), with the B of another value."""
        size = self.add("Concat", self.add("Shape", like, start=0, end=1), self.integers(*shape), axis=0)
        return self.add("Expand", value, size)

    def finish(
        self,
        inputs: Mapping[str, Sequence[str | int]],
        outputs: Mapping[str, Sequence[str | int]],
        names: Mapping[str, str],
        whole: Sequence[str] = (),
    ) -> Any:
        """Return the model, checked.

        Parameters
        ----------
        inputs, outputs
            Shapes by name; a text is a dimension of any size. Inputs that no operator takes are left out.
        names
            What the outputs are called in the graph.
        whole
            The inputs of whole numbers.
        """
        for name, inner in names.items():
            self.nodes.append(helper.make_node("Identity", [inner], [name]))
        used = {name for node in self.nodes for name in node.input}

        def told(shapes: Mapping[str, Sequence[str | int]]) -> list[Any]:
            kinds = dict.fromkeys(whole, TensorProto.INT64)
            return [
                helper.make_tensor_value_info(name, kinds.get(name, self.kind), list(shape))
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self.nodes,
            "network",
            told({name: shape for name, shape in inputs.items() if name in used}),
            told(outputs),
            self.constants,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="fieldwise"
        )
        onnx.checker.check_model(model)
        return model
