"""``fieldwise export --compact``: a saved model whose table takes half or a quarter of the bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.bundle import Bundle, BundleWriter, block_rows, open_bundle
from fieldwise.data.log import encode_log
from fieldwise.errors import ConfigError, DataError
from fieldwise.events import Listener, Preparing, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.io.arrays import Pieces
from fieldwise.io.files import discard
from fieldwise.io.stores import local_path
from fieldwise.jobs.predict.answers import probabilities_of
from fieldwise.jobs.predict.rows import open_rows
from fieldwise.kernels.compact import Compact, compacted, kind_for, width_of
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.kernels.layout import BAG, VALUE, Batch
from fieldwise.kernels.storage import decode_weights, num_weights
from fieldwise.metrics import accumulator
from fieldwise.outcome import Outcome
from fieldwise.schema import Schema

__all__ = ["Compacted", "compact"]

_DRAWN = 10_000
_SEED = 0

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Compacted(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model, before and after.

    Attributes
    ----------
    out
        The new bundle.
    rows
        What the rows of its table are: ``float16`` or ``int8``.
    bytes, table_bytes
        Of the whole bundle, and of its table: before and after.
    dropped
        How many features, all of whose weights are zero, share one row of zeros now.
    auc
        Before and after; None where there are no labels, or no AUC.
    largest_change
        Of a probability, among the rows that were compared.
    compared, drawn
        How many rows those are, and whether they are not of a log, but drawn from what training has counted.
    """

    out: str
    rows: str
    bytes: tuple[int, int]
    table_bytes: tuple[int, int]
    dropped: int
    auc: tuple[float, float] | None
    largest_change: float
    compared: int
    drawn: bool


