"""A prepared log on the disk: its encoder, the caches of its parts, and the manifest that is written last."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from fieldwise.data.cache import Cache
from fieldwise.data.csv_quotes import line_end_remarks
from fieldwise.data.read_report import ReadReport, Reason, RejectTally, tally_of_file, why_rejected
from fieldwise.data.split import SplitLog
from fieldwise.errors import ArtefactError, DataError
from fieldwise.features.encoder import Encoder
from fieldwise.io import arrays, manifests
from fieldwise.jobs.prepare.passes import REJECTS_NAME, Counts
from fieldwise.profile.transient import transient_fields

__all__ = [
    "ENCODER_NAME",
    "PREPARED_NAME",
    "VERSION",
    "Prepared",
    "finish",
    "open_parts",
    "open_prepared",
    "read_prepared",
    "save_encoder",
]

_FORMAT = "fieldwise-prepared"
VERSION = 2
PREPARED_NAME, ENCODER_NAME = "prepared.json", "encoder.safetensors"
_AGAIN = "remove the folder, and run the same command again"


class Prepared(NamedTuple):
    """A log made ready: what encodes it, and its encoded parts.

    Attributes
    ----------
    folder
        Where it lies.
    encoder
        Fitted on the training rows.
    parts
        The caches of ``train``, ``valid`` and ``test``, those that there are.
    summary
        For people and programs: rows read, rejected and accepted, features of each field, bytes, and the columns that
        are no fields, each with the reason. Under ``read`` stands what `read` says, and under ``csv`` how text files
        were read, as a model has to read others (`data.csv_dialect.CsvOptions`).
    """

    folder: Path
    encoder: Encoder
    parts: dict[str, Cache]
    summary: dict[str, Any]

    @property
    def read(self) -> ReadReport:
        """What of the log was not used, and why."""
        return msgspec.convert(self.summary["read"], ReadReport)


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    encoder: dict[str, Any]
    encoder_checksum: str
    summary: dict[str, Any]


def save_encoder(folder: Path, encoder: Encoder) -> str:
    """Write the encoder's arrays, and return their checksum."""
    return arrays.save_arrays(folder / ENCODER_NAME, encoder.arrays())


def finish(folder: Path, encoder: Encoder, encoder_checksum: str, counts: Counts, source: SplitLog) -> None:
    """Write the manifest, last of all; `source` is the first log, some of whose rows were dealt here."""
    tally = tally_of_file(folder / REJECTS_NAME)
    if not counts.parts.get("train", {}).get("examples"):
        raise DataError(
            "no row of the log can be used for training",
            where=source.log.files[0],
            got=why_rejected(tally, counts.rows_read),
        )
    remarks = line_end_remarks(counts.line_ends) + (source.split.remarks if source.split is not None else [])
    manifest = _Manifest(encoder.describe(), encoder_checksum, _summary(encoder, counts, folder, tally, remarks))
    manifests.write_manifest(folder / PREPARED_NAME, manifest, format=_FORMAT, version=VERSION)


def _summary(encoder: Encoder, counts: Counts, folder: Path, tally: RejectTally, remarks: list[str]) -> dict[str, Any]:
    """Return what is worth knowing. Read = examples + rejected, of every part and of all rows."""
    num_examples = sum(count["examples"] for count in counts.parts.values())
    assert counts.rows_read == num_examples + tally.num_rows, "every row is an example or a line of the rejects file"
    return {
        "label": encoder.schema.label,
        "classes": list(encoder.schema.classes),
        "positive": encoder.schema.positive_class,
        "notes": list(encoder.notes),
        "rows_read": counts.rows_read,
        "rows_rejected": tally.num_rows,
        "reasons": msgspec.to_builtins(tally.reasons),
        "remarks": remarks,
        "parts": {
            part: {**count, "checksum": Cache.open(folder / part).checksum} for part, count in counts.parts.items()
        },
        "num_features": encoder.num_features,
        "fields": [
            {
                "name": field.name,
                "type": field.type_name,
                "features": encoder.rows[field.name],
                **({"cut_cells": encoder.cut_cells[field.name]} if field.name in encoder.cut_cells else {}),
            }
            for field in encoder.schema.fields
        ],
        "constant_fields": encoder.constant_fields,
        "transient_fields": _transient(encoder, folder, counts),
        "num_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def _transient(encoder: Encoder, folder: Path, counts: Counts) -> dict[str, str]:
    """Return the fields that `profile.transient` finds, but for crosses and their parts, each with the reason."""
    fields = encoder.schema.fields
    if len(encoder.schema.classes) != 2 or encoder.schema.labels or "valid" not in counts.parts:
        return {}
    wanted = {part for field in fields for part in field.parts} | {each.name for each in fields if each.parts}
    found = transient_fields(*(Cache.open(folder / part) for part in ("train", "valid")))
    named = {fields[each.field].name: each.why for each in found}
    return {name: why for name, why in named.items() if name not in wanted}


def read_prepared(folder: Path) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder of a prepared log, all of its bytes verified, and the summary.

    Raises
    ------
    ArtefactError
        It is incomplete or damaged.
    """
    manifest, _ = manifests.read_manifest(folder / PREPARED_NAME, _Manifest, format=_FORMAT, version=VERSION)
    saved = arrays.load_verified(folder / ENCODER_NAME, manifest.encoder_checksum)
    return Encoder.from_arrays(manifest.encoder, saved, folder / ENCODER_NAME), manifest.summary


def open_prepared(folder: Path) -> Prepared:
    """Open what `finish` ended; the caches are verified block by block as they are read."""
    encoder, summary = read_prepared(folder)
    parts = open_parts(folder, encoder, summary)
    rejects = folder / REJECTS_NAME
    if "reasons" in summary:
        reasons = msgspec.convert(summary["reasons"], list[Reason])
    else:  # an earlier version has prepared it
        reasons = tally_of_file(rejects).reasons if rejects.exists() else []
    read = ReadReport(
        files=0,
        rows_read=summary["rows_read"],
        rows_used=summary["rows_read"] - summary["rows_rejected"],
        rows_rejected=summary["rows_rejected"],
        reasons=reasons,
        rejects=str(rejects) if summary["rows_rejected"] else None,
        remarks=summary.get("remarks", []),
    )
    told = {key: value for key, value in summary.items() if key not in ("reasons", "remarks")}
    return Prepared(folder, encoder, parts, {**told, "folder": str(folder), "read": read.as_dict()})


def open_parts(folder: Path, encoder: Encoder, summary: dict[str, Any]) -> dict[str, Cache]:
    """Open the caches that `read_prepared` tells of.

    Raises
    ------
    ArtefactError
        One is not the one that was made here, whole as it may be.
    """
    parts = {part: Cache.open(folder / part) for part in summary["parts"]}
    for part, cache in parts.items():
        expected = summary["parts"][part].get("checksum", cache.checksum)  # logs prepared before have none
        if expected != cache.checksum or not all(map(np.array_equal, cache.layout, encoder.layout)):
            raise ArtefactError(
                "the examples are not those that the encoder beside them made",
                where=cache.folder,
                expected=f"checksum {expected}",
                got=cache.checksum,
                fix=_AGAIN,
            )
    return parts
