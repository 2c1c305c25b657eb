"""Many candidates of one context: the network's graph in two parts, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.serving.session import open_session

__all__ = ["COLUMNS", "WEIGHT", "RankingGraph", "by_column"]

WEIGHT, COLUMNS = "weight@", "columns@"
"""What the names of inputs begin with that are constants of the network, or columns of one; its place in the network's
file follows."""
_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(double)": np.dtype(np.float64)}
_MOST_KEPT = 16
# onnx.proto: ModelProto.ir_version (1) = 3, ModelProto.graph, GraphProto.initializer, fields and types of TensorProto.
_VERSION_3 = b"\x08\x03"
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_TENSOR_TYPES = {"float32": 1, "float64": 11}

Floats = npt.NDArray[np.floating[Any]]
Fields = npt.NDArray[np.int64]


class RankingGraph:
    """The graph that computes a context's share of the first layer once (`models.ranking` has its inputs).

    Parameters
    ----------
    ranking, network
        The graphs, as a bundle holds them.
    folder
        The bundle's, for errors.

    Raises
    ------
    ArtefactError
        The one does not fit the other.
    """

    def __init__(self, ranking: bytes, network: bytes, folder: Path | None = None) -> None:
        weights: dict[str, Floats] = {}
        whole: dict[str, Floats] = {}
        self._inputs: list[str] = []
        inputs = open_session(ranking, folder).get_inputs()
        shapes = {each.name: each.shape for each in inputs}
        for each in inputs:
            kind, at, offset = each.name.partition("@")
            if not at:
                self._inputs.append(each.name)
                continue
            is_cut = kind + at == COLUMNS
            shape = [each.shape[0], shapes["context"][1], each.shape[2]] if is_cut else each.shape
            dtype = _DTYPES[each.type]
            num_bytes = int(np.prod(shape)) * dtype.itemsize
            content = network[int(offset) : int(offset) + num_bytes]
            if len(content) < num_bytes:
                raise ArtefactError("the graph for candidates does not fit the network", where=folder)
            (whole if is_cut else weights)[each.name] = np.frombuffer(content, dtype).reshape(shape)
        self._session = lru_cache(maxsize=_MOST_KEPT)(partial(_session_of, ranking, weights, whole, folder))

    def logits(self, context: Floats, units: Floats, fields: Fields, full: Floats) -> Floats:
        """Return the logits (B, O) of candidates; see `models.ranking`."""
        given = {"context": context, "units": units, "fields": fields, "full": full}
        found: Floats = self._session(fields.tobytes()).run(None, {name: given[name] for name in self._inputs})[0]
        return found


def _session_of(
    ranking: bytes, weights: Mapping[str, Floats], whole: Mapping[str, Floats], folder: Path | None, fields: bytes
) -> Any:
    """Return the session of candidates that have some fields of their own. ONNX Runtime packs the matrices of a product
    once where they are constants, and for each request where they are given.
    """
    places = np.frombuffer(fields, np.int64)
    own = {name: np.ascontiguousarray(of_fields[:, places]) for name, of_fields in whole.items()}
    return open_session(_with_constants(ranking, {**weights, **own}), folder)


def _with_constants(model: bytes, constants: Mapping[str, Floats]) -> bytes:
    """Return an ONNX model some of whose inputs are constants.

    Protocol buffers that follow one another are merged, lists by appending. Added are initializers of the graph,
    and version 3 of the format, the last in which an initializer stands among the inputs and cannot be replaced.
    """
    tensors = b"".join(_field(_INITIALIZER, _tensor(name, value)) for name, value in constants.items())
    return model + _VERSION_3 + _field(_GRAPH, tensors)


def _tensor(name: str, value: Floats) -> bytes:
    sizes = b"".join(_varint(_DIMS << 3) + _varint(size) for size in value.shape)
    kind = _varint(_DATA_TYPE << 3) + _varint(_TENSOR_TYPES[value.dtype.name])
    return sizes + kind + _field(_NAME, name.encode()) + _field(_RAW_DATA, value.tobytes())


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a protocol buffer that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def by_column(
    context: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[dict[str, Sequence[Any]], frozenset[str]]:
    """Return the cells of candidates by column, and which columns are the context's alone.

    A column that is in both is the candidates', where they have it; one that is in neither is left out.

    Examples
    --------
    >>> context, candidates = {"user": "u7", "device": "tv"}, [{"item": 1}, {"device": "car"}]
    >>> columns, shared = by_column(context, candidates, ["user", "device"])
    >>> columns, sorted(shared)
    ({'device': ['tv', 'car']}, ['user'])
    """
    found = _columns_of_equal(candidates)
    own = set().union(*candidates) if found is None else found.keys()
    columns: dict[str, Sequence[Any]] = {}
    shared = []
    for name in names:
        if name not in own:
            if name in context:
                shared.append(name)
        elif found is not None:
            columns[name] = found[name]
        else:
            instead = context.get(name)
            columns[name] = [candidate.get(name, instead) for candidate in candidates]
    return columns, frozenset(shared)


def _columns_of_equal(candidates: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]] | None:
    """Return the cells of candidates that all have the same columns, four times as fast as others; None for others."""
    if len(set(map(len, candidates))) != 1 or len(candidates[0]) < 2:
        return None
    names = list(candidates[0])
    try:
        return dict(zip(names, zip(*map(itemgetter(*names), candidates), strict=True), strict=True))
    except KeyError:
        return None
