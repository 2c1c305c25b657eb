"""The Open Inference Protocol, version 2, over HTTP: what a request asks, and how it is answered.

A body is JSON. With the header ``Inference-Header-Content-Length`` the JSON is that long, and the bytes of the tensors
that have a ``binary_data_size`` follow it in their order, as Triton's clients send them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.counted import counted
from fieldwise.errors import did_you_mean
from fieldwise.serving.limits import Limits
from fieldwise.serving.refusals import Refusal
from fieldwise.serving.rows import Reads, Rows
from fieldwise.serving.tensors import DATATYPES, binary_cells, json_cells, rows_of, shape_of
from fieldwise.serving.unreadable import unreadable

__all__ = ["OUTPUT", "InferRequest", "describe", "inputs_of", "parse_infer", "write_infer"]

OUTPUT = "probability"


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Infer(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


class InferRequest(NamedTuple):
    """What is asked.

    Attributes
    ----------
    rows
        The rows.
    id
        The identifier of the request, given by its client.
    binary
        Whether the output is asked for in the binary form.
    """

    rows: Rows
    id: str | None
    binary: bool


_decode = msgspec.json.Decoder(_Infer).decode
_encode = msgspec.json.Encoder().encode
_DATATYPE = {
    "text": "BYTES",
    "number": "FP64",
    "time": "BYTES",
    "bag": "BYTES",
    "weights": "FP64",
    "vector": "FP32",
}
_NO_JSON = re.compile(rb"\bNaN\b")


def inputs_of(reads: Reads) -> list[dict[str, Any]]:
    """Return the metadata of the input tensors of a model: one for each column that its fields read."""
    return [
        {
            "name": column.name,
            "datatype": _DATATYPE[column.kind],
            "shape": [-1, column.length or -1] if column.kind in ("bag", "weights", "vector") else [-1],
        }
        for column in reads.columns
    ]


def parse_infer(body: bytes, header_bytes: int | None, reads: Reads, limits: Limits) -> InferRequest:
    """Return what a body asks.

    Parameters
    ----------
    body
        The body of the request.
    header_bytes
        The length of its JSON, where tensors follow; None where it is all JSON.
    reads
        What the model reads.

    Raises
    ------
    Refusal
        It is not of this protocol; an input is unknown, missing or of another shape; it is beyond a limit.

    Examples
    --------
    >>> from fieldwise.schema import Field, Schema
    >>> reads = Reads(Schema(fields=(Field(name="user", column="user"),), label="click"))
    >>> body = b'{"inputs": [{"name": "user", "shape": [2], "datatype": "BYTES", "data": ["u7", ""]}]}'
    >>> parse_infer(body, None, reads, Limits()).rows.columns
    [['u7', None]]
    """
    if header_bytes is not None and not 0 <= header_bytes <= len(body):
        raise Refusal(400, f"inference-header-content-length is {header_bytes}, and the body has {len(body)} bytes")
    asked = _parse(body if header_bytes is None else body[:header_bytes])
    binary = _wants_binary(asked)
    kinds = {column.name: column for column in reads.columns}
    columns: dict[str, list[Any]] = {}
    num_rows: int | None = None
    at = len(body) if header_bytes is None else header_bytes
    for tensor in asked.inputs:
        name, parameters = tensor.name, tensor.parameters or {}
        if name not in reads.taken and name not in reads.fixed:
            raise Refusal(400, f"unknown input {name[:100]!r}: {did_you_mean(name, reads.names)}")
        if name in columns:
            raise Refusal(400, f"input {name} is given twice")
        if tensor.datatype not in DATATYPES:
            raise Refusal(400, f"input {name}: unknown datatype {tensor.datatype[:20]!r}")
        if "shared_memory_region" in parameters:
            raise Refusal(400, f"input {name}: this server reads no shared memory")
        column = kinds.get(name)
        num_cells = shape_of(name, tensor.shape, column, limits)
        if num_rows is not None and tensor.shape[0] != num_rows:
            raise Refusal(400, f"input {name} has {counted(tensor.shape[0], 'row')}, the inputs before it {num_rows}")
        num_rows = tensor.shape[0]
        size = parameters.get("binary_data_size")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(body) - at or tensor.data is not None:
                raise Refusal(400, f"input {name}: binary_data_size does not fit the body")
            cells = binary_cells(name, tensor.datatype, num_cells, body[at : at + size])
            at += size
        elif tensor.data is None:
            raise Refusal(400, f"input {name} has no data")
        else:
            cells = json_cells(name, tensor.datatype, num_cells, tensor.data)
        columns[name] = rows_of(cells, tensor.shape, column)
    if at != len(body):
        raise Refusal(400, f"{len(body) - at} bytes of the body belong to no input")
    return InferRequest(reads.rows(columns, num_rows or 0, limits), asked.id, binary)


def _parse(text: bytes) -> _Infer:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        is_json = isinstance(error, (msgspec.ValidationError, UnicodeDecodeError, RecursionError))
        if is_json or not _NO_JSON.search(text):
            raise unreadable(text, error) from None
    return _parse_with_nan(text)


def _parse_with_nan(text: bytes) -> _Infer:
    """Read JSON in which clients have written NaN, which is no JSON, for missing numbers."""
    try:
        read = json.loads(text)
        _encode(read)  # lone surrogates, which Python's reader takes
        return msgspec.convert(read, _Infer)
    except (RecursionError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise unreadable(text, error, with_nan=True) from None


def _wants_binary(asked: _Infer) -> bool:
    """Return whether the output is asked for in binary; raise `Refusal` for an output that there is not."""
    for output in asked.outputs or ():
        parameters = output.parameters or {}
        if output.name != OUTPUT:
            raise Refusal(400, f"unknown output {output.name[:100]!r}: there is {OUTPUT}")
        if parameters.get("classification") or "shared_memory_region" in parameters:
            raise Refusal(400, f"output {OUTPUT}: classification and shared memory are not supported")
        if "binary_data" in parameters:
            return parameters["binary_data"] is True
    return (asked.parameters or {}).get("binary_data_output") is True


def write_infer(
    request: InferRequest, model: str, version: str, probabilities: npt.NDArray[np.floating[Any]]
) -> tuple[bytes, int | None]:
    """Return the body of the answer, and the length of its JSON where binary data follow it."""
    kind = "FP32" if probabilities.dtype == np.float32 else "FP64"
    output: dict[str, Any] = {"name": OUTPUT, "datatype": kind, "shape": list(probabilities.shape)}
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": [output]}
    if request.id is not None:
        answer["id"] = request.id
    if not request.binary:
        output["data"] = probabilities.ravel().tolist()
        return _encode(answer), None
    raw = np.ascontiguousarray(probabilities, probabilities.dtype.newbyteorder("<")).tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    head = _encode(answer)
    return head + raw, len(head)


def describe(model: str, versions: Sequence[str], reads: Reads, output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a model."""
    return {
        "name": model,
        "versions": list(versions),
        "platform": "fieldwise",
        "inputs": inputs_of(reads),
        "outputs": [{"name": OUTPUT, **output}],
    }
