"""Saved models (bundles): a folder with everything that turns a raw row into a probability.

::

    bundle/
        manifest.json              the configuration of the model and the checksums of all files; written last
        encoder.safetensors        vocabularies, edges, scales
        table-0003.safetensors     (D, n) weights of the features, D features with n numbers each
        dense-0003.safetensors     all other weights
        network-0003.onnx          what makes logits of the rows, for those who answer without torch (`serving`)

The table may have billions of rows, so the manifest contains a checksum for every block of rows. Opening a bundle
takes the same time for a large table as for a small one; a block is verified when one of its rows is first used
(`Bundle.admit`), or all blocks at once (`Bundle.verify`).

The file names of the weights contain the number of the save: a new save writes new files, then the manifest that refers
to them, then removes the old files, so that a reader always finds a complete model. A bundle contains no code, and
nothing is unpickled.
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
from fieldwise.io.blocks import BlockVerifier, FileBlock
from fieldwise.io.files import RESTORE, checksum, explaining, remove_unfinished, require_file, write_bytes
from fieldwise.io.manifests import Upgrades, read_manifest, write_manifest
from fieldwise.kernels.blocks import mark_blocks
from fieldwise.kernels.layout import Batch, Layout

__all__ = [
    "BUNDLE_FORMAT",
    "CURRENT_NAME",
    "VERSIONS_NAME",
    "Bundle",
    "BundleWriter",
    "block_rows",
    "bundle_digest",
    "bundle_in_use",
    "open_bundle",
    "remove_stale",
    "rewrite_bundle",
    "set_calibration",
]

BUNDLE_FORMAT = "fieldwise-bundle"
_VERSION = 2
_MANIFEST_NAME = "manifest.json"
VERSIONS_NAME, CURRENT_NAME = "versions", "current"
"""Of a run that is updated: the folder of its versions, a bundle each, and the file there that names the one in use."""
_BLOCK_BYTES = 1 << 25
_FEWER_BITS = (np.uint16, np.int16, np.int8)
_ONE_BLOCK = 62
"""The block shift of tables written by version 1, which have one checksum for the whole file."""
_UPGRADES: Upgrades = {1: lambda content: {**content, "table_blocks": [], "table_block_shift": _ONE_BLOCK}}

Arrays = Mapping[str, npt.NDArray[Any]]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The content of manifest.json."""

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
    no_network: str | None = None


class Bundle(msgspec.Struct, frozen=True):
    """An opened bundle; see `open_bundle`.

    Attributes
    ----------
    folder
        The folder of the bundle.
    model
        The configuration of the model as plain data; `models.load` builds the model from it.
    dtype
        ``float32`` or ``float64``.
    csv
        The dialect of the CSV files of the training log (`data.csv_dialect.CsvOptions`), as plain data.
    format
        The file format of the training log, and the default for new files whose names do not imply a format; None if
        not recorded.
    encoder
        Encodes raw rows as features.
    table
        (D, n) weights, memory-mapped; of fewer bits as `kernels.storage` has them. Call `admit` or `verify` before use.
    dense
        All other weights, by name.
    files
        The names of the files of the bundle.
    calibration
        The map from logits to probabilities (`calibration.Calibration`), as plain data.
    digest
        The checksum of the manifest; see `bundle_digest`.
    network
        The network as an ONNX graph (`models.network`); None where there is none.
    ranking
        The same graph for many candidates of one context (`models.ranking`); None where there is none.
    no_network
        Why there is no network; None in a bundle of an earlier version.
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
    digest: str
    network: bytes | None
    ranking: bytes | None
    no_network: str | None
    _blocks: BlockVerifier
    _shift: int

    def admit(self, batch: Batch, layout: Layout) -> None:
        """Verify the blocks of the table that a batch reads, unless they have been verified before.

        Raises
        ------
        ArtefactError
            A block is damaged.
        """
        blocks = self._blocks
        if not blocks.verified.all():
            wanted = np.zeros(len(blocks.verified), dtype=np.bool_)
            mark_blocks(batch, layout, self._shift, wanted)
            blocks.admit(wanted)

    @property
    def is_verified(self) -> bool:
        """Whether every block of the table has been verified."""
        return bool(self._blocks.verified.all())

    def verify(self) -> Bundle:
        """Verify the whole table and return the bundle.

        Raises
        ------
        ArtefactError
            A block is damaged.
        """
        self._blocks.verify()
        return self


class BundleWriter:
    """Saves successive versions of a model to the same folder.

    Parameters
    ----------
    folder
        Created if missing. An existing bundle is replaced by the first `save`.
    encoder, model, dtype, csv, calibration, format
        The parts that are the same in every save; see `Bundle`.

    Raises
    ------
    ArtefactError
        The folder cannot be created.
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

    def save(
        self,
        number: int,
        table: npt.NDArray[np.floating] | Pieces,
        dense: Arrays,
        network: bytes | None = None,
        no_network: str | None = None,
        ranking: bytes | None = None,
    ) -> None:
        """Replace the weights of the bundle; until this returns, readers see the previous weights.

        Parameters
        ----------
        number
            The number of the save, from 1, increasing within a training run.
        table
            (D, n) weights of the features. A table that no process holds as a whole is passed as `Pieces` of
            `block_rows` rows each.
        dense
            All other weights, by name.
        network, no_network, ranking
            See `Bundle`.

        Raises
        ------
        ResourceError, ArtefactError
            A file cannot be written (`io.files.atomic_file`).
        """
        files = {"encoder": "encoder.safetensors"}
        files |= {part: f"{part}-{number:04d}.safetensors" for part in ("table", "dense")}
        if self.encoder_checksum is None:
            self.encoder_checksum = save_arrays(self.folder / files["encoder"], self.encoder.arrays())
        checksums = {
            "encoder": self.encoder_checksum,
            "dense": save_arrays(self.folder / files["dense"], dense),
        }
        for part, graph in (("network", network), ("ranking", ranking)):
            if graph is not None:
                files[part] = f"{part}-{number:04d}.onnx"
                checksums[part] = write_bytes(self.folder / files[part], graph)
        checksums["table"], blocks, shift = _save_table(self.folder / files["table"], table)
        manifest = _Manifest(
            self.model,
            self.dtype,
            self.csv,
            self.encoder.describe(),
            files,
            checksums,
            number,
            blocks,
            shift,
            self.calibration,
            self.format,
            no_network,
        )
        write_manifest(self.folder / _MANIFEST_NAME, manifest, format=BUNDLE_FORMAT, version=_VERSION)
        _remove_stale(self.folder, files)