def compact(
    run: str | Path,
    out: str | Path,
    kind: Compact,
    *,
    data: Any = None,
    format: str | None = None,
    listen: Listener = ignore,
) -> Compacted:
    """Write a saved model with a smaller table, to be asked, evaluated and explained like any other.

    Rows of fewer than 8 numbers are float16 in any case (`kernels.compact`). Features of a vocabulary whose weights are
    all zero, as an L1 penalty leaves them, share one row of zeros, and no *unseen* value becomes one of them.

    Parameters
    ----------
    run
        A run folder, the folder of a model in a comparison, or a bundle.
    out
        A new folder.
    kind
        ``float16`` or ``int8``.
    data, format
        A log on which both are compared, with labels or without; as for `predict`. Without it, rows are drawn from the
        counts of training.
    listen
        Called with `events.Preparing` events.

    Raises
    ------
    ArtefactError
        The model is missing or damaged.
    ConfigError
        The output exists, the model would not be smaller, or a weight is beyond float16.
    """
    out = local_path(out)
    bundle = open_bundle(run).verify()
    if out.resolve().is_relative_to(bundle.folder.resolve()):
        raise ConfigError("the output is inside a saved model", where=out, fix="name another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError("the output already exists", where=out, fix="name a new folder")
    width = num_weights(bundle.table)
    kind = kind_for(kind, width)
    columns, dtype = width_of(kind, width)
    kept = _kept_rows(bundle)
    encoder, rows = _without(bundle.encoder, kept)
    rows = np.concatenate([rows, np.arange(bundle.encoder.layout.num_features, len(bundle.table))])  # of bags
    if len(rows) * columns * dtype.itemsize >= bundle.table.nbytes:
        raise ConfigError(
            "the table would not be smaller", where=bundle.folder,
            got=f"{bundle.table.nbytes:,} bytes, and {len(rows) * columns * dtype.itemsize:,} as {kind}",
        )  # fmt: skip
    writer = BundleWriter(out, encoder, bundle.model, bundle.dtype, bundle.csv, bundle.calibration, bundle.format)
    table = Pieces(dtype, (len(rows), columns), _pieces(bundle, rows, kind, block_rows(columns * dtype.itemsize)))
    with ExitStack() as undo:
        undo.callback(discard, out)  # where the rows to compare cannot be read, the same command can be given again
        writer.save(1, table, bundle.dense, bundle.network, bundle.no_network, bundle.ranking)
        smaller = open_bundle(out).verify()
        pairs = _of_log(bundle, smaller, data, format, listen) if data is not None else _drawn(bundle, smaller, kept)
        auc, largest, compared = _compare(pairs, bundle.encoder.schema)
        undo.pop_all()
    return Compacted(
        out=str(out),
        rows=kind,
        bytes=(_bytes_of(bundle), _bytes_of(smaller)),
        table_bytes=(bundle.table.nbytes, smaller.table.nbytes),
        dropped=len(bundle.table) - len(rows),
        auc=auc,
        largest_change=largest,
        compared=compared,
        drawn=data is None,
    )


def _bytes_of(bundle: Bundle) -> int:
    return sum((bundle.folder / name).stat().st_size for name in bundle.files)


def _pieces(bundle: Bundle, rows: Int64s, kind: Compact, step: int) -> Iterator[npt.NDArray[Any]]:
    for first in range(0, len(rows), step):
        yield compacted(decode_weights(np.ascontiguousarray(bundle.table[rows[first : first + step]])), kind)


# --- rows of zeros ---


def _kept_rows(bundle: Bundle) -> dict[str, Bools]:
    """Return which features (rows of a field,) have a weight, of each field that loses others."""
    if Cooccurrence.saved(bundle.dense, "cooccurrence."):  # these name features by their ids
        return {}
    layout, kept = bundle.encoder.layout, dict[str, Bools]()
    for place, (name, of_field) in enumerate(bundle.encoder.fields.items()):
        if not isinstance(of_field, IndexedEncoder) or not isinstance(of_field.index, Vocabulary):
            continue
        weights = decode_weights(bundle.table[layout.base[place] : layout.base[place + 1]])
        has_weight: Bools = np.asarray(weights.any(axis=1))
        has_weight[:FIRST] = True
        if np.count_nonzero(~has_weight) > 1:
            kept[name] = has_weight
    return kept


def _new_ids(has_weight: Bools) -> Int64s:
    """Return the new id of each feature of a field: those with weights in their order, and one for all others."""
    ids = np.cumsum(has_weight) - 1
    return np.where(has_weight, ids, ids[-1] + 1).astype(np.int64)


def _without(encoder: Encoder, kept: dict[str, Bools]) -> tuple[Encoder, Int64s]:
    """Return an encoder that gives all features without weights of a field one id, and the rows that its ids have."""
    layout, arrays, rows = encoder.layout, encoder.arrays(), []
    for place, (name, of_field) in enumerate(encoder.fields.items()):
        of_rows = np.arange(layout.base[place], layout.base[place + 1])
        has_weight = kept.get(name)
        if has_weight is None:
            rows.append(of_rows)
            continue
        rows += [of_rows[has_weight], of_rows[~has_weight][:1]]
        ids, slots = _new_ids(has_weight), np.array(arrays[f"{name}.slots"])
        taken = slots[:, 0] != 0
        slots[taken, 1] = ids[slots[taken, 1].astype(np.int64)]
        arrays[f"{name}.slots"] = slots
        arrays[f"{name}.counts"] = np.bincount(ids, of_field.counts).astype(np.int64)
        starts = arrays[f"{name}.text_offsets"]
        texts = _texts_of(arrays[f"{name}.text_bytes"], starts, has_weight[FIRST:][: max(len(starts) - 1, 0)])
        arrays[f"{name}.text_bytes"], arrays[f"{name}.text_offsets"] = texts
    if not kept:
        return encoder, np.concatenate(rows)
    return Encoder.from_arrays(encoder.describe(), arrays), np.concatenate(rows)


def _texts_of(content: npt.NDArray[np.uint8], starts: Int64s, kept: Bools) -> tuple[Any, Int64s]:
    if not len(kept):
        return content, starts
    lengths = np.diff(starts)
    of_bytes = np.repeat(kept, lengths)
    return content[starts[0] : starts[-1]][of_bytes], np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64)


