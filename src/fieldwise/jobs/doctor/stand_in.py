"""Saved models whose weights mean nothing, made without torch: one for each type of rows that answers are made of.

Where `fieldwise[serve]` alone is installed nothing can be trained, and the kernels that answer are compiled with these.
Their network, the mean of what it is given, is written here as ONNX has it: a message of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import BundleWriter, set_posterior
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.kernels.cooccurrence import collect
from fieldwise.kernels.layout import SINGLE
from fieldwise.kernels.storage import encode_weights
from fieldwise.models.config import ModelConfig

__all__ = ["write_stand_ins"]

_UNITS = 8
"""As many as rows of int8 have at least."""
_LIMIT = 8
_IR_VERSION, _OPSET = 8, 17
_FLOAT, _DOUBLE = 1, 11
_INT, _INTS = 2, 7

Arrays = dict[str, npt.NDArray[Any]]


class _StandIn(NamedTuple):
    """A kind of model, the numbers of its rows for each field and for sums over them, and how it is saved."""

    kind: str
    num_local: int
    num_full: int
    dtype: str = "float32"
    narrow: bool = False
    with_bags: bool = False


_STAND_INS = {
    "lr": _StandIn("lr", 0, 1),
    "bayesian-fm": _StandIn("bayesian-fm", 1 + _UNITS, 0),
    "lc": _StandIn("lc-wide-deep", _UNITS, 1, with_bags=True),
    "float64": _StandIn("lc-wide-deep", _UNITS, 1, "float64", with_bags=True),
    "bfloat16": _StandIn("lc-wide-deep", _UNITS, 1, narrow=True, with_bags=True),
}


def write_stand_ins(prepared: Prepared, folder: Path) -> Iterator[tuple[str, Path]]:
    """Save models of every type of rows for a prepared log, and yield what each is and its folder."""
    for name, stand_in in _STAND_INS.items():
        _write(prepared, stand_in, folder / name)
        yield name, folder / name


def _write(prepared: Prepared, stand_in: _StandIn, folder: Path) -> None:
    encoder, rng = prepared.encoder, np.random.default_rng(0)
    dense = _cooccurrence(encoder) if stand_in.with_bags else {}
    sizes = np.diff(encoder.layout.base).tolist()
    num_bags = sum(name.endswith("_fields") for name in dense)
    num_fields = len(sizes) + num_bags
    num_rows = sum(sizes) + sum(sizes[dense[f"cooccurrence.{bag}_fields"][1]] for bag in range(num_bags))
    if stand_in.kind == "bayesian-fm":
        dense["members.bayesian-fm.interactions.mask"] = np.ones((num_fields, num_fields), np.float32)
    width = stand_in.num_local + stand_in.num_full
    table = rng.normal(size=(num_rows, width)).astype(stand_in.dtype)
    if stand_in.narrow:
        weights, table = table, np.zeros((num_rows, width), np.uint16)
        for unit in range(width):
            encode_weights(table, unit, weights[:, unit])
    config = ModelConfig(kind=stand_in.kind, units=_UNITS, factors=_UNITS, deep="none").for_schema(encoder.schema)
    csv = prepared.summary["csv"]
    writer = BundleWriter(folder, encoder, msgspec.to_builtins(config), stand_in.dtype, csv)
    element = _DOUBLE if stand_in.dtype == "float64" else _FLOAT
    writer.save(1, table, dense, _network(element, num_fields, stand_in.num_local, stand_in.num_full))
    if stand_in.kind == "bayesian-fm":
        set_posterior(folder, np.ones(table.shape, np.float32), 1.0)


def _cooccurrence(encoder: Encoder) -> Arrays:
    """Return the bags of the first two fields with one value in a row, each the other's, as a model saves them."""
    layout = encoder.layout
    pair = np.flatnonzero(layout.form == SINGLE)[:2].tolist()
    found: Arrays = {}
    if len(pair) == 2:
        for number, (key, value) in enumerate((pair, pair[::-1])):
            size = int(layout.base[key + 1] - layout.base[key])
            met = np.arange(2, min(size, int(layout.base[value + 1] - layout.base[value])), dtype=np.uint32)
            offsets, ids = collect([(met, met)], size, _LIMIT)
            prefix = f"cooccurrence.{number}_"
            found |= {f"{prefix}fields": np.array([key, value]), f"{prefix}offsets": offsets}
            found[f"{prefix}ids"] = ids.view(np.int32)
    return found


# --- the network ---


def _network(element: int, num_fields: int, num_local: int, num_full: int) -> bytes:
    """Return a graph from units (B, F, K) and sums over the fields (B, W) to their mean, (B, 1)."""
    inputs: Mapping[str, tuple[int | str, ...]] = {
        name: shape for name, shape in (("units", ("B", num_fields, num_local)), ("full", ("B", num_full))) if shape[-1]
    }
    flat = {"units": "flat", "full": "full"}
    nodes = [_node("Flatten", ["units"], "flat")] if num_local else []
    nodes.append(_node("Concat", [flat[name] for name in inputs], "all", _field(1, b"axis") + _whole(3, 1, _INT)))
    nodes.append(_node("ReduceMean", ["all"], "logits", _field(1, b"axes") + _whole(8, 1, _INTS)))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"network"),
            *(_field(11, _described(name, element, shape)) for name, shape in inputs.items()),
            _field(12, _described("logits", element, ("B", 1))),
        ]
    )
    operators = _field(1, b"") + _field(2, _OPSET)
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, operators)


def _node(operator: str, inputs: list[str], output: str, attribute: bytes | None = None) -> bytes:
    """Return a NodeProto."""
    names = b"".join(_field(1, name.encode()) for name in inputs)
    of_attribute = b"" if attribute is None else _field(5, attribute)
    return names + _field(2, output.encode()) + _field(4, operator.encode()) + of_attribute


def _whole(number: int, value: int, kind: int) -> bytes:
    """Return a whole number of an AttributeProto, and what kind of attribute it makes it."""
    return _field(number, value) + _field(20, kind)


def _described(name: str, element: int, shape: tuple[int | str, ...]) -> bytes:
    """Return a ValueInfoProto of a tensor; a text is a dimension of any size."""
    sizes = (_field(2, size.encode()) if isinstance(size, str) else _field(1, size) for size in shape)
    tensor = _field(1, element) + _field(2, b"".join(_field(1, size) for size in sizes))
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """Return a field of a message: a whole number, or bytes after their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return a whole number, 7 bits a byte, the lowest first.

    Examples
    --------
    >>> _varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