def rewrite_bundle(
    folder: str | Path, encoder: Encoder, table: npt.NDArray[np.floating] | Pieces, dense: Arrays
) -> None:
    """Replace the encoder and the weights of a saved bundle; until this returns, readers see those of before.

    The network and all else stay. Files that an earlier call left when its process died are removed.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    ResourceError
        A file cannot be written.
    """
    folder = Path(folder)
    manifest, _ = _read_manifest(folder)
    manifest.save += 1
    for part in ("encoder", "table", "dense"):
        manifest.files[part] = f"{part}-{manifest.save:04d}.safetensors"
    manifest.encoder = encoder.describe()
    manifest.checksums["encoder"] = save_arrays(folder / manifest.files["encoder"], encoder.arrays())
    manifest.checksums["dense"] = save_arrays(folder / manifest.files["dense"], dense)
    saved = _save_table(folder / manifest.files["table"], table)
    manifest.checksums["table"], manifest.table_blocks, manifest.table_block_shift = saved
    write_manifest(folder / _MANIFEST_NAME, manifest, format=BUNDLE_FORMAT, version=_VERSION)
    remove_stale(folder)


def remove_stale(folder: str | Path) -> None:
    """Remove the files of earlier saves of a bundle, which a process that died may have left."""
    folder = Path(folder)
    _remove_stale(folder, _read_manifest(folder)[0].files)
    remove_unfinished(folder)


def _save_table(path: Path, table: npt.NDArray[np.floating] | Pieces) -> tuple[str, tuple[str, ...], int]:
    """Write a table; return the checksum of its header, those of its blocks, and the shift of their size."""
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

    save_arrays(path, {"weights": Pieces(table.dtype, table.shape, counted())})
    return header_checksum(path), tuple(blocks), block.bit_length() - 1


def _remove_stale(folder: Path, files: Mapping[str, str]) -> None:
    for stale in folder.iterdir():
        if stale.suffix in (".safetensors", ".onnx") and stale.name not in files.values():
            with explaining(stale):
                stale.unlink()


