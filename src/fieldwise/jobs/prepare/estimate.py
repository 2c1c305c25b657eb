"""What preparing a log would take, told from its first rows: ``fieldwise prepare --dry-run``.

The first rows of the training log go through both passes, half of them and then all. What grew between the two tells
how the number of values goes on growing: as n^b, Heaps' law of texts, with b from the two measurements of each field.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.data.cache import Cache
from fieldwise.data.cache_format import Contents, Planes
from fieldwise.data.split import SplitLog
from fieldwise.events import ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.scratch import Scratch
from fieldwise.io.disk import free_bytes
from fieldwise.jobs.init.inference import infer_from
from fieldwise.jobs.prepare.budget import Budget, parse_bytes
from fieldwise.jobs.prepare.logs import open_sources
from fieldwise.jobs.prepare.passes import fit, transform
from fieldwise.jobs.prepare.plan import cache_root
from fieldwise.jobs.prepare.spool import Spool, most_aside
from fieldwise.outcome import Outcome
from fieldwise.schema import Field, Schema

__all__ = ["Estimate", "FieldEstimate", "estimate"]

_SAMPLE_ROWS = 200_000
_BYTES_PER_COUNT = 36  # 24 to 48, as the table of counts fills
_BYTES_PER_VALUE = 64  # slots of the vocabulary, counts, and the texts behind ids
_BYTES_PER_BUCKET = 12  # id and count, of those that something fell into


class FieldEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """One field: its type, its features in the sample, and those to be expected in all rows."""

    name: str
    type: str
    features_in_sample: int
    features: int


class Estimate(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What is to be expected of `prepare`.

    Attributes
    ----------
    rows
        Of all files: exact where all are Parquet, else from the bytes of the first lines.
    sample_rows
        Rows that were looked at.
    training_rows, classes
        Of all rows those that can be trained on, and the classes among the rows that were looked at. Where a column
        says the part of each row, the shares are those of the first rows.
    features
        D, and of each field.
    memory, memory_limit
        Anonymous memory in bytes if nothing went to disk, and what may be taken: beyond it counts and tables do.
    disk
        Bytes of encoder and caches, which stay.
    aside
        Bytes that lie on the same disk between the passes (`jobs.prepare.spool`), and are gone with the second.
    readings
        How often the training log is read: once more where the disk has no room for what would lie aside.
    seconds
        Of all passes.
    """

    rows: int
    exact_rows: bool
    sample_rows: int
    training_rows: int
    classes: int
    features: int
    fields: list[FieldEstimate]
    memory: int
    memory_limit: int
    disk: int
    aside: int
    readings: int
    seconds: float


