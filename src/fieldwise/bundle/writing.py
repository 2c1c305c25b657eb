"""Writing bundles: successive saves of a training, and the rewriting of a saved one.

Every function writes new files, then the manifest that refers to them, then removes the files of before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.bundle.manifest import BundleManifest, read_bundle_manifest, write_bundle_manifest
from fieldwise.features.encoder import Encoder
from fieldwise.io.arrays import Pieces, header_checksum, save_arrays
from fieldwise.io.files import checksum, explaining, remove_unfinished, write_bytes

__all__ = ["BundleWriter", "block_rows", "remove_stale", "rewrite_bundle", "set_calibration", "set_posterior"]

_BLOCK_BYTES = 1 << 25

Arrays = Mapping[str, npt.NDArray[Any]]


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
        manifest = BundleManifest(
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
        write_bundle_manifest(self.folder, manifest)
        _remove_stale(self.folder, files)


def rewrite_bundle(
    folder: str | Path,
    encoder: Encoder,
    table: npt.NDArray[np.floating] | Pieces,
    dense: Arrays,
    posterior: Arrays | None = None,
) -> None:
    """Replace the encoder, the weights and the posterior of a saved bundle; until this returns, readers see those of
    before.

    The network and all else stay. Files that an earlier call left when its process died are removed.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    ResourceError
        A file cannot be written.
    """
    folder = Path(folder)
    manifest, _ = read_bundle_manifest(folder)
    manifest.save += 1
    for part in ("encoder", "table", "dense"):
        manifest.files[part] = f"{part}-{manifest.save:04d}.safetensors"
    manifest.encoder = encoder.describe()
    manifest.checksums["encoder"] = save_arrays(folder / manifest.files["encoder"], encoder.arrays())
    manifest.checksums["dense"] = save_arrays(folder / manifest.files["dense"], dense)
    if posterior is not None:
        manifest.files["posterior"] = f"posterior-{manifest.save:04d}.safetensors"
        manifest.checksums["posterior"] = save_arrays(folder / manifest.files["posterior"], posterior)
    saved = _save_table(folder / manifest.files["table"], table)
    manifest.checksums["table"], manifest.table_blocks, manifest.table_block_shift = saved
    write_bundle_manifest(folder, manifest)
    remove_stale(folder)


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
    manifest, _ = read_bundle_manifest(Path(folder))
    manifest.calibration = dict(calibration)
    write_bundle_manifest(Path(folder), manifest)


def set_posterior(folder: str | Path, variance: npt.NDArray[np.float32], bias: float) -> None:
    """Write the variances of a saved bundle's posterior beside it (`Bundle.posterior`), atomically.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    ResourceError
        The file cannot be written.
    """
    folder = Path(folder)
    manifest, _ = read_bundle_manifest(folder)
    manifest.files["posterior"] = name = f"posterior-{manifest.save:04d}.safetensors"
    arrays = {"variance": np.ascontiguousarray(variance), "bias": np.array([bias], np.float32)}
    manifest.checksums["posterior"] = save_arrays(folder / name, arrays)
    write_bundle_manifest(folder, manifest)


def remove_stale(folder: str | Path) -> None:
    """Remove the files of earlier saves of a bundle, which a process that died may have left."""
    folder = Path(folder)
    _remove_stale(folder, read_bundle_manifest(folder)[0].files)
    remove_unfinished(folder)


def _remove_stale(folder: Path, files: Mapping[str, str]) -> None:
    for stale in folder.iterdir():
        if stale.suffix in (".safetensors", ".onnx") and stale.name not in files.values():
            with explaining(stale):
                stale.unlink()


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
            blocks.append(checksum(np.ascontiguousarray(part).data))
            yield part

    save_arrays(path, {"weights": Pieces(table.dtype, table.shape, counted())})
    return header_checksum(path), tuple(blocks), block.bit_length() - 1


def block_rows(bytes_per_row: int) -> int:
    """Return the number of rows per block of a table: the largest power of two that makes a block at most 32 MB.

    Examples
    --------
    >>> block_rows(4), block_rows(100)
    (8388608, 262144)
    """
    return 1 << int(max(_BLOCK_BYTES // max(bytes_per_row, 1), 1)).bit_length() - 1
