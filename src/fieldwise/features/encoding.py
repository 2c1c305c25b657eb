"""What a fitted encoder does: encode rows, and say what its features are. How it learns is `features.encoder`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.bags import BagEncoder
from fieldwise.features.cells import Arrays, Cells, Encoded, ReadRows, read_rows
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.target import TargetEncoder
from fieldwise.kernels.layout import Batch, Examples, Layout
from fieldwise.schema import Schema

__all__ = ["Encoding"]

_NO_IDS, _NO_WEIGHTS = np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.float32)


class Encoding:
    """The base of `Encoder`: the fields and the target of a schema, and the rows that they encode.

    Attributes
    ----------
    schema
        With the classes, once fitted.
    fitted
        Whether `transform` may be called.
    """

    schema: Schema
    fitted: bool
    _fields: dict[str, FieldEncoder]
    _target: TargetEncoder

    def read(self, table: pa.Table, *, labelled: bool = True) -> ReadRows:
        """Read a chunk of a log, before the encoder is fitted or afterwards: what `encode` takes; see `transform`."""
        return read_rows(self._fields, self._target if labelled else None, table)

    def transform(self, table: pa.Table, *, labelled: bool = True) -> Encoded:
        """Encode B rows, or those of them that can be used; may be called from several threads at once.

        Parameters
        ----------
        table
            A chunk of a log; columns that the schema does not name are passed over.
        labelled
            Whether it has the columns of label, weight and group.

        Raises
        ------
        DataError
            A column is missing or of a type that its field cannot read.
        """
        self._need_fitted()
        return self.encode(self.read(table, labelled=labelled))

    def encode(self, rows: ReadRows) -> Encoded:
        """Encode rows that were read, now or before the encoder was fitted; may be called from several threads at once.

        The one way from what was read to features: `transform` takes it, and so does preparing (`jobs.prepare`).
        """
        self._need_fitted()
        classes, no_class = (None, []) if rows.labels is None else self._target.encode(rows.labels)
        labels = None if classes is None else classes[rows.accepted]
        examples = Examples(self._batch(rows.cells, rows.num_examples), labels, rows.weights, rows.groups)
        cut = {name: rows.cells[name].num_cut for name in self._fields if rows.cells[name].num_cut}
        encoded = Encoded(examples, rows.rejects, rows.accepted, cut)
        return encoded.leave_out(no_class) if no_class else encoded

    def _batch(self, cells: Mapping[str, Cells], num_examples: int) -> Batch:
        """Number the values of all fields, and put them together field by field."""
        ids, values, bag_ids, bag_weights = [], [], [_NO_IDS], [_NO_WEIGHTS]
        offsets: list[npt.NDArray[np.int64]] = []
        for name, encoder in self._fields.items():
            of_field = cells[name]
            found, inputs = encoder.encode(of_field), encoder.inputs(of_field)
            if of_field.offsets is None:
                ids.append(found)
                if inputs is not None:
                    values.append(inputs)
                continue
            offsets.append(of_field.offsets + (offsets[-1][-1] if offsets else 0))
            bag_ids.append(found)
            if inputs is not None:
                bag_weights.append(inputs)
        return Batch(
            ids=np.stack(ids) if ids else np.zeros((0, num_examples), dtype=np.uint32),
            values=np.stack(values) if values else np.zeros((0, num_examples), dtype=np.float32),
            offsets=np.stack(offsets) if offsets else np.zeros((0, num_examples + 1), dtype=np.int64),
            bag_ids=np.concatenate(bag_ids),
            bag_weights=np.concatenate(bag_weights),
        )

    @property
    def fields(self) -> Mapping[str, FieldEncoder]:
        """The encoders of the fields, by name, in order."""
        return self._fields

    @property
    def rows(self) -> dict[str, int]:
        """Number of local ids of each field: missing, unseen and its values."""
        self._need_fitted()
        return {name: encoder.rows for name, encoder in self._fields.items()}

    @property
    def layout(self) -> Layout:
        """Which rows of a table belong to which field."""
        return Layout.of([encoder.form for encoder in self._fields.values()], list(self.rows.values()))

    @property
    def num_features(self) -> int:
        """D."""
        return sum(self.rows.values())

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(D,): how often each feature occurred in the training rows."""
        self._need_fitted()
        return np.concatenate([encoder.counts for encoder in self._fields.values()])

    @property
    def vocabulary_counts(self) -> list[npt.NDArray[np.int64] | None]:
        """(rows,) of each field, not copied: how often its features occurred; None where none is unseen: of a hashed
        field, and of one whose values are inputs.
        """
        self._need_fitted()
        none = [encoder.field.buckets is not None or encoder.field.has_inputs for encoder in self._fields.values()]
        return [None if each else encoder.counts for each, encoder in zip(none, self._fields.values(), strict=True)]

    def training_shares(self) -> dict[str, tuple[float, float]]:
        """Return of each field which share of its values was missing, and which share of new ones should be unseen."""
        self._need_fitted()
        return {name: encoder.training_shares() for name, encoder in self._fields.items()}

    @property
    def constant_fields(self) -> list[str]:
        """The fields that have one and the same feature in all training rows, and so tell nothing.

        Those of a number or vector whose values are the input are not among them, unless all are missing.
        """
        self._need_fitted()
        return [
            name
            for name, encoder in self._fields.items()
            if np.count_nonzero(encoder.counts) <= 1 and not (encoder.field.has_inputs and encoder.counts[1:].any())
        ]

    @property
    def cut_cells(self) -> dict[str, int]:
        """How many cells of the training rows were cut to the `max_length` of their bags; bags without any left out."""
        bags = {name: encoder for name, encoder in self._fields.items() if isinstance(encoder, BagEncoder)}
        return {name: bag.num_cut for name, bag in bags.items() if bag.num_cut}

    def feature_texts(self, field: str, ids: Iterable[int]) -> list[str | None]:
        """Return what local ids of a field stand for; None for missing, unseen, and where no text was kept."""
        self._need_fitted()
        return self._fields[field].texts(int(id_) for id_ in ids)

    def arrays(self) -> Arrays:
        """Return the arrays to save, named ``FIELD.ARRAY``."""
        self._need_fitted()
        return {
            f"{name}.{key}": array for name, encoder in self._fields.items() for key, array in encoder.arrays().items()
        }

    def describe(self) -> dict[str, Any]:
        """Return what else is to be saved, as JSON."""
        self._need_fitted()
        return {
            "schema": msgspec.to_builtins(self.schema),
            "fields": {name: encoder.describe() for name, encoder in self._fields.items()},
        }

    def _need_fitted(self) -> None:
        if not self.fitted:
            raise DataError("the encoder is not fitted", fix="call fit, or fit_chunk and finish in every pass")