def block_rows(bytes_per_row: int) -> int:
    """Return the number of rows per block of a table: the largest power of two that makes a block at most 32 MB.

    Examples
    --------
    >>> block_rows(4), block_rows(100)
    (8388608, 262144)
    """
    return 1 << int(max(_BLOCK_BYTES // max(bytes_per_row, 1), 1)).bit_length() - 1


def _checksum_of(rows: npt.NDArray[Any]) -> str:
    return checksum(np.ascontiguousarray(rows).data)


def open_bundle(folder: str | Path) -> Bundle:
    """Open a bundle and verify its checksums, except those of the blocks of the table (see `Bundle.admit`).

    If training saves a newer model at the same time, either the old or the new one is returned, never a mixture.

    Parameters
    ----------
    folder
        The folder of a bundle, or a run folder that contains one: of a run that is updated, the version in use.

    Raises
    ------
    ArtefactError
        There is no bundle, or one of its files is missing or damaged.
    """
    folder = bundle_in_use(folder)
    if not (folder / _MANIFEST_NAME).exists():
        raise ArtefactError(
            "no saved model found",
            where=folder,
            expected="a run folder written by `fieldwise train`, or its bundle",
            fix="train a model first; for a comparison, give the folder of one of its models",
        )
    while True:
        manifest, digest = _read_manifest(folder)
        try:
            arrays = {part: _load(folder, manifest, part) for part in ("encoder", "table", "dense")}
            network, ranking = (_load_graph(folder, manifest, part) for part in ("network", "ranking"))
            table, blocks, shift = _table_of(folder / manifest.files["table"], manifest, arrays["table"])
            break
        except ArtefactError:
            # If a save has finished in the meantime, it has removed these files, and the manifest has changed: retry.
            if digest == _read_manifest(folder)[1]:
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
        digest,
        network,
        ranking,
        manifest.no_network,
        blocks,
        shift,
    )


def bundle_in_use(folder: str | Path) -> Path:
    """Return the folder of the bundle with which a run answers, or `folder` itself where it is no run.

    Raises
    ------
    ArtefactError
        The file that names the version in use is damaged.
    """
    folder = Path(folder)
    if (folder / _MANIFEST_NAME).exists():
        return folder
    pointer = folder / VERSIONS_NAME / CURRENT_NAME
    if pointer.exists():
        with explaining(pointer):
            name = pointer.read_bytes().strip()
        if not name.isdigit():
            raise ArtefactError(
                "the file that names the version in use is damaged",
                where=pointer,
                expected="the number of a version",
                got=repr(name[:20].decode(errors="replace")),
                fix="`fieldwise rollback RUN --to VERSION` writes it anew",
            )
        return folder / VERSIONS_NAME / name.decode()
    return folder / "bundle" if (folder / "bundle" / _MANIFEST_NAME).exists() else folder


def _table_of(path: Path, manifest: _Manifest, arrays: Arrays) -> tuple[npt.NDArray[Any], BlockVerifier, int]:
    """Return the table, the verifier of its blocks, and the shift s such that row r is in block r >> s."""
    table = arrays.get("weights")
    if table is not None and table.dtype == np.float16:
        table = table.view(np.int16)
    known = table is not None and table.ndim == 2 and table.dtype in (np.float32, np.float64, *_FEWER_BITS)
    if table is None or not known or (table.dtype == np.int8 and table.shape[1] < 3):
        raise ArtefactError(
            "the table has an unexpected type or shape",
            where=path,
            expected="weights (features, units) of float32, float64, bfloat16, float16 or int8",
            got="none" if table is None else f"{table.dtype} {table.shape}",
        )
    shift, checksums = manifest.table_block_shift, manifest.table_blocks
    if shift == _ONE_BLOCK:
        checksums = (_checksum_of(table),) if len(table) else ()
    if not 0 <= shift <= _ONE_BLOCK or len(checksums) != -(-len(table) >> shift):
        raise ArtefactError(
            "the table does not have the recorded number of blocks",
            where=path,
            expected=f"{len(checksums)} blocks of 2^{shift} rows",
            got=f"{len(table)} rows",
        )
    with explaining(path):
        row_bytes, first = table.strides[0], path.stat().st_size - table.nbytes  # nothing follows the rows
    places = [(n << shift, min((n + 1) << shift, len(table))) for n in range(len(checksums))]
    blocks = [
        FileBlock(first + begin * row_bytes, (end - begin) * row_bytes, expected)
        for (begin, end), expected in zip(places, checksums, strict=True)
    ]
    fix = "restore it from a backup or train again"
    verifier = BlockVerifier(path, blocks, "the table", fix, lambda n: f"rows {places[n][0]} to {places[n][1]}")
    return table, verifier, shift


def bundle_digest(folder: str | Path) -> str:
    """Return the checksum of the manifest of a bundle, which identifies the whole bundle.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    """
    return _read_manifest(Path(folder))[1]


def set_calibration(folder: str | Path, calibration: Mapping[str, Any]) -> None:
    """Replace the calibration of a saved bundle atomically; the weights are not touched.

    Parameters
    ----------
    folder
        The folder of the bundle.
    calibration
        A `calibration.Calibration` as plain data.

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


def _load_graph(folder: Path, manifest: _Manifest, part: str) -> bytes | None:
    if part not in manifest.files:
        return None
    path = _inside(folder, part, manifest.files[part])
    require_file(path)
    with explaining(path):
        content = path.read_bytes()
    found, expected = checksum(content), manifest.checksums.get(part)
    if found != expected:
        raise ArtefactError(
            "the network is damaged", where=path, expected=f"checksum {expected}", got=found, fix=RESTORE
        )
    return content


def _inside(folder: Path, part: str, name: str) -> Path:
    """Return the path of a file of a bundle; raise ArtefactError if its name or a link leads outside the folder."""
    path = folder / name
    outside = Path(name).name != name or "\0" in name
    if not name or outside or os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ArtefactError(
            "the bundle refers to a file outside its folder",
            where=folder,
            expected="files in the folder",
            got=f"{part}: {name!r}" + (f", which is {os.path.realpath(path)}" if path.is_symlink() else ""),
            fix="if you trust its source, replace links by the files that they point to (cp -rL)",
        )
    return path
