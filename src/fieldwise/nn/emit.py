"""Layers as operators of ONNX (`nn.graph`).

Each layer of this library is said in a few operators that every runtime has (opset 17). A part of somebody else's is
traced by torch's own exporter, and what it writes is taken into the graph.

Letters: B examples, F fields, K units per field, I inputs, O outputs.
"""

from __future__ import annotations

import copy
import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import TensorProto
from torch import nn

from fieldwise.nn.cross import Cross, CrossLayers
from fieldwise.nn.deep import Perceptron, Residual, ResidualBlock
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.graph import OPSET, Graph, NotExportable
from fieldwise.nn.linear import Linear
from fieldwise.nn.standardise import Standardise

__all__ = ["emit", "emit_own", "emit_part", "emit_standardise"]


def emit_part(graph: Graph, module: nn.Module, x: str, num_inputs: int) -> str:
    """Write what a part makes of x (B, I), and return the output's name: traced, where this library does not have it.

    Raises
    ------
    NotExportable
        It cannot be traced, or what it does has no operator.
    """
    return emit(graph, module, x) if _knows(module) else emit_own(graph, module, [x], [(num_inputs,)])


def emit(graph: Graph, module: nn.Module, x: str) -> str:
    """Write what a layer of this library makes of x (B, I), or of units (B, F, K), and return the output's name."""
    return _EMITTERS[type(module)](graph, module, x)


def emit_own(graph: Graph, module: nn.Module, inputs: Sequence[str], shapes: Sequence[Sequence[int]]) -> str:
    """Write what torch's exporter makes of a module, and return the name of its one output.

    Parameters
    ----------
    inputs, shapes
        The names of its arguments, and the shape of each without B.

    Raises
    ------
    NotExportable
        The module cannot be traced, or what it does has no operator.
    """
    dtype = torch.float64 if graph.kind == TensorProto.DOUBLE else torch.float32
    examples = tuple(torch.zeros(2, *shape, dtype=dtype) for shape in shapes)
    names = [f"x{place}" for place in range(len(inputs))]
    written = io.BytesIO()
    try:
        plain = copy.deepcopy(module).cpu().eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter is deprecated, and its successor needs two more packages
            torch.onnx.export(
                plain,
                examples,
                written,  # type: ignore[arg-type]
                input_names=names,
                output_names=["y"],
                dynamic_axes={name: {0: "B"} for name in (*names, "y")},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:  # whatever somebody's module, or the exporter, raises
        lines = str(error).strip().splitlines()
        raise NotExportable(f"{type(module).__name__}: {lines[0][:200] if lines else type(error).__name__}") from None
    return _taken_in(graph, onnx.load_from_string(written.getvalue()), dict(zip(names, inputs, strict=True)))


def _taken_in(graph: Graph, model: Any, names: dict[str, str]) -> str:
    """Add the operators of another model under names of their own, and return the name of its output."""
    other = [each.domain for each in model.opset_import if each.domain not in ("", "ai.onnx")]
    if other:
        raise NotExportable(f"it needs operators of {', '.join(other)}")
    prefix = f"p{len(graph.nodes)}."
    for constant in model.graph.initializer:
        names[constant.name] = prefix + constant.name
        constant.name = prefix + constant.name
        graph.constants.append(constant)
    _rename(model.graph.node, names, prefix)
    graph.nodes.extend(model.graph.node)
    [output] = model.graph.output
    return names[output.name]


def _rename(nodes: Any, names: dict[str, str], prefix: str) -> None:
    for node in nodes:
        for names_of_node in (node.input, node.output):
            for place, name in enumerate(names_of_node):
                if name:
                    names_of_node[place] = names.setdefault(name, prefix + name)
        node.name = prefix + node.name
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for output in attribute.g.output:
                    output.name = names.setdefault(output.name, prefix + output.name)
                for constant in attribute.g.initializer:
                    constant.name = names.setdefault(constant.name, prefix + constant.name)
                _rename(attribute.g.node, names, prefix)


def _knows(module: nn.Module) -> bool:
    """Whether this library has the module's type and those of all its parts: a subclass may do something else, and so
    does a GELU by its tanh.
    """
    is_exact = getattr(module, "approximate", "none") == "none"
    return type(module) in _EMITTERS and is_exact and all(_knows(part) for part in module.children())


def _same(graph: Graph, module: nn.Module, x: str) -> str:
    return x


def _chain(graph: Graph, module: nn.Module, x: str) -> str:
    for part in module.children():
        x = emit(graph, part, x)
    return x


def _linear(graph: Graph, module: Any, x: str) -> str:
    bias = () if module.bias is None else (graph.weight(module.bias),)
    return graph.add("Gemm", x, graph.weight(module.weight), *bias, transB=1)


def _gelu(graph: Graph, module: nn.Module, x: str) -> str:
    scaled = graph.add("Mul", x, graph.constant(math.sqrt(0.5)))
    if graph.kind == TensorProto.DOUBLE:  # runtimes have this function in float32 alone
        found = graph.add("Erf", graph.add("Cast", scaled, to=TensorProto.FLOAT))
        found = graph.add("Cast", found, to=TensorProto.DOUBLE)
    else:
        found = graph.add("Erf", scaled)
    half = graph.add("Mul", x, graph.constant(0.5))
    return graph.add("Mul", half, graph.add("Add", found, graph.constant(1.0)))


def _block(graph: Graph, module: Any, x: str) -> str:
    inner = emit(graph, module.activation, emit(graph, module.expand, emit(graph, module.activation, x)))
    return graph.add("Add", x, emit(graph, module.contract, inner))


def _residual(graph: Graph, module: Any, x: str) -> str:
    trunk = emit(graph, module.blocks, emit(graph, module.trunk, x))
    return emit(graph, module.output, emit(graph, module.activation, trunk))


def _cross(graph: Graph, module: Any, x: str) -> str:
    crossed = x
    for layer in module.layers:
        crossed = graph.add("Add", graph.add("Mul", x, emit(graph, layer, crossed)), crossed)
    return crossed


def emit_standardise(graph: Graph, module: Standardise, network: nn.Module, x: str) -> tuple[nn.Module, str]:
    """Write what centres x (B, I), and return the part that follows with the scale in its first matrix.

    A part without one, or of somebody else's, stays as it is, and x is scaled, too.
    """
    assert module.running_mean is not None
    assert module.running_var is not None
    scale = (module.running_var.double() + module.eps).rsqrt()
    centred = graph.add("Sub", x, graph.weight(module.running_mean))
    if type(network) not in (Perceptron, Residual):
        return network, graph.add("Mul", centred, graph.weight(scale))
    scaled = copy.deepcopy(network)
    weight = next(scaled.parameters())  # the first matrix's
    with torch.no_grad():
        weight.copy_(weight.double() * scale)
    return scaled, centred


def _simple(operator: str) -> Callable[[Graph, nn.Module, str], str]:
    return lambda graph, module, x: graph.add(operator, x)


_EMITTERS: dict[type[nn.Module], Callable[[Graph, Any, str], str]] = {
    nn.ReLU: _simple("Relu"),
    nn.Tanh: _simple("Tanh"),
    nn.Sigmoid: _simple("Sigmoid"),
    nn.SiLU: lambda graph, module, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    nn.GELU: _gelu,
    nn.Identity: _same,
    Dropout: _same,
    nn.Linear: _linear,
    Linear: _linear,
    nn.Sequential: _chain,
    nn.ModuleList: _chain,
    Perceptron: _chain,
    Cross: _chain,
    CrossLayers: _cross,
    ResidualBlock: _block,
    Residual: _residual,
}
