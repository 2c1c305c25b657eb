"""Fields whose values are fingerprints, numbered by a vocabulary or hashed into buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.features.canonical import canonical, fingerprints, plain, taken
from fieldwise.features.cells import NO_FINGERPRINTS, Arrays, Cells
from fieldwise.features.columns import Columns, reading
from fieldwise.features.counting import NOTHING, CountedValues, GrowthCounter, VocabularyCounter
from fieldwise.features.field_types import convert
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.missing import MissingTexts
from fieldwise.features.renewal import Memory, Renewal, RenewalCounter, Renewed
from fieldwise.features.scratch import Scratch
from fieldwise.features.texts import TextCollector
from fieldwise.features.vocabulary import Buckets, Vocabulary
from fieldwise.kernels.hashtable import take
from fieldwise.kernels.layout import MISSING, UNSEEN, Uint32s
from fieldwise.kernels.threads import run_each
from fieldwise.schema import Field

__all__ = ["CategoryEncoder", "IndexedEncoder"]


class IndexedEncoder(FieldEncoder):
    """A field whose values are fingerprints, numbered by a vocabulary or hashed into buckets.

    Attributes
    ----------
    counter
        What counts the values; None once the field has learned.
    missing
        The texts that mean missing.
    renewed
        What has become of a vocabulary by `renew`, once the field has learned.
    default, default_text
        Fingerprint and canonical text of what missing cells are read as; 0 and None where they are missing.

    Parameters
    ----------
    field
        Its part of the schema.
    scratch
        Takes texts, and counts that do not fit into memory.
    """

    def __init__(self, field: Field, scratch: Scratch | None = None) -> None:
        super().__init__(field)
        self._scratch = scratch = scratch or Scratch()
        self.counter: VocabularyCounter | Buckets | None = (
            VocabularyCounter(field.min_count, field.max_features) if field.buckets is None else Buckets(field.buckets)
        )
        self._texts = TextCollector(scratch)
        self._index: Vocabulary | Buckets | None = None
        self._base: Vocabulary | Buckets | None = None
        self.renewed: Renewed | None = None
        self._gave_codes = False
        self._ids_of_codes: Uint32s | None = None  # None where codes are ids
        self.missing = MissingTexts(field.missing, self.seed)
        self.default_text: str | None = None
        self.default = 0
        if field.default is not None:
            text = canonical(pa.array([str(field.default)], pa.large_string()))
            self.default_text = text[0].as_py()
            self.default = int(fingerprints(text, self.seed)[0])

    @property
    def index(self) -> Vocabulary | Buckets:
        """What numbers the values, once the field has learned."""
        return self._fitted

    @property
    def _fitted(self) -> Vocabulary | Buckets:
        assert self._index is not None, "finish() comes first"
        return self._index

    def fit_chunk(self, cells: Cells) -> CountedValues:
        """Count the values."""
        assert self.counter is not None, "the field has learned already"
        if isinstance(self.counter, Buckets):
            return CountedValues(self.counter.add(cells.fingerprints), NOTHING)
        if self.counter.is_full:
            self.counter.spill(self._scratch)
        return self.counter.add(cells.fingerprints)

    def keep_texts(self, cells: Cells, learned: CountedValues) -> None:
        """Take the texts of values that may get an id; may be called by several threads at once."""
        if len(learned.frequent):
            self._texts.add(cells.fingerprints[learned.frequent], cells.texts(learned.frequent))

    def learned(self) -> Arrays:
        """Return counts and texts."""
        if isinstance(self.counter, Buckets):
            return self.counter.arrays()
        assert self.counter is not None, "the field has learned already"
        return {**self.counter.learned(self._scratch), **self._texts.learned()}

    def add_learned(self, arrays: Arrays) -> None:
        """Add counts, and texts where they are given."""
        if isinstance(self.counter, Buckets):
            self.counter.add_learned(arrays)
        elif self.counter is not None:
            self.counter.add_learned(arrays, self._scratch)
            if "text_keys" in arrays:
                self._texts.add_learned(arrays)

    def finish(self, scratch: Scratch) -> None:
        """Number the values."""
        counter, self.counter = self.counter, None
        if isinstance(counter, Buckets):
            if self._base is not None:
                counter.counts += self._base.counts
            self._index = counter
        elif counter is not None:
            self._index = vocabulary = counter.finish(scratch)
            self.renewed = counter.renewed if isinstance(counter, RenewalCounter) else None
            rest = [partial(self._texts.finish, vocabulary)]
            if self._gave_codes and not isinstance(counter, GrowthCounter):
                rest.append(partial(self._find_ids, counter, vocabulary, scratch))
            run_each(lambda task: task(), [(task,) for task in rest])
        self._base = None

    def _find_ids(self, counter: VocabularyCounter, vocabulary: Vocabulary, scratch: Scratch) -> None:
        self._ids_of_codes = counter.ids_of_codes(vocabulary, scratch)

    def extend(self, base: Self) -> None:
        """Go on from a vocabulary, or the counts of buckets."""
        self._base = base._fitted
        if isinstance(self._base, Vocabulary):
            self.counter = GrowthCounter(self._base, self.field.min_count, self.field.max_features)

    def renew(self, renewal: Renewal) -> None:
        """Follow the values of a day, after `extend`: rare ones are remembered, old ones leave."""
        base, field = self._base, self.field
        if isinstance(base, Vocabulary):
            memory = renewal.memories.get(field.name) or Memory.new(base.rows)
            day, keep_days = renewal.day, renewal.keep_days
            self.counter = RenewalCounter(base, memory, day, keep_days, field.min_count, field.max_features)

    def encode(self, cells: Cells) -> Uint32s:
        """Look up the values."""
        if cells.codes is None:
            return self._fitted.lookup(cells.fingerprints)
        if self._ids_of_codes is None:
            return cells.codes.astype(np.uint32)
        return take(self._ids_of_codes, cells.codes)

    def condense(self, cells: Cells, learned: CountedValues | None) -> Cells:
        """Return cells with codes in place of fingerprints, where the field has some for them.

        Codes are ids where these are known before the encoder is fitted: those of buckets, and of a vocabulary that was
        finished in an earlier pass. Else they are the numbers by which values are counted.
        """
        if self._index is not None:
            codes = self._index.lookup(cells.fingerprints)
        elif learned is not None and learned.codes is not None:
            codes = learned.codes
            self._gave_codes = True
        elif isinstance(self.counter, Buckets):
            codes = self.counter.lookup(cells.fingerprints)
        else:
            return cells
        return cells._replace(fingerprints=NO_FINGERPRINTS, codes=codes)

    @property
    def rows(self) -> int:
        """Number of local ids."""
        return self._fitted.rows

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(rows,): how often each feature occurred in training."""
        return self._fitted.counts

    def training_shares(self) -> tuple[float, float]:
        """Return the share that was missing, and the share that Good and Turing expect outside the vocabulary.

        Of N values, in which n_r different ones came r times, those that come r times are expected to make up
        ``(r + 1) n_(r + 1) / N`` of new ones. With ``min_count`` m this adds up, for r < m, to the share of the rare
        values and ``m n_m / N``.
        """
        if isinstance(self._fitted, Buckets):
            return self._fitted.share_missing(), 0.0
        counts = self._fitted.counts
        total = max(int(counts.sum()), 1)
        least = self.field.min_count
        num_least = np.count_nonzero(counts[UNSEEN + 1 :] == least)
        return float(counts[MISSING] / total), min(float((counts[UNSEEN] + least * num_least) / total), 1.0)

    def texts(self, ids: Iterable[int]) -> list[str | None]:
        """Return the canonical texts of features."""
        return self._fitted.texts(ids)

    def arrays(self) -> Arrays:
        """Return the vocabulary, or the counts of the buckets."""
        return self._fitted.arrays()

    def restore(self, described: Mapping[str, Any], arrays: Arrays) -> None:
        """Take over the vocabulary, or the counts of the buckets."""
        self.counter = None
        if self.field.buckets is None:
            self._index = Vocabulary.restored(arrays)
        else:
            self._index = Buckets.restored(self.field.buckets, arrays)


class CategoryEncoder(IndexedEncoder):
    """One feature per value of a column."""

    def read(self, columns: Columns, others: Mapping[str, Cells]) -> Cells:
        """Fingerprint the canonical texts of the column."""
        assert self.field.column is not None
        text = columns.text(self.field.column)
        if self.field.custom:
            with reading(self.field.column):
                text = convert(self.field, text)
        found = fingerprints(text, self.seed)
        self.missing.drop_from(found)
        if self.default_text is None:
            return Cells(found, partial(taken, text))
        gone = found == 0
        found[gone] = self.default
        return Cells(found, lambda at: pc.if_else(pa.array(gone[at]), self.default_text, plain(text.take(at))))
