"""A saved model as one ONNX graph from local ids to probabilities, for runtimes that know nothing of this library.

Every field is an input, named as the field::

    one value     FIELD (B,) int64: its local id                  0 missing, 1 unseen, and so is any that there is not
    a number      FIELD (B,) float: scaled, NaN for missing
    a bag         FIELD (B, L) int64, FIELD.weights (B, L) float  padded with weights of 0

A co-occurrence bag is an input, too, ``cooccurrence.N``: the ids of its bag without the example's own, each with the
weight ``1 / sqrt(how many there are)``. The output is ``probability``, (B,) of the positive class or (B, O) of each.

The rows of the table are external data, in the file of the bundle itself where they are floats.

Letters: B examples, F fields, L the longest bag, n numbers of a row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from fieldwise.bundle import Bundle
from fieldwise.calibration import Calibration
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import BAG, UNSEEN, VALUE
from fieldwise.kernels.storage import num_weights
from fieldwise.nn.graph import Graph

__all__ = ["TableFile", "graph_from_ids"]


class TableFile(NamedTuple):
    """Where the rows of the table lie: a file beside the graph, from a byte on, so many bytes."""

    name: str
    offset: int
    length: int


def graph_from_ids(bundle: Bundle, network: bytes, calibration: Calibration, table: TableFile) -> bytes:
    """Return the graph of a bundle with a network."""
    inner = onnx.load_from_string(network)
    kind = inner.graph.input[0].type.tensor_type.elem_type
    graph = Graph(np.dtype(np.float64 if kind == TensorProto.DOUBLE else np.float32))
    encoder, layout = bundle.encoder, bundle.encoder.layout
    bags = Cooccurrence.saved(bundle.dense, "cooccurrence.")
    sizes = np.diff(layout.base).tolist()
    names = [field.name for field in encoder.schema.fields]
    forms = [*layout.form.tolist(), *[BAG] * len(bags)]
    sizes += [sizes[bag.value] for bag in bags]
    names += [f"cooccurrence.{number}" for number in range(len(bags))]
    bases = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    inputs: list[Any] = []
    rows: list[str] = []
    for name, form, base, size in zip(names, forms, bases, sizes, strict=False):
        rows.append(_rows(graph, inputs, name, form, base, size))
    shapes = {each.name: each.type.tensor_type.shape for each in inner.graph.input}
    num_local = shapes["units"].dim[2].dim_value if "units" in shapes else 0
    width = num_weights(bundle.table)
    produced = {}
    if "units" in shapes:
        local = [graph.cut(row, 1, 0, num_local) if num_local < width else row for row in rows]
        produced["units"] = graph.add(
            "Concat", *(graph.add("Unsqueeze", each, graph.integers(1)) for each in local), axis=1
        )
    if "full" in shapes:
        of_log = rows[: layout.num_fields]
        full = graph.add("Sum", *of_log)
        produced["full"] = graph.cut(full, 1, num_local, width) if num_local else full
    for constant in inner.graph.initializer:
        constant.name = f"net.{constant.name}"
        graph.constants.append(constant)
    for node in inner.graph.node:
        for places in (node.input, node.output):
            for place, name in enumerate(places):
                if name:
                    places[place] = produced.get(name, f"net.{name}")
        graph.nodes.append(node)
    outputs = encoder.schema.outputs
    if encoder.schema.labels:
        probability = graph.add("Sigmoid", "net.logits")
    else:
        probability = _calibrated(graph, "net.logits", calibration, len(encoder.schema.classes))
    graph.nodes.append(helper.make_node("Identity", [probability], ["probability"]))
    shape: list[str | int | None] = ["B"]
    if outputs:
        shape.append(len(outputs))
    probabilities = [helper.make_tensor_value_info("probability", graph.kind, shape)]
    weights = _external(graph.kind, (len(bundle.table), width), table)
    whole = helper.make_graph(graph.nodes, "model", inputs, probabilities, [*graph.constants, weights])
    model = helper.make_model(whole, opset_imports=list(inner.opset_import), ir_version=inner.ir_version)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _external(kind: int, shape: tuple[int, ...], table: TableFile) -> Any:
    weights = TensorProto(name="table", data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", table.name), ("offset", table.offset), ("length", table.length)):
        entry = weights.external_data.add()
        entry.key, entry.value = key, str(value)
    return weights


def _rows(graph: Graph, inputs: list[Any], name: str, form: int, base: int, size: int) -> str:
    """Write the sum of a field's rows, times their inputs, and return its name: (B, n)."""
    if form == VALUE:
        inputs.append(helper.make_tensor_value_info(name, graph.kind, ["B"]))
        is_missing = graph.add("IsNaN", name)
        places = graph.add("Where", is_missing, graph.integers(base), graph.integers(base + 1))
        scale = graph.add("Where", is_missing, graph.constant([1.0]), name)
        return graph.add("Mul", _gathered(graph, places), graph.add("Unsqueeze", scale, graph.integers(1)))
    shape = ["B", f"L.{name}"] if form == BAG else ["B"]
    inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, shape))
    above = graph.add("GreaterOrEqual", name, graph.integers(0))
    below = graph.add("Less", name, graph.integers(size))
    known = graph.add("Where", graph.add("And", above, below), name, graph.integers(UNSEEN))
    found = _gathered(graph, graph.add("Add", known, graph.integers(base)))
    if form != BAG:
        return found
    inputs.append(helper.make_tensor_value_info(f"{name}.weights", graph.kind, shape))
    weighted = graph.add("Mul", found, graph.add("Unsqueeze", f"{name}.weights", graph.integers(2)))
    return graph.sum(weighted, 1)


def _gathered(graph: Graph, places: str) -> str:
    return graph.add("Gather", "table", places, axis=0)


def _calibrated(graph: Graph, logits: str, calibration: Calibration, num_classes: int) -> str:
    if num_classes > 2:
        return graph.add("Softmax", graph.add("Mul", logits, graph.constant(calibration.slope)), axis=1)
    z = graph.add("Add", logits, graph.constant(calibration.offset))
    if not calibration.knots:
        scaled = graph.add("Mul", z, graph.constant(calibration.slope))
        probability = graph.add("Sigmoid", graph.add("Add", scaled, graph.constant(calibration.intercept)))
        return graph.add("Squeeze", probability, graph.integers(1))
    # A sum of ramps is the piecewise linear function.
    knots, levels = np.array(calibration.knots), np.array(calibration.levels)
    start = graph.constant(levels[0])
    if len(knots) == 1:
        return graph.add(
            "Squeeze", graph.add("Add", graph.add("Mul", z, graph.constant(0.0)), start), graph.integers(1)
        )
    places = graph.add("Mul", graph.add("Sub", z, graph.constant(knots[:-1])), graph.constant(1 / np.diff(knots)))
    ramps = graph.add("Clip", places, graph.constant(0.0), graph.constant(1.0))
    return graph.add("Add", graph.sum(graph.add("Mul", ramps, graph.constant(np.diff(levels))), 1), start)
