"""``fieldwise prepare``: raw log in, encoder and caches out.

Two passes over the log (`jobs.prepare.passes`): the encoder learns from the training rows, then every row is encoded
into the cache of its part::

    .fieldwise/3f2a.../            named by what it was made from
        prepared.json              schema, rows read and rejected; written last
        encoder.safetensors
        train/ valid/ test/        caches (`data.cache`)
        rejects.jsonl              every row that could not be used: file, row, column, value, reason

The folder's name is a checksum of the schema, the split, and the names, sizes and times of the files (of files in a
store: their entity tags): a changed log or configuration is another folder, and an unchanged one is not read again. It
is made under a temporary name and renamed when it is whole, by one process at a time (`io.locks`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.data.csv_quotes import line_end_remarks
from fieldwise.data.find_files import repeat_remarks
from fieldwise.data.read_report import ReadReport, Reason, RejectTally, tally_of_file, why_rejected
from fieldwise.data.split import SplitLog
from fieldwise.errors import ArtefactError, ConfigError, DataError
from fieldwise.events import Listener, Warned, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.scratch import Scratch
from fieldwise.io import arrays, files, manifests
from fieldwise.io.locks import artefact_lock
from fieldwise.io.stores import local_path
from fieldwise.jobs.init.inference import infer_from
from fieldwise.jobs.prepare.budget import Budget, parse_bytes
from fieldwise.jobs.prepare.crosses import CROSSES_NAME, FoundCrosses, found_crosses, with_found, without_crosses
from fieldwise.jobs.prepare.logs import open_sources, with_tables
from fieldwise.jobs.prepare.part_rows import part_remarks
from fieldwise.jobs.prepare.passes import REJECTS_NAME, Counts, fit, refuse_rejects, transform
from fieldwise.jobs.prepare.spool import Spool
from fieldwise.profile.infer.roles import group_remarks, no_inputs
from fieldwise.schema import Schema

__all__ = [
    "ENCODER_NAME",
    "PREPARED_NAME",
    "Prepared",
    "cache_root",
    "find_prepared",
    "open_parts",
    "prepare",
    "prepared_of",
    "read_prepared",
    "search_crosses",
]

_FORMAT = "fieldwise-prepared"
_VERSION = 2
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


def prepare(
    config: Config,
    *,
    data: Any = None,
    memory: int | str | None = None,
    max_rejects: float | None = None,
    listen: Listener = ignore,
) -> Prepared:
    """Encode the log of a configuration, or open what an earlier call made of the same log.

    Neither memory nor threads change what is written.

    Parameters
    ----------
    config
        Its ``[data]`` and ``[fields]``, and ``train.half_life``; the rest does not matter here.
    data
        Rows in memory in place of the configuration's files: a table of pyarrow, pandas or polars, a dict of columns, a
        list of dicts or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are kept in
        the folder of prepared logs (`jobs.prepare.logs`).
    memory
        The anonymous memory that the process may take: bytes, or text as in ``2GB``; what the configuration says
        unless given, and else half of what is free. Beyond it, counts and tables go to disk.
    max_rejects
        Stop where more rows than this cannot be used: a number of rows, or a share below 1. What the configuration says
        unless given, and else any number.
    listen
        Called with `Preparing` events.

    Raises
    ------
    DataError
        A file or column is missing or not what it should be; no row, or too few, can be used.
    ResourceError
        It cannot be done in this memory, or the disk is full.
    """
    config = with_tables(config, data)
    if config.data.crosses == "auto":
        alone = prepare(without_crosses(config), memory=memory, max_rejects=max_rejects, listen=listen)
        config = with_found(config, found_crosses(alone, listen))
    limit, max_rejects = limits(config, memory, max_rejects)
    sources, schema, left_out, root, key = look(config)
    with artefact_lock(root, key) as place:
        if not (place.folder / PREPARED_NAME).exists():
            budget = Budget.of(schema, limit)
            with place.new_folder() as folder, closing(Scratch(folder, budget.table_bytes)) as scratch:
                encoder = Encoder(schema, scratch)
                _make(folder, encoder, open_sources(config, budget.chunk_bytes), budget, max_rejects, listen)
                for source in sources:  # or the folder's name would not be that of what was read
                    source.log.refuse_change()
        else:
            judge_again(place.folder, max_rejects, listen)
        prepared = open_prepared(place.folder)
    return prepared_of(prepared, config, sources, schema, left_out)


def search_crosses(config: Config, listen: Listener = ignore) -> FoundCrosses:
    """Prepare the log of a configuration without the crosses that ``data.crosses`` may list, and look for others."""
    return found_crosses(prepare(without_crosses(config), listen=listen), listen)


def judge_again(folder: Path, max_rejects: float | None, listen: Listener) -> None:
    """Say of a log that was prepared before what was said then."""
    summary = read_prepared(folder)[1]
    refuse_rejects(folder, summary["rows_read"], summary["rows_rejected"], max_rejects)
    for note in summary.get("notes", ()):  # logs prepared by earlier versions have none
        listen(Warned(note))


def limits(config: Config, memory: int | str | None, max_rejects: float | None) -> tuple[int | None, float | None]:
    """Return the bytes of memory and the rejects that are allowed: as given, else as the configuration says."""
    memory = config.data.memory if memory is None else memory
    max_rejects = config.data.max_rejects if max_rejects is None else max_rejects
    if max_rejects is not None and max_rejects < 0:
        raise ConfigError("max_rejects cannot be negative", where="max_rejects", got=max_rejects)
    return parse_bytes(memory) if isinstance(memory, str) else memory, max_rejects


class PreparationPlan(NamedTuple):
    """What is to be prepared, and where.

    Attributes
    ----------
    sources
        The logs.
    schema, left_out
        See `infer_schema`.
    root, key
        Of the `artefact_lock`.
    """

    sources: list[SplitLog]
    schema: Schema
    left_out: dict[str, str]
    root: Path
    key: str


def look(config: Config) -> PreparationPlan:
    """Look at the first rows of a log."""
    sources = open_sources(config)
    (schema, _, left_out), _ = infer_from(config, [source.log for source in sources])
    return PreparationPlan(sources, schema, left_out, cache_root(config), _key(config, schema, sources))


def prepared_of(
    prepared: Prepared, config: Config, sources: list[SplitLog], schema: Schema, left_out: dict[str, str]
) -> Prepared:
    """Say which files and columns were not used, which the artefact does not record: the next call may see others."""
    files_left_out = {path: reason for source in sources for path, reason in source.log.left_out.items()}
    read = msgspec.structs.replace(
        prepared.read,
        files=sum(len(source.log.files) for source in sources),
        files_left_out=files_left_out,
        columns_not_used=no_inputs(schema, left_out),
        remarks=[
            *prepared.read.remarks,
            *repeat_remarks([path for source in sources for path in source.log.repeated]),
            *group_remarks(schema),
            *part_remarks(config, sources, prepared.summary),
        ],
    )
    csv = sources[0].log.as_read(config.data.csv)
    further = {"left_out": left_out, "read": read.as_dict(), "csv": msgspec.to_builtins(csv)}
    return prepared._replace(summary={**prepared.summary, **further})


def find_prepared(config: Config) -> Prepared | None:
    """Open what an earlier `prepare` made of the log of a configuration; None where there is nothing."""
    if config.data.crosses == "auto":
        alone = find_prepared(without_crosses(config))
        if alone is None or not (alone.folder / CROSSES_NAME).exists():
            return None
        config = with_found(config, found_crosses(alone, ignore))
    plan = look(config)
    folder = plan.root / plan.key
    if not (folder / PREPARED_NAME).exists():
        return None
    return prepared_of(open_prepared(folder), config, plan.sources, plan.schema, plan.left_out)


def cache_root(config: Config) -> Path:
    """Return the folder that holds what is made of the logs of a configuration."""
    return Path(config.base) / local_path(config.data.cache or ".fieldwise")


def _key(config: Config, schema: Schema, sources: list[SplitLog]) -> str:
    """Return the name of the folder that holds what is made from these rows and this schema."""
    data = config.data
    content = {
        "version": _VERSION,
        "schema": msgspec.to_builtins(schema),
        "read": msgspec.to_builtins([data.valid, data.test, data.split, data.seed, data.format, data.csv]),
        "files": [
            [source.part, name, *version_tag]
            for source in sources
            for name, version_tag in zip(source.log.files, source.log.version_tags, strict=True)
        ],
    }
    if data.fold is not None:
        content["fold"] = [data.folds, data.fold]
    if config.train.half_life is not None:
        content["half_life"] = config.train.half_life
    return files.checksum(msgspec.json.encode(content))[:16]


def _make(
    folder: Path,
    encoder: Encoder,
    sources: list[SplitLog],
    budget: Budget,
    max_rejects: float | None,
    listen: Listener,
) -> None:
    """Write everything into `folder`."""

    def hold_limit() -> None:
        if encoder.counter_bytes > budget.counter_bytes:
            encoder.spill(budget.counter_bytes // 2)

    with ThreadPoolExecutor(1) as beside, closing(Spool(folder, sources[0].log.count_rows()[0])) as spool:
        num_rows = fit(encoder, sources[0], max_rejects=max_rejects, listen=listen, after_chunk=hold_limit, spool=spool)
        saved = beside.submit(save_encoder, folder, encoder)  # which waits for the disk more than for a core
        counts = transform(
            encoder,
            sources,
            folder,
            num_rows=num_rows if len(sources) == 1 else None,
            max_rejects=max_rejects,
            listen=listen,
            spool=spool if spool.is_open else None,
        )
    finish(folder, encoder, saved.result(), counts, sources[0])


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
    manifests.write_manifest(folder / PREPARED_NAME, manifest, format=_FORMAT, version=_VERSION)


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
                **_cut(encoder, field.name),
            }
            for field in encoder.schema.fields
        ],
        "constant_fields": encoder.constant_fields,
        "num_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def _cut(encoder: Encoder, name: str) -> dict[str, int]:
    return {"cut_cells": encoder.cut_cells[name]} if name in encoder.cut_cells else {}


def read_prepared(folder: Path) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder of a prepared log, all of its bytes verified, and the summary.

    Raises
    ------
    ArtefactError
        It is incomplete or damaged.
    """
    manifest, _ = manifests.read_manifest(folder / PREPARED_NAME, _Manifest, format=_FORMAT, version=_VERSION)
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
