"""Reading a bundle: `open_bundle` and what it returns, a `Bundle` whose table is verified block by block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle.manifest import (
    MANIFEST_NAME,
    ONE_BLOCK,
    BundleManifest,
    bundle_in_use,
    models_near,
    path_inside,
    read_bundle_manifest,
)
from fieldwise.errors import ArtefactError
from fieldwise.features.encoder import Encoder
from fieldwise.io.arrays import load_headed, load_verified
from fieldwise.io.blocks import BlockVerifier, FileBlock
from fieldwise.io.files import RESTORE, checksum, explaining, require_file
from fieldwise.kernels.blocks import mark_blocks
from fieldwise.kernels.layout import Batch, Layout

__all__ = ["Bundle", "open_bundle"]

_FEWER_BITS = (np.uint16, np.int16, np.int8)


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
    _posterior: tuple[str, str] | None

    def posterior(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the ``variance`` (D, 1 + K) of the numbers of a Bayesian factorisation machine, and of its ``bias``
        (1,), verified; None where they were not kept.

        Raises
        ------
        ArtefactError
            The file is damaged.
        """
        if self._posterior is None:
            return None
        name, expected = self._posterior
        path = path_inside(self.folder, "posterior", name)
        arrays = load_verified(path, expected)
        nothing = np.empty(0)
        variance, bias = arrays.get("variance", nothing), arrays.get("bias", nothing)
        fits = variance.ndim == 2 and len(variance) == self.encoder.layout.num_features and bias.shape == (1,)
        if not fits or {variance.dtype, bias.dtype} != {np.dtype(np.float32)}:
            raise ArtefactError(
                "the posterior does not fit the model",
                where=path,
                expected=f"float32 variance ({self.encoder.layout.num_features}, numbers) and bias (1,)",
                got=", ".join(f"{key} {array.dtype} {array.shape}" for key, array in arrays.items()),
            )
        return arrays

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
        """Verify the whole table, and the posterior where there is one, and return the bundle.

        Raises
        ------
        ArtefactError
            A block is damaged.
        """
        self._blocks.verify()
        self.posterior()
        return self


def open_bundle(folder: str | Path) -> Bundle:
    """Open a bundle and verify its checksums, except those of the blocks of the table (see `Bundle.admit`).

    If training saves a newer model at the same time, either the old or the new one is returned, never a mixture.

    Parameters
    ----------
    folder
        The folder of a bundle, or a run folder that contains one; for a run that is updated, the version in use.

    Returns
    -------
    Bundle
        Its ``table`` is memory-mapped, so opening takes the same time for any number of features.

    Raises
    ------
    ArtefactError
        There is no bundle, or one of its files is missing or damaged.

    Examples
    --------
    >>> import fieldwise as fw
    >>> bundle = fw.open_bundle("runs/first").verify()  # doctest: +SKIP
    >>> bundle.table.shape, bundle.model["kind"]  # doctest: +SKIP
    ((9827, 17), 'lc-dnn')
    """
    folder = bundle_in_use(folder)
    if not (folder / MANIFEST_NAME).exists():
        raise ArtefactError(
            "no saved model found",
            where=folder,
            expected="a run folder written by `fieldwise train`, or its bundle",
            fix=models_near(folder),
        )
    while True:
        manifest, digest = read_bundle_manifest(folder)
        try:
            arrays = {part: _load(folder, manifest, part) for part in ("encoder", "table", "dense")}
            network, ranking = (_load_graph(folder, manifest, part) for part in ("network", "ranking"))
            table, blocks, shift = _table_of(folder / manifest.files["table"], manifest, arrays["table"])
            break
        except ArtefactError:
            # If a save has finished in the meantime, it has removed these files, and the manifest has changed: retry.
            if digest == read_bundle_manifest(folder)[1]:
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
        (MANIFEST_NAME, *manifest.files.values()),
        manifest.calibration,
        digest,
        network,
        ranking,
        manifest.no_network,
        blocks,
        shift,
        (manifest.files["posterior"], manifest.checksums.get("posterior", ""))
        if "posterior" in manifest.files
        else None,
    )


def _load(folder: Path, manifest: BundleManifest, part: str) -> dict[str, npt.NDArray[Any]]:
    path = path_inside(folder, part, manifest.files.get(part, ""))
    by_blocks = part == "table" and manifest.table_block_shift != ONE_BLOCK
    load = load_headed if by_blocks else load_verified
    return load(path, manifest.checksums.get(part))


def _load_graph(folder: Path, manifest: BundleManifest, part: str) -> bytes | None:
    if part not in manifest.files:
        return None
    path = path_inside(folder, part, manifest.files[part])
    require_file(path)
    with explaining(path):
        content = path.read_bytes()
    found, expected = checksum(content), manifest.checksums.get(part)
    if found != expected:
        raise ArtefactError(
            "the network is damaged", where=path, expected=f"checksum {expected}", got=found, fix=RESTORE
        )
    return content


def _table_of(
    path: Path, manifest: BundleManifest, arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], BlockVerifier, int]:
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
    if shift == ONE_BLOCK:
        checksums = (checksum(np.ascontiguousarray(table).data),) if len(table) else ()
    if not 0 <= shift <= ONE_BLOCK or len(checksums) != -(-len(table) >> shift):
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
