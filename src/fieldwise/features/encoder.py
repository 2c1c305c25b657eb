"""The encoder: raw rows to batches, one way for training, evaluation and serving.

An encoder learns from the training rows, chunk by chunk, and is then fixed: vocabularies, bins, scales and classes. It
depends on the rows only, not on how they are cut into chunks, so chunks may be given in any order, by any number of
threads, and what encoders of one schema have learned can be merged. ``arrays`` and ``describe`` are all there is to
save; opened from a file that is mapped into memory it answers at once, because nothing is rebuilt.

A row that cannot be used (a label that is no class, a weight or number that is none) is left out of the batch and
reported as a `Reject`; every row is in the batch or among the rejects.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import ArtefactError, DataError, UserError
from fieldwise.features.bags import BagEncoder
from fieldwise.features.cells import Arrays, Encoded, ReadRows
from fieldwise.features.columns import Reject
from fieldwise.features.counting import CountedValues, VocabularyCounter, bytes_soon
from fieldwise.features.cross import CrossEncoder
from fieldwise.features.encoding import Encoding
from fieldwise.features.field_types import refuse_unregistered
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.indexed import CategoryEncoder, IndexedEncoder
from fieldwise.features.joint_target import target_encoder
from fieldwise.features.numbers import BinEncoder, ScaleEncoder
from fieldwise.features.renewal import Renewal, Renewed
from fieldwise.features.scratch import Scratch
from fieldwise.features.times import CalendarEncoder
from fieldwise.features.vectors import VectorEncoder
from fieldwise.kernels.layout import BAG
from fieldwise.kernels.threads import map_in_order
from fieldwise.schema import Field, Schema

__all__ = ["Encoded", "Encoder", "Reject"]

_LARGE_INPUT = 100.0
"""Weights and numbers beyond that let training diverge where they enter as they are."""


def _encoder_for(field: Field, before: Mapping[str, FieldEncoder], scratch: Scratch) -> FieldEncoder:
    """Return a new encoder for a field; `before` are those of the fields before it, by name."""
    if field.type == "cross":
        return CrossEncoder(field, [before[part] for part in field.parts], scratch)
    if field.type == "bag":
        return BagEncoder(field, scratch)
    if field.numeric:
        return BinEncoder(field) if field.discretised else ScaleEncoder(field)
    if field.type == "time":
        return CalendarEncoder(field)
    if field.type == "vector":
        return VectorEncoder(field)
    return CategoryEncoder(field, scratch)


class Encoder(Encoding):
    """From raw rows to features.

    Parameters
    ----------
    schema
        What the columns mean.
    scratch
        Where large tables and texts go; memory unless given.
    allow_one_class
        Whether one alone of the classes that the schema states may occur.
    base, renewal
        An encoder of this schema to go on from, and how its vocabularies are renewed; see `growing`.

    Attributes
    ----------
    schema
        With the classes, once fitted.
    fitted
        Whether `transform` may be called. After `finish`, False means that another pass over the same rows is needed.
    notes
        What people should know of the classes that were found, and of inputs so large that training may diverge.

    Examples
    --------
    >>> from fieldwise.schema import Field
    >>> schema = Schema(fields=(Field(name="city", column="city"),), label="click")
    >>> log = pa.table({"city": ["Rome", "Oslo", "Rome", None], "click": [1, 0, 0, 1]})
    >>> encoder = Encoder(schema).fit([log])
    >>> encoder.transform(log).batch.ids.tolist()
    [[2, 3, 2, 0]]
    >>> encoder.feature_texts("city", [2, 3]), encoder.schema.classes
    (['Rome', 'Oslo'], ('0', '1'))
    """

    def __init__(
        self,
        schema: Schema,
        scratch: Scratch | None = None,
        *,
        allow_one_class: bool = False,
        base: Encoder | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        schema.check()
        self.schema = schema
        self.fitted = False
        self.notes: tuple[str, ...] = ()
        self._scratch = scratch or Scratch()
        self._lock = threading.Lock()
        self._base = base
        self._fields: dict[str, FieldEncoder] = {}
        for field in schema.fields:
            encoder = self._fields[field.name] = _encoder_for(field, self._fields, self._scratch)
            if base is not None:  # before the crosses are made: where bins are known, they need no second pass
                encoder.extend(base._fields[field.name])
                if renewal is not None and isinstance(encoder, IndexedEncoder):
                    encoder.renew(renewal)
        self._target = target_encoder(schema)
        self._target.allow_one_class = allow_one_class
        self._pass = 1
        self._num_examples = [0, 0]  # of each pass

    @property
    def num_passes(self) -> int:
        """How often the training rows are read: 2 where a cross combines a number with quantile bins, else 1."""
        return max(encoder.fit_pass for encoder in self._fields.values())

    def fit(self, tables: Iterable[pa.Table]) -> Encoder:
        """Learn from the training rows.

        Parameters
        ----------
        tables
            Chunks of the log: a list where `num_passes` is 2, because they are read again.

        Raises
        ------
        DataError
            As `fit_chunk` and `finish` do.
        """
        while not self.fitted:
            for table in tables:
                self.fit_chunk(table)
            self.finish()
        self._scratch.close()
        return self

    def partial_fit(self, tables: Iterable[pa.Table]) -> Encoder:
        """Return an encoder that has learned from more rows, such as those of a new day; this one stays as it is.

        * Values that are new and occur `min_count` times or more in these rows get ids after all others, by (count
          descending, fingerprint), as far as `max_features` leaves room. What was rare before is not remembered.
        * Every id there was stays, and so do bins, scales and classes: a row of old values is encoded as before.
        * Counts are those of all rows.

        A field that grows moves the rows of the fields after it in a table: `Layout.rows_of` says where the old ones
        have gone.

        Parameters
        ----------
        tables
            As for `fit`. They need not hold every class.

        Examples
        --------
        >>> from fieldwise.schema import Field
        >>> schema = Schema(fields=(Field(name="city", column="city"),), label="click")
        >>> encoder = Encoder(schema).fit([pa.table({"city": ["Rome", "Oslo", "Rome"], "click": [1, 0, 0]})])
        >>> grown = encoder.partial_fit([pa.table({"city": ["Bern", "Oslo", "Oslo"], "click": [0, 0, 0]})])
        >>> grown.feature_texts("city", [2, 3, 4]), grown.counts.tolist()
        (['Rome', 'Oslo', 'Bern'], [0, 0, 2, 3, 1])
        """
        return self.growing().fit(tables)

    def growing(self, scratch: Scratch | None = None, renewal: Renewal | None = None) -> Encoder:
        """Return an encoder that knows what this one does and is ready to learn more, by `fit` or chunk by chunk.

        With a `renewal`, values that are rare in these rows are counted on, and values that have not come for long
        leave (`features.renewal`): the ids of all others stay.
        """
        self._need_fitted()
        return Encoder(self.schema, scratch, base=self, renewal=renewal)

    @property
    def renewed(self) -> dict[str, Renewed]:
        """What has become of the vocabularies of an encoder that was made with a renewal, by field."""
        self._need_fitted()
        indexed = (field for field in self._fields.values() if isinstance(field, IndexedEncoder))
        return {field.field.name: field.renewed for field in indexed if field.renewed is not None}

    def fit_chunk(self, table: pa.Table) -> list[Reject]:
        """Learn from a chunk of the training rows, and return those that `transform` would reject: they do not count.

        May be called from several threads at once.

        Raises
        ------
        DataError
            A column is missing or of a type that its field cannot read; the label has too many values.
        """
        rows = self.read(table)
        self._learn(rows)
        return rows.rejects

    def condense(self, rows: ReadRows, *, learn: bool) -> ReadRows:
        """Return rows that are encoded alike, in fewer bytes; learn from them as `fit_chunk` does, or not.

        Parameters
        ----------
        rows
            What `read` returned in this pass, which is the last one (`in_last_pass`).
        learn
            Whether they are training rows.
        """
        learned = self._learn(rows) if learn else {}
        cells = {name: encoder.condense(rows.cells[name], learned.get(name)) for name, encoder in self._fields.items()}
        return rows._replace(cells=cells)

    def _learn(self, rows: ReadRows) -> dict[str, CountedValues]:
        if self.fitted:
            raise DataError("the encoder is fitted already", fix="make a new one")
        with self._lock:
            self._num_examples[self._pass - 1] += rows.num_examples
            if self._pass == 1:
                assert rows.labels is not None
                self._target.fit_chunk(rows.labels, rows.accepted)
        waiting = deque(name for name, encoder in self._fields.items() if encoder.fit_pass == self._pass)
        learned: dict[str, CountedValues] = {}
        passed_over = 0
        while waiting:
            name = waiting[0]
            encoder, cells = self._fields[name], rows.cells[name]
            # A field that another thread is at can wait, as long as there is another.
            if encoder.lock.acquire(blocking=passed_over >= len(waiting)):
                try:
                    of_field = encoder.fit_chunk(cells)
                finally:
                    encoder.lock.release()
                if of_field is not None:
                    assert isinstance(encoder, IndexedEncoder)
                    encoder.keep_texts(cells, of_field)
                    learned[name] = of_field
                waiting.popleft()
                passed_over = 0
            else:
                waiting.rotate(-1)
                passed_over += 1
        return learned

    @property
    def counter_bytes(self) -> int:
        """Bytes that the counts of values may take before anyone looks at them again."""
        return int(bytes_soon([counter for _, counter in self._counting])[0])

    @property
    def counted(self) -> dict[str, int]:
        """Distinct values that are being counted in memory, of each field that counts them."""
        return {encoder.field.name: counter.num_values for encoder, counter in self._counting}

    def spill(self, limit: int) -> None:
        """Move counts of values to disk until `counter_bytes` is `limit` at most, the largest first.

        Others may learn meanwhile.
        """
        largest_first = sorted(self._counting, key=lambda counting: -counting[1].nbytes)
        num_spilled = np.argmax(bytes_soon([counter for _, counter in largest_first]) <= limit)
        for encoder, counter in largest_first[: int(num_spilled)]:
            with encoder.lock:
                counter.spill(self._scratch)

    @property
    def _counting(self) -> list[tuple[IndexedEncoder, VocabularyCounter]]:
        """The fields that count values."""
        return [
            (encoder, encoder.counter)
            for encoder in self._fields.values()
            if isinstance(encoder, IndexedEncoder) and isinstance(encoder.counter, VocabularyCounter)
        ]

    def keep_all_texts(self) -> None:
        """Keep the texts of rare values too: `add_learned` will add the rows in which they may be frequent."""
        for _, counter in self._counting:
            counter.keep_all_texts = True

    def learned(self) -> Arrays:
        """Return what was learned in this pass, for `add_learned` of an encoder in another process."""
        arrays = {
            f"{name}.{key}": array
            for name, encoder in self._fields.items()
            if encoder.fit_pass == self._pass
            for key, array in encoder.learned().items()
        }
        return {
            **arrays,
            ".num_examples": np.array(self._num_examples[self._pass - 1]),
            ".target": self._target.learned(),
        }

    def add_learned(self, arrays: Arrays, *, texts: bool = True) -> None:
        """Add what another encoder of this schema has learned from other rows in the same pass.

        What both finish with is what one encoder learns from the rows of both, if all texts were kept. The values that
        this encoder has given codes keep them.

        Parameters
        ----------
        texts
            Whether to take texts too, which nothing but saving needs.

        Examples
        --------
        >>> from fieldwise.schema import Field
        >>> schema = Schema(fields=(Field(name="city", column="city", min_count=2),), label="click")
        >>> one, other = Encoder(schema), Encoder(schema)
        >>> for number, encoder in enumerate((one, other)):
        ...     encoder.keep_all_texts()
        ...     _ = encoder.fit_chunk(pa.table({"city": ["Rome", "Oslo"], "click": [number, 1]}))
        >>> one.add_learned(other.learned())
        >>> one.finish()
        >>> one.feature_texts("city", [2, 3]), one.counts.tolist()
        (['Oslo', 'Rome'], [0, 0, 2, 2])
        """
        self._num_examples[self._pass - 1] += int(arrays[".num_examples"].item())
        self._target.add_learned(arrays[".target"])
        for name, encoder in self._fields.items():
            if encoder.fit_pass == self._pass:
                keys = (key for key in arrays if key.rpartition(".")[0] == name)
                of_field = {key.rpartition(".")[2]: arrays[key] for key in keys}
                if not texts:
                    of_field.pop("text_keys", None)
                encoder.add_learned(of_field)

    def finish(self) -> None:
        """End a pass: fix what was learned in it.

        Raises
        ------
        DataError
            There is no example, or one class only; the second pass did not see the rows of the first.
        """
        if self._base is not None:
            self._base = None  # the classes are known, and one pass is enough
        elif self._pass == 1:
            self.schema, self.notes = self._target.finish()
        elif self._num_examples[0] != self._num_examples[1]:
            raise DataError(
                "the second pass did not read the rows of the first",
                expected=f"{self._num_examples[0]} examples",
                got=self._num_examples[1],
                fix="fit on a list of tables, not on a generator",
            )
        of_pass = [encoder for encoder in self._fields.values() if encoder.fit_pass == self._pass]
        for _ in map_in_order(lambda encoder: encoder.finish(self._scratch), of_pass):
            pass
        self.notes += tuple(_of_large_inputs(encoder) for encoder in of_pass if encoder.largest > _LARGE_INPUT)
        self._pass += 1
        self.fitted = self._pass > self.num_passes

    @property
    def in_last_pass(self) -> bool:
        """Whether `finish` will leave the encoder fitted."""
        return self._pass == self.num_passes

    @classmethod
    def from_arrays(
        cls, described: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], where: Path | None = None
    ) -> Encoder:
        """Return the encoder that `describe` and `arrays` came from; arrays may be read-only, and are not copied.

        Raises
        ------
        ArtefactError
            They do not fit each other; `where` is the file that they were read from.
        """
        try:
            schema = msgspec.convert(described["schema"], Schema)
        except (LookupError, TypeError, ValueError) as error:
            raise ArtefactError("the description of the encoder is damaged", where=where, got=error) from error
        for field_ in schema.fields:
            refuse_unregistered(field_, where)
        try:
            encoder = cls(schema)
            of_field: dict[str, Arrays] = {name: {} for name in encoder._fields}
            for key, array in arrays.items():
                name, _, key_of_field = key.rpartition(".")
                of_field[name][key_of_field] = array
            of_fields = msgspec.convert(described["fields"], dict[str, dict[str, Any]])
            for name, field in encoder._fields.items():
                field.restore(of_fields[name], of_field[name])
        except (UserError, LookupError, TypeError, ValueError) as error:
            raise ArtefactError(
                "the encoder does not fit its description", where=where, got=str(error) or type(error).__name__
            ) from error
        encoder.fitted = True
        return encoder


def _of_large_inputs(encoder: FieldEncoder) -> str:
    name, is_bag = encoder.field.name, encoder.form == BAG and not encoder.field.has_inputs
    what, fix = ("weights", 'weight_scale = "log"') if is_bag else ("numbers", 'scale = "standard"')
    return (
        f"field {name}: {what} as large as {encoder.largest:.6g} enter unscaled, and training may diverge: "
        f"set {fix} in [fields.{name}]"
    )
