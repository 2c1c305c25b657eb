"""The saved model: one folder with all that turns a raw row into a probability.

::

    bundle/
        manifest.json              what the model is, and the checksum of every file; written last
        encoder.safetensors        vocabularies, edges, scales
        table-0003.safetensors     (D, n) weights of the features
        dense-0003.safetensors     all other weights

The table may have billions of rows, so the manifest holds a checksum for every block of them too: opening a bundle
takes no longer for a large table than for a small one, and a block is verified when the first of its rows is asked for
(`Bundle.admit`), or all of them at once (`Bundle.verify`).

The weights carry the number of the save in their names: a new save writes new files, then the manifest that points at
them, then removes the old ones, so that a reader always finds a whole model. Nothing in a bundle is code, and nothing
is unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.encoder import Encoder
from fieldwise.io.arrays import Pieces, header_checksum, load_headed, load_verified, save_arrays
from fieldwise.io.blocks import Block, BlockVerifier
from fieldwise.io.files import checksum, explaining
from fieldwise.io.manifests import Upgrades, read_manifest, write_manifest
from fieldwise.kernels.blocks import mark_blocks
from fieldwise.kernels.layout import Batch, Layout

__all__ = ["BUNDLE_FORMAT", "Bundle", "BundleWriter", "block_rows", "bundle_seal", "open_bundle", "set_calibration"]

BUNDLE_FORMAT = "fieldwise-bundle"
_VERSION = 2
_MANIFEST_NAME = "manifest.json"
_BLOCK_BYTES = 1 << 25
_ONE_BLOCK = 62
"""The shift of a table that version 1 wrote, with one checksum of the whole file."""
_UPGRADES: Upgrades = {1: lambda content: {**content, "table_blocks": [], "table_block_shift": _ONE_BLOCK}}

Arrays = Mapping[str, npt.NDArray[Any]]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in manifest.json."""

    model: dict[str, Any]
    dtype: str
    csv: dict[str, Any]
    encoder: dict[str, Any]
    files: dict[str, str]
    checksums: dict[str, str]
    save: int
    table_blocks: tuple[str, ...]
    table_block_shift: int
    calibration: dict[str, Any] = {}
    format: str | None = None


class Bundle(msgspec.Struct, frozen=True):
    """An opened bundle.

    Attributes
    ----------
    folder
        Where it lies.
    model
        The model's configuration, as plain data (`models.load` makes the model from it).
    dtype
        ``float32`` or ``float64``.
    csv
        How CSV files of its log are written (`data.csv_dialect.CsvOptions`), as plain data.
    format
        Of the files of its log; of new ones too where their names do not tell. None for a bundle that does not say.
    encoder
        Raw rows in, features out.
    table
        (D, n) weights, memory-mapped; bfloat16 as uint16 (`kernels.storage`). Not verified yet: see `admit`, `verify`.
    dense
        All other weights by name.
    files
        The names of its files.
    calibration
        From logits to probabilities (`calibration.Calibration`), as plain data.
    seal
        See `bundle_seal`.
    """

    folder: Path
    model: dict[str, Any]
    dtype: str
    csv: dict[str, Any]
    format: str | None
    encoder: Encoder
    table: npt.NDArray[np.floating]
    dense: dict[str, npt.NDArray[Any]]
    files: tuple[str, ...]
    calibration: dict[str, Any]
    seal: str
    _blocks: BlockVerifier
    _shift: int

    def admit(self, batch: Batch, layout: Layout) -> None:
        """Make sure that the rows of the table that a batch reads are what was saved.

        Raises
        ------
        ArtefactError
            They are not.
        """
        blocks = self._blocks
        if not blocks.verified.all():
            wanted = np.zeros(len(blocks.verified), dtype=np.bool_)
            mark_blocks(batch, layout, self._shift, wanted)
            blocks.admit(wanted)

    def verify(self) -> Bundle:
        """Make sure of the whole table, and return the bundle.

        Raises
        ------
        ArtefactError
            The table is not what was saved.
        """
        self._blocks.verify()
        return self


