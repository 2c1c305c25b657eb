"""``fieldwise export``: a model for runtimes and tools of others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from fieldwise.bundle import Bundle, open_bundle
from fieldwise.calibration import Calibration
from fieldwise.errors import ConfigError
from fieldwise.io.files import atomic_file, explaining, write_bytes
from fieldwise.io.stores import local_path
from fieldwise.kernels.storage import decode_weights
from fieldwise.outcome import Outcome
from fieldwise.serving.predictor import network_of

__all__ = ["Export", "export"]

_SLAB = 1 << 18
_GRAPH = "model.onnx"
_NO_FOLDERS = {".csv", ".tsv", ".onnx", ".json", ".txt", ".gz", ".npz", ".pt", ".safetensors"}
"""Endings of files that people expect, and that would become the name of a folder."""


class Export(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes
    ----------
    out
        The folder or file.
    kind
        ``onnx`` or ``parquet``.
    files
        The files, and the bytes of each.
    linked
        Whether the rows of the table are those of the bundle's own file, which was not copied.
    features
        The number of features.
    """

    out: str
    kind: str
    files: dict[str, int]
    linked: bool
    features: int


def export(run: str | Path, out: str | Path, *, overwrite: bool = False) -> Export:
    """Write a saved model for others.

    Parameters
    ----------
    run
        A run folder, the folder of a model in a comparison, or a bundle.
    out
        A new folder for ``model.onnx``, from local ids to probabilities (`models.from_ids`), with the table beside it;
        or a ``.parquet`` file for the weights of every feature, with its text.
    overwrite
        Allow `out` to replace a file, or an earlier export in a folder.

    Raises
    ------
    ArtefactError
        The model is missing or damaged, or has no network.
    ConfigError
        The output exists.
    """
    out = local_path(out)
    if out.suffix.lower() in _NO_FOLDERS and not out.is_dir():
        expected = "a folder, for model.onnx and its table; or a file name ending in .parquet, for the weights"
        raise ConfigError("unsupported format for an export", where=out, expected=expected)
    bundle = open_bundle(run).verify()
    if out.resolve().is_relative_to(bundle.folder.resolve()):
        raise ConfigError("the output is inside a saved model", where=out, fix="name another file or folder")
    if out.is_dir() and any(out.iterdir()) and not (out / _GRAPH).is_file():
        raise ConfigError("the folder holds other files", where=out, fix="name a new folder")
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise ConfigError("the output already exists", where=out, fix="name a new one, or give --overwrite")
    if out.suffix.lower() == ".parquet":
        with atomic_file(out) as file:
            _write_weights(bundle, file)
        files, linked = {out.name: out.stat().st_size}, False
    else:
        files, linked = _write_graph(bundle, out)
    kind = "parquet" if out.suffix.lower() == ".parquet" else "onnx"
    return Export(out=str(out), kind=kind, files=files, linked=linked, features=len(bundle.table))


def _write_graph(bundle: Bundle, folder: Path) -> tuple[dict[str, int], bool]:
    from fieldwise.models.from_ids import TableFile, graph_from_ids  # onnx is in an extra

    network = network_of(bundle)
    calibration = msgspec.convert(bundle.calibration, Calibration)
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    source = bundle.folder / next(name for name in bundle.files if name.startswith("table"))
    table, linked = folder / source.name, False
    if bundle.table.dtype.kind != "f":  # few runtimes gather rows of fewer bits
        table = folder / "table.bin"
        rows = decode_weights(bundle.table)
        with atomic_file(table) as file:
            file.write(np.ascontiguousarray(rows).data)
        where = TableFile(table.name, 0, rows.nbytes)
    else:
        with explaining(table):
            table.unlink(missing_ok=True)
            with suppress(OSError):  # another file system, or one without links
                os.link(source, table)
                linked = True
            if not linked:
                shutil.copyfile(source, table)
            where = TableFile(table.name, table.stat().st_size - bundle.table.nbytes, bundle.table.nbytes)
    write_bytes(folder / _GRAPH, graph_from_ids(bundle, network, calibration, where))
    return {name: (folder / name).stat().st_size for name in (_GRAPH, table.name)}, linked


def _write_weights(bundle: Bundle, file: Any) -> None:
    writer = None
    for table in _weights(bundle):
        if writer is None:
            writer = pa.parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _weights(bundle: Bundle) -> Iterator[pa.Table]:
    """Yield the features of each field: field, id, text, count, and the numbers of the row."""
    layout = bundle.encoder.layout
    for place, (name, of_field) in enumerate(bundle.encoder.fields.items()):
        begin, counts = int(layout.base[place]), of_field.counts
        for first in range(0, len(counts), _SLAB):
            last = min(first + _SLAB, len(counts))
            rows = decode_weights(bundle.table[begin + first : begin + last])
            ids = np.arange(first, last)
            texts = [("missing", "unseen")[id_] if id_ < 2 and of_field.form == 0 else text
                     for id_, text in zip(ids.tolist(), of_field.texts(ids.tolist()), strict=True)]  # fmt: skip
            columns: dict[str, Any] = {
                "field": pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(ids), np.int32)), pa.array([name])),
                "id": pa.array(ids),
                "text": pa.array(texts, pa.string()),
                "count": pa.array(counts[first:last]),
            }
            columns |= {f"weight_{number}": pa.array(rows[:, number]) for number in range(rows.shape[1])}
            yield pa.table(columns)