def estimate(
    config: Config, *, memory: int | str | None = None, see: Callable[[Cache, Schema], None] | None = None
) -> Estimate:
    """Estimate rows, features, memory, disk and time of `prepare`, without writing anything that stays.

    Parameters
    ----------
    config, memory
        As in `prepare`.
    see
        Called with the training rows among those that are looked at, encoded, which are gone afterwards; and with what
        their fields are.

    Raises
    ------
    DataError, ResourceError
        As `prepare` does.
    """
    memory = config.data.memory if memory is None else memory
    # Where time would cut the parts, the first rows stand for all: to know its quantiles the whole log would be read.
    sources = open_sources(config.changed("data", time=None))
    schema = infer_from(config, [source.log for source in sources])[0].schema
    budget = Budget.of(schema, parse_bytes(memory) if isinstance(memory, str) else memory)
    counted = [source.log.count_rows() for source in sources]
    num_rows = sum(count for count, _ in counted)

    _learn(schema, sources[0], _SAMPLE_ROWS // 20)  # compiles the kernels
    half = _learn(schema, sources[0], _SAMPLE_ROWS // 2)
    with tempfile.TemporaryDirectory() as folder, closing(Spool(Path(folder), _SAMPLE_ROWS)) as spool:
        whole = _learn(schema, sources[0], _SAMPLE_ROWS, spool)
        per_row, transform_seconds = _encode(whole.encoder, sources[0], Path(folder), spool)
        aside_per_row = spool.num_bytes / whole.num_rows
        train = Cache.open(Path(folder) / "train")
        training_rows = int(counted[0][0] * _training_share(config, train.num_examples / whole.num_rows))
        if see is not None:
            see(train, whole.encoder.schema)
    later, later_in_first = num_rows / whole.num_rows, counted[0][0] / whole.num_rows
    fields = [_of_field(field, half, whole, later) for field in schema.fields]
    num_features = sum(field.features for field in fields)
    values = {
        name: now * later_in_first ** _exponent(half.counted.get(name, 0), now, half, whole)
        for name, now in whole.counted.items()
    }
    disk = int(num_rows * (per_row + _wider_ids(whole.encoder, fields)) + _encoder_bytes(schema, fields, num_rows))
    aside = int(counted[0][0] * (aside_per_row + _wider_numbers(whole.counted, values)))
    free = free_bytes(cache_root(config))
    readings = whole.encoder.num_passes + (free is not None and aside > most_aside(free))
    reading_again = (readings / whole.encoder.num_passes - 1) * whole.seconds
    return Estimate(
        rows=num_rows,
        exact_rows=all(exact for _, exact in counted),
        sample_rows=whole.num_rows,
        training_rows=training_rows,
        classes=len(whole.encoder.schema.classes),
        features=num_features,
        fields=fields,
        memory=int(budget.fixed_bytes + budget.chunks_bytes + sum(values.values()) * _BYTES_PER_COUNT),
        memory_limit=budget.limit,
        disk=disk,
        aside=aside if readings == whole.encoder.num_passes else 0,
        readings=readings,
        seconds=(whole.seconds + transform_seconds) * later + reading_again * later_in_first,
    )


def _training_share(config: Config, of_sample: float) -> float:
    """Return which share of the first log is for training: as the configuration says, where it does, else as seen."""
    shares = [share for share in (config.data.valid, config.data.test) if isinstance(share, float)]
    return 1.0 - sum(shares) if shares and config.data.split is None else of_sample


class _Learned(NamedTuple):
    encoder: Encoder
    num_rows: int
    counted: dict[str, int]
    seconds: float


def _learn(schema: Schema, source: SplitLog, num_rows: int, spool: Spool | None = None) -> _Learned:
    """Fit an encoder on the first rows of a log, which go to the spool as they were read, if there is one."""
    encoder = Encoder(schema, Scratch())
    counted: dict[str, int] = {}

    def look() -> None:
        for name, num_values in encoder.counted.items():
            counted[name] = max(counted.get(name, 0), num_values)

    head = source._replace(log=source.log.head(num_rows))
    started = time.perf_counter()
    num_read = fit(encoder, head, max_rejects=None, listen=ignore, after_chunk=look, spool=spool)
    return _Learned(encoder, num_read, counted, time.perf_counter() - started)


def _encode(encoder: Encoder, source: SplitLog, folder: Path, spool: Spool) -> tuple[float, float]:
    """Write caches of the rows that lie aside; return the bytes of a row and the seconds of all."""
    started = time.perf_counter()
    counts = transform(encoder, [source], folder, num_rows=None, max_rejects=None, listen=ignore, spool=spool)
    seconds = time.perf_counter() - started
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return num_bytes / counts.rows_read, seconds


def _exponent(before: float, after: float, half: _Learned, whole: _Learned) -> float:
    """Return b where a number grew as rows^b between the two samples; 0 to 1."""
    if whole.num_rows <= half.num_rows or before <= 0 or after <= before:
        return 0.0
    return min(math.log(after / before) / math.log(whole.num_rows / half.num_rows), 1.0)


def _of_field(field: Field, half: _Learned, whole: _Learned, later: float) -> FieldEstimate:
    before, now = (learned.encoder.rows[field.name] for learned in (half, whole))
    features = now
    if field.type in ("category", "bag", "cross") and field.buckets is None:
        features = 2 + int((now - 2) * later ** _exponent(before - 2, now - 2, half, whole))
        features = min(features, 2 + (field.max_features or features))
    return FieldEstimate(name=field.name, type=field.type_name, features_in_sample=now, features=features)


def _encoder_bytes(schema: Schema, fields: list[FieldEstimate], num_rows: int) -> int:
    """Return the bytes of the encoder on disk; a row falls into one bucket, about."""
    return sum(
        min(field.features, num_rows) * _BYTES_PER_BUCKET
        if of.buckets is not None
        else field.features * _BYTES_PER_VALUE
        for of, field in zip(schema.fields, fields, strict=True)
    )


def _wider_ids(encoder: Encoder, fields: list[FieldEstimate]) -> float:
    """Return the bytes that a row takes more in the cache when ids need more bits than those of the sample did."""
    forms = tuple(int(form) for form in encoder.layout.form)

    def width(rows: list[int]) -> int:
        contents = Contents(forms=forms, num_rows=tuple(rows), num_classes=2, weights=False, groups=False)
        return sum(np.dtype(plane.dtype).itemsize * plane.numbers_per_example for plane in Planes(contents).fixed)

    return width([field.features for field in fields]) - width([field.features_in_sample for field in fields])


def _wider_numbers(counted: dict[str, int], values: dict[str, float]) -> int:
    """Return the bytes that a row takes more aside when there are more values than in the sample."""

    def width(num_values: float) -> int:
        return np.min_scalar_type(int(num_values)).itemsize  # as `Spool` writes them

    return sum(width(values[name]) - width(now) for name, now in counted.items())