class BundleWriter:
    """Saves a model into a folder, again and again as it gets better.

    Parameters
    ----------
    folder
        Made if missing. A bundle that is there is replaced by the first `save`.
    encoder, model, dtype, csv, calibration, format
        What does not change between saves (see `Bundle`).
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: Encoder,
        model: Mapping[str, Any],
        dtype: str,
        csv: Mapping[str, Any],
        calibration: Mapping[str, Any] | None = None,
        format: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        with explaining(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.encoder, self.model, self.dtype, self.csv = encoder, dict(model), dtype, dict(csv)
        self.calibration = dict(calibration or {})
        self.format = format
        self.encoder_checksum: str | None = None

    def save(self, number: int, table: npt.NDArray[np.floating] | Pieces, dense: Arrays) -> None:
        """Write these weights; the bundle is theirs once this returns, and the old one's until then.

        `number` counts the saves of a training, from 1 on. A table that no process holds comes in pieces, of
        `block_rows` each.
        """
        files = {"encoder": "encoder.safetensors"}
        files |= {part: f"{part}-{number:04d}.safetensors" for part in ("table", "dense")}
        if self.encoder_checksum is None:
            self.encoder_checksum = save_arrays(self.folder / files["encoder"], self.encoder.arrays())
        checksums = {
            "encoder": self.encoder_checksum,
            "dense": save_arrays(self.folder / files["dense"], dense),
        }
        num_rows, width = table.shape
        block = block_rows(width * table.itemsize)
        if isinstance(table, Pieces):
            given = table.parts
        else:
            given = (table[first : first + block] for first in range(0, num_rows, block))
        blocks: list[str] = []

        def counted() -> Iterator[npt.NDArray[Any]]:
            for part in given:
                blocks.append(_checksum_of(part))
                yield part

        save_arrays(self.folder / files["table"], {"weights": Pieces(table.dtype, table.shape, counted())})
        checksums["table"] = header_checksum(self.folder / files["table"])
        manifest = _Manifest(
            self.model,
            self.dtype,
            self.csv,
            self.encoder.describe(),
            files,
            checksums,
            number,
            tuple(blocks),
            block.bit_length() - 1,
            self.calibration,
            self.format,
        )
        write_manifest(self.folder / _MANIFEST_NAME, manifest, format=BUNDLE_FORMAT, version=_VERSION)
        for stale in self.folder.glob("*.safetensors"):
            if stale.name not in files.values():
                with explaining(stale):
                    stale.unlink()


def block_rows(bytes_per_row: int) -> int:
    """Return the rows of a block of a table, a power of two: about 32 MB."""
    return 1 << int(max(_BLOCK_BYTES // max(bytes_per_row, 1), 1)).bit_length() - 1


def _checksum_of(rows: npt.NDArray[Any]) -> str:
    return checksum(np.ascontiguousarray(rows).data)


def open_bundle(folder: str | Path) -> Bundle:
    """Open the bundle in `folder`, or in the run folder that holds one, and verify its checksums, but for the table's
    (`Bundle.admit`).

    Where training saves a better model meanwhile, it is that one.

    Raises
    ------
    ArtefactError
        There is none, or a file of it is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / _MANIFEST_NAME).exists() and (folder / "bundle" / _MANIFEST_NAME).exists():
        folder = folder / "bundle"
    if not (folder / _MANIFEST_NAME).exists():
        raise ArtefactError(
            "there is no saved model here",
            where=folder,
            expected="a run folder of `fieldwise train`, or its bundle",
            fix="train a model first, or name one model's folder inside a comparison",
        )
    while True:
        manifest, seal = _read_manifest(folder)
        try:
            arrays = {part: _load(folder, manifest, part) for part in ("encoder", "table", "dense")}
            table, blocks, shift = _table_of(folder / manifest.files["table"], manifest, arrays["table"])
            break
        except ArtefactError:
            # A save that ended in between has removed the files of the one before: then the manifest is another one.
            if seal == _read_manifest(folder)[1]:
                raise
    encoder = Encoder.from_arrays(manifest.encoder, arrays["encoder"], folder / manifest.files["encoder"])
    return Bundle(
        folder,
        manifest.model,
        manifest.dtype,
        manifest.csv,
        manifest.format,
        encoder,
        table,
        arrays["dense"],
        (_MANIFEST_NAME, *manifest.files.values()),
        manifest.calibration,
        seal,
        blocks,
        shift,
    )


