"""The saved model: one folder with all that turns a raw row into a probability.

::

    bundle/
        manifest.json              what the model is, and the checksum of every file; written last
        encoder.safetensors        vocabularies, edges, scales
        table-0003.safetensors     (D, n) weights of the features
        dense-0003.safetensors     all other weights

The weights carry the number of the save in their names: a new save writes new files, then the manifest that points at
them, then removes the old ones, so that a reader always finds a whole model. Nothing in a bundle is code, and nothing
is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.errors import ArtefactError
from fieldwise.features.encoder import Encoder
from fieldwise.files import explaining, load_verified, read_manifest, save_arrays, write_manifest

__all__ = ["BUNDLE_FORMAT", "Bundle", "BundleWriter", "open_bundle", "set_calibration"]

BUNDLE_FORMAT = "fieldwise-bundle"
_VERSION = 1
_MANIFEST_NAME = "manifest.json"

Arrays = Mapping[str, npt.NDArray[Any]]


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in manifest.json."""

    model: dict[str, Any]
    dtype: str
    csv: dict[str, Any]
    encoder: dict[str, Any]
    files: dict[str, str]
    checksums: dict[str, str]
    save: int = 0
    calibration: dict[str, Any] = {}


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
        How CSV files of its log are written (`data.csv.CsvOptions`), as plain data.
    encoder
        Raw rows in, features out.
    table
        (D, n) weights, memory-mapped.
    dense
        All other weights by name.
    files
        The names of its files.
    calibration
        From logits to probabilities (`calibration.Calibration`), as plain data.
    """

    folder: Path
    model: dict[str, Any]
    dtype: str
    csv: dict[str, Any]
    encoder: Encoder
    table: npt.NDArray[np.floating]
    dense: dict[str, npt.NDArray[Any]]
    files: tuple[str, ...]
    calibration: dict[str, Any]


class BundleWriter:
    """Saves a model into a folder, again and again as it gets better.

    Parameters
    ----------
    folder
        Made if missing. A bundle that is there is replaced by the first `save`.
    encoder, model, dtype, csv, calibration
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
    ) -> None:
        self.folder = Path(folder)
        with explaining(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.encoder, self.model, self.dtype, self.csv = encoder, dict(model), dtype, dict(csv)
        self.calibration = dict(calibration or {})
        self.encoder_checksum: str | None = None

    def save(self, number: int, table: npt.NDArray[np.floating], dense: Arrays) -> None:
        """Write these weights; the bundle is theirs once this returns, and the old one's until then.

        `number` counts the saves of a training, from 1 on.
        """
        files = {"encoder": "encoder.safetensors"}
        files |= {part: f"{part}-{number:04d}.safetensors" for part in ("table", "dense")}
        if self.encoder_checksum is None:
            self.encoder_checksum = save_arrays(self.folder / files["encoder"], self.encoder.arrays())
        checksums = {
            "encoder": self.encoder_checksum,
            "table": save_arrays(self.folder / files["table"], {"weights": np.ascontiguousarray(table)}),
            "dense": save_arrays(self.folder / files["dense"], dense),
        }
        manifest = _Manifest(
            self.model, self.dtype, self.csv, self.encoder.describe(), files, checksums, number, self.calibration
        )
        write_manifest(self.folder / _MANIFEST_NAME, manifest, format=BUNDLE_FORMAT, version=_VERSION)
        for stale in self.folder.glob("*.safetensors"):
            if stale.name not in files.values():
                with explaining(stale):
                    stale.unlink()


def open_bundle(folder: str | Path) -> Bundle:
    """Open the bundle in `folder`, or in the run folder that holds one, and verify its checksums.

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
    manifest, _ = read_manifest(folder / _MANIFEST_NAME, _Manifest, format=BUNDLE_FORMAT, version=_VERSION)
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for part in ("encoder", "table", "dense"):
        name = manifest.files.get(part, "")
        if not name or Path(name).name != name:
            raise ArtefactError("the bundle names a file outside itself", where=folder, got=f"{part}: {name!r}")
        arrays[part] = load_verified(folder / name, manifest.checksums.get(part))
    encoder = Encoder.from_arrays(manifest.encoder, arrays["encoder"])
    return Bundle(
        folder,
        manifest.model,
        manifest.dtype,
        manifest.csv,
        encoder,
        arrays["table"]["weights"],
        arrays["dense"],
        (_MANIFEST_NAME, *manifest.files.values()),
        manifest.calibration,
    )


def set_calibration(folder: str | Path, calibration: Mapping[str, Any]) -> None:
    """Give a saved bundle another calibration: its manifest is replaced at one stroke, its weights stay.

    Raises
    ------
    ArtefactError
        There is no bundle, or its manifest is damaged.
    """
    path = Path(folder) / _MANIFEST_NAME
    manifest, _ = read_manifest(path, _Manifest, format=BUNDLE_FORMAT, version=_VERSION)
    manifest.calibration = dict(calibration)
    write_manifest(path, manifest, format=BUNDLE_FORMAT, version=_VERSION)