# --- before and after ---


class _Compared(NamedTuple):
    """Some rows: probabilities before and after, labels and weights."""

    before: npt.NDArray[Any]
    after: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None = None
    weights: npt.NDArray[Any] | None = None


def _compare(pairs: Iterator[_Compared], schema: Schema) -> tuple[tuple[float, float] | None, float, int]:
    """Return AUC before and after, the largest change, and the number of rows."""
    labels = [label.label for label in schema.labels]
    metrics = [accumulator(len(schema.classes), labels) for _ in range(2)]
    largest, num_rows, has_labels = 0.0, 0, False
    for pair in pairs:
        largest = max(largest, float(np.abs(pair.after - pair.before).max(initial=0.0)))
        num_rows += len(pair.before)
        if pair.labels is not None:
            has_labels = True
            for each, probabilities in zip(metrics, (pair.before, pair.after), strict=True):
                each.update(probabilities, pair.labels, pair.weights, None)
    before, after = (each.compute().auc for each in metrics) if has_labels else (None, None)
    return (before, after) if before is not None and after is not None else None, largest, num_rows


def _of_log(bundle: Bundle, smaller: Bundle, data: Any, format: str | None, listen: Listener) -> Iterator[_Compared]:
    """Yield the rows of a log, which each bundle encodes by itself."""
    before, after = probabilities_of(bundle), probabilities_of(smaller)
    num_rows, started = 0, time.perf_counter()
    with open_rows(bundle, data, format) as log:
        labelled = set(bundle.encoder.schema.label_columns) <= set(log.columns)
        for chunk, encoded in encode_log(log, bundle.encoder, labelled=labelled):
            again = smaller.encoder.transform(chunk.table, labelled=labelled)
            yield _Compared(before(encoded.batch), after(again.batch), encoded.labels, encoded.weights)
            num_rows += len(encoded.accepted)
            listen(Preparing("compare", num_rows, None, time.perf_counter() - started))
    if not num_rows:
        raise DataError("there are no rows to compare", expected="rows that can be used")


def _drawn(bundle: Bundle, smaller: Bundle, kept: dict[str, Bools]) -> Iterator[_Compared]:
    """Yield rows whose features are drawn from the counts of training, each field for itself."""
    rng = np.random.default_rng(_SEED)
    layout = bundle.encoder.layout
    ids, values, bag_ids, new_ids, new_bag_ids = (list[Any]() for _ in range(5))
    for place, (name, of_field) in enumerate(bundle.encoder.fields.items()):
        shares = of_field.counts + 1e-9
        drawn = rng.choice(len(shares), _DRAWN, p=shares / shares.sum())
        renamed = _new_ids(kept[name])[drawn] if name in kept else drawn
        if layout.form[place] == VALUE:
            values.append(np.where(drawn == 1, rng.normal(size=_DRAWN), 1.0))
        (bag_ids if layout.form[place] == BAG else ids).append(drawn)
        (new_bag_ids if layout.form[place] == BAG else new_ids).append(renamed)

    def batch(of_singles: list[Any], of_bags: list[Any]) -> Batch:
        offsets = np.arange(len(of_bags))[:, None] * _DRAWN + np.arange(_DRAWN + 1)
        return Batch(
            np.array(of_singles, dtype=np.uint32).reshape(-1, _DRAWN),
            np.array(values, dtype=np.float32).reshape(-1, _DRAWN),
            offsets.reshape(len(of_bags), _DRAWN + 1).astype(np.int64),
            np.array(of_bags, dtype=np.uint32).reshape(-1),
            np.ones(len(of_bags) * _DRAWN, dtype=np.float32),
        )

    yield _Compared(
        probabilities_of(bundle)(batch(ids, bag_ids)), probabilities_of(smaller)(batch(new_ids, new_bag_ids))
    )
