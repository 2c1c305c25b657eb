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

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.find_files import repeat_remarks
from fieldwise.data.split import SplitLog
from fieldwise.errors import ConfigError
from fieldwise.events import Listener, Warned, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.scratch import Scratch
from fieldwise.io.locks import artefact_lock
from fieldwise.jobs.prepare.budget import Budget, parse_bytes
from fieldwise.jobs.prepare.crosses import CROSSES_NAME, found_crosses, with_found
from fieldwise.jobs.prepare.logs import open_sources, with_tables
from fieldwise.jobs.prepare.part_rows import part_remarks
from fieldwise.jobs.prepare.passes import fit, refuse_rejects, transform
from fieldwise.jobs.prepare.plan import look
from fieldwise.jobs.prepare.prepared import PREPARED_NAME, Prepared, finish, open_prepared, read_prepared, save_encoder
from fieldwise.jobs.prepare.spool import Spool
from fieldwise.profile.crosses import FoundCrosses
from fieldwise.profile.infer.roles import group_remarks, no_inputs
from fieldwise.schema import Schema

__all__ = ["find_prepared", "in_words", "prepare", "prepared_of", "search_crosses", "transient"]


def prepare(
    config: Config,
    *,
    data: Any = None,
    memory: int | str | None = None,
    max_rejects: float | None = None,
    allow_one_class: bool = False,
    listen: Listener = ignore,
) -> Prepared:
    """Encode the log of a configuration, or open what an earlier call made of the same log.

    Neither memory nor threads change what is written.

    Parameters
    ----------
    config
        Its ``[data]`` and ``[fields]``, and ``train.half_life``; the rest does not matter here.
    data
        Rows in memory to use instead of the configured files: a pyarrow, pandas or polars table, a dict of columns, a
        list of dicts, or a numpy structured array; or ``{"train": rows, "valid": rows, "test": rows}``. They are kept
        in the folder of prepared logs (`jobs.prepare.logs`).
    memory
        Limit of the anonymous memory of the process: bytes, or text such as ``2GB``; by default ``data.memory``, or
        half of the free memory. Beyond it, counts and tables go to disk.
    max_rejects
        Fail if more rows than this cannot be used: a number of rows, or a fraction below 1; by default
        ``data.max_rejects``, or no limit.
    allow_one_class
        Whether the training rows may contain only one of ``data.classes``.
    listen
        Called with `events.Preparing` events.

    Returns
    -------
    Prepared
        The encoder, the cache of each part, and how many rows were read, used and rejected.

    Raises
    ------
    ConfigError
        The configuration, `memory` or `max_rejects` is invalid.
    DataError
        A file or column is missing or invalid, or too few rows can be used.
    ResourceError
        The limit of memory is too small, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> import fieldwise as fw
    >>> log = {"ad": ["car", "tea"] * 50, "click": [0, 1, 1, 1] * 25}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepared = fw.prepare(fw.Config(data=fw.DataConfig(label="click", cache=folder)), data=log)
    >>> prepared.summary["rows_read"]
    100
    """
    config = with_tables(config, data)
    if config.data.crosses == "auto":
        alone = prepare(config.changed("data", crosses="none"), memory=memory, max_rejects=max_rejects, listen=listen)
        config = with_found(config, found_crosses(alone, listen))
    limit, max_rejects = limits(config, memory, max_rejects)
    prepared = _prepared(config, {}, limit, max_rejects, allow_one_class, listen)
    if without := transient(prepared, config):
        listen(Warned(in_words(without)))
        prepared = _prepared(config, without, limit, max_rejects, allow_one_class, listen)
    return prepared


def _prepared(
    config: Config,
    without: Mapping[str, str],
    limit: int | None,
    max_rejects: float | None,
    allow_one_class: bool,
    listen: Listener,
) -> Prepared:
    """Encode a log, some of its fields left `without`, or open what an earlier call made of it."""
    sources, schema, left_out, root, key = look(config, without)
    with artefact_lock(root, key) as place:
        if not (place.folder / PREPARED_NAME).exists():
            budget = Budget.of(schema, limit)
            with place.new_folder() as folder, closing(Scratch(folder, budget.table_bytes)) as scratch:
                encoder = Encoder(schema, scratch, allow_one_class=allow_one_class)
                _make(folder, encoder, open_sources(config, budget.chunk_bytes), budget, max_rejects, listen)
                for source in sources:  # or the folder's name would not be that of what was read
                    source.log.refuse_change()
        else:
            judge_again(place.folder, max_rejects, listen)
        prepared = open_prepared(place.folder)
    return prepared_of(prepared, config, sources, schema, left_out)


def search_crosses(config: Config, listen: Listener = ignore) -> FoundCrosses:
    """Prepare the log of a configuration without the crosses that ``data.crosses`` may list, and look for others."""
    return found_crosses(prepare(config.changed("data", crosses="none"), listen=listen), listen)


def judge_again(folder: Path, max_rejects: float | None, listen: Listener) -> None:
    """Say of a log that was prepared before what was said then."""
    summary = read_prepared(folder)[1]
    refuse_rejects(folder, summary["rows_read"], summary["rows_rejected"], max_rejects)
    for note in summary.get("notes", ()):  # logs prepared by earlier versions have none
        listen(Warned(note))


def transient(prepared: Prepared, config: Config) -> dict[str, str]:
    """Return the fields that a configuration leaves out where their effects do not last, each with the reason."""
    if config.data.transient == "keep" or config.data.fold is not None:  # all folds have the same fields
        return {}
    found: dict[str, str] = prepared.summary["transient_fields"]
    return found


def in_words(without: Mapping[str, str]) -> str:
    """Say which fields are left out."""
    fields = "; ".join(f"{name}: {why}" for name, why in without.items())
    count = counted(len(without), "field whose effect does", "fields whose effects do")
    return f'left out {count} not last ({fields}); data.transient = "keep" has all'


def limits(config: Config, memory: int | str | None, max_rejects: float | None) -> tuple[int | None, float | None]:
    """Return the bytes of memory and the rejects that are allowed: as given, else as the configuration says."""
    memory = config.data.memory if memory is None else memory
    max_rejects = config.data.max_rejects if max_rejects is None else max_rejects
    if max_rejects is not None and max_rejects < 0:
        raise ConfigError("max_rejects cannot be negative", where="max_rejects", got=max_rejects)
    return parse_bytes(memory) if isinstance(memory, str) else memory, max_rejects


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
        alone = find_prepared(config.changed("data", crosses="none"))
        if alone is None or not (alone.folder / CROSSES_NAME).exists():
            return None
        config = with_found(config, found_crosses(alone, ignore))
    found = _found(config, {})
    if found is not None and (without := transient(found, config)):
        found = _found(config, without)
    return found


def _found(config: Config, without: Mapping[str, str]) -> Prepared | None:
    plan = look(config, without)
    folder = plan.root / plan.key
    if not (folder / PREPARED_NAME).exists():
        return None
    return prepared_of(open_prepared(folder), config, plan.sources, plan.schema, plan.left_out)


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