def _table_of(path: Path, manifest: _Manifest, arrays: Arrays) -> tuple[npt.NDArray[Any], BlockVerifier, int]:
    """Return the table, what verifies its blocks, and the shift from a row to its block."""
    table = arrays.get("weights")
    if table is None or table.ndim != 2 or table.dtype not in (np.float32, np.float64, np.uint16):
        raise ArtefactError(
            "the table is not what it must be",
            where=path,
            expected="weights (features, units) of float32, float64 or bfloat16",
            got="none" if table is None else f"{table.dtype} {table.shape}",
        )
    shift, checksums = manifest.table_block_shift, manifest.table_blocks
    if shift == _ONE_BLOCK:
        checksums = (_checksum_of(table),) if len(table) else ()
    if not 0 <= shift <= _ONE_BLOCK or len(checksums) != -(-len(table) >> shift):
        raise ArtefactError(
            "the table does not fit its checksums",
            where=path,
            expected=f"{len(checksums)} blocks of 2^{shift} rows",
            got=f"{len(table)} rows",
        )
    with explaining(path):
        row_bytes, first = table.strides[0], path.stat().st_size - table.nbytes  # nothing follows the rows
    places = [(n << shift, min((n + 1) << shift, len(table))) for n in range(len(checksums))]
    blocks = [
        Block(first + begin * row_bytes, (end - begin) * row_bytes, expected)
        for (begin, end), expected in zip(places, checksums, strict=True)
    ]
    fix = "restore it from a copy, or train anew"
    verifier = BlockVerifier(path, blocks, "the table", fix, lambda n: f"rows {places[n][0]} to {places[n][1]}")
    return table, verifier, shift


def bundle_seal(folder: str | Path) -> str:
    """Return the checksum of a bundle's manifest, and so of all that it has the checksum of.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    """
    return _read_manifest(Path(folder))[1]


def set_calibration(folder: str | Path, calibration: Mapping[str, Any]) -> None:
    """Give a saved bundle another calibration: its manifest is replaced at one stroke, its weights stay.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    """
    path = Path(folder) / _MANIFEST_NAME
    manifest, _ = _read_manifest(Path(folder))
    manifest.calibration = dict(calibration)
    write_manifest(path, manifest, format=BUNDLE_FORMAT, version=_VERSION)


def _read_manifest(folder: Path) -> tuple[_Manifest, str]:
    path = _inside(folder, "manifest", _MANIFEST_NAME)
    return read_manifest(path, _Manifest, format=BUNDLE_FORMAT, version=_VERSION, upgrades=_UPGRADES)


def _load(folder: Path, manifest: _Manifest, part: str) -> dict[str, npt.NDArray[Any]]:
    path = _inside(folder, part, manifest.files.get(part, ""))
    by_blocks = part == "table" and manifest.table_block_shift != _ONE_BLOCK
    load = load_headed if by_blocks else load_verified
    return load(path, manifest.checksums.get(part))


def _inside(folder: Path, part: str, name: str) -> Path:
    """Return the path of a file of a bundle, which lies in its folder whatever names and links say."""
    path = folder / name
    outside = Path(name).name != name or "\0" in name
    if not name or outside or os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ArtefactError(
            "the bundle names a file outside itself",
            where=folder,
            expected="files that lie in the folder",
            got=f"{part}: {name!r}" + (f", which is {os.path.realpath(path)}" if path.is_symlink() else ""),
            fix="copy the bundle with what its links point at (cp -rL), if you trust where it came from",
        )
    return path
