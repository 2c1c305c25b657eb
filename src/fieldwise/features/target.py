"""What is learned of an example, and how it counts: label, weight and group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from fieldwise.errors import DataError
from fieldwise.features.canonical import fingerprints
from fieldwise.features.classes import Classes, decide_classes, one_class
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.labels import Labels, Spelling, read_labels
from fieldwise.features.missing import MissingTexts
from fieldwise.features.numerals import NOT_A_NUMBER, read_numbers
from fieldwise.schema import Schema

__all__ = ["MAX_CLASSES", "MISSING", "Target", "TargetEncoder"]

MAX_CLASSES = 1000
"""A label with more values than this is taken for a mistake: a number to regress on, or an identifier."""


MISSING = "the label is missing"


class Target(NamedTuple):
    """The targets of R rows.

    Attributes
    ----------
    labels
        As texts: which of them are classes may not be known yet.
    weights
        (R,), finite and >= 0 where the row is not rejected; None without such a column.
    groups
        (R,): fingerprints, 0 for missing; None without such a column.
    rejects
        The rows that cannot be used.
    """

    labels: Labels
    weights: npt.NDArray[np.float32] | None
    groups: npt.NDArray[np.uint64] | None
    rejects: list[Reject]


class TargetEncoder:
    """Learns the classes, and reads label, weight and group.

    Parameters
    ----------
    schema
        Its `classes` are found in fitting where there are none; otherwise other labels are rejected.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._know(schema.classes)
        self._seen: Counter[str] = Counter()
        self.allow_one_class = False
        """Of classes that are stated, whether one alone may occur: others come later."""

    def _know(self, classes: tuple[str, ...]) -> None:
        self._classes, self._spelling = classes, Spelling(classes)
        named = (self._schema.positive,) if self._schema.positive is not None else ()
        self._stated = self._spelling if classes else Spelling(named)

    def read(self, columns: Columns) -> Target:
        """Read the targets of a chunk. While the classes are being learned, any label may become one."""
        labels = self.read_labels(columns)
        rejects = self.encode(labels)[1]
        weights = None
        if self._schema.weight is not None:
            weights, bad = self._weights(columns, self._schema.weight)
            rejects += bad
        groups = None
        if self._schema.group is not None:
            seed = xxhash.xxh64_intdigest(self._schema.group.encode())
            groups = fingerprints(columns.text(self._schema.group), seed)
            MissingTexts(self._schema.missing, seed).drop_from(groups)
        return Target(labels, weights, groups, rejects)

    def read_labels(self, columns: Columns) -> Labels:
        """Read the labels of a chunk as texts."""
        return read_labels(columns, self._schema.label, self._stated, self._schema.missing)

    def encode(self, labels: Labels) -> tuple[npt.NDArray[np.int32], list[Reject]]:
        """Return the class of each row, (R,), and the rows whose label is none.

        A class is an index; -1 in a row that is rejected, and in all while the classes are being learned.
        """
        texts, written, places = labels
        found = [self.place(text) for text in texts]
        reasons = [self.reason(text, label) for text, label in zip(texts, found, strict=True)]
        bad = np.array([reason is not None for reason in reasons])[places]
        rejects = [
            Reject(row, self._schema.label, written[places[row]], reasons[places[row]] or "")
            for row in np.flatnonzero(bad).tolist()
        ]
        return np.array(found, dtype=np.int32)[places], rejects

    def place(self, text: str | bytes | None) -> int:
        """Return the class of a label; -1 where it is none, or not known yet."""
        return self._spelling.place(text) if isinstance(text, str) else -1

    def reason(self, text: str | bytes | None, label: int) -> str | None:
        """Why a label cannot be used; None for one that can."""
        if text is None:
            return MISSING
        if isinstance(text, bytes):
            return "the label is not UTF-8"
        if text in ("inf", "-inf"):
            return "the label is infinite"
        return f"the label is not a class: {', '.join(self._classes)}" if self._classes and label < 0 else None

    def _weights(self, columns: Columns, name: str) -> tuple[npt.NDArray[np.float32], list[Reject]]:
        numbers, bad = read_numbers(columns, name, self._schema.missing)
        with np.errstate(over="ignore"):
            weights = numbers.astype(np.float32)
        rejects = []
        for row in np.flatnonzero(bad | ~np.isfinite(weights) | (weights < 0)):
            reason = NOT_A_NUMBER if bad[row] else "the weight is missing, negative or too large"
            rejects.append(columns.reject(int(row), name, reason))
        return weights, rejects

    def fit_chunk(self, labels: Labels, accepted: npt.NDArray[np.int64]) -> None:
        """Count the labels of rows that are accepted."""
        self._seen.update(labels.counts(accepted))
        self._check_number()

    def learned(self) -> npt.NDArray[np.uint8]:
        """Return the rows of each label, for `add_learned` of another."""
        return np.frombuffer(msgspec.json.encode(dict(sorted(self._seen.items()))), dtype=np.uint8)

    def add_learned(self, seen: npt.NDArray[np.uint8]) -> None:
        """Add what another has counted."""
        self._seen.update(msgspec.json.decode(seen.tobytes(), type=dict[str, int]))
        self._check_number()

    def _check_number(self) -> None:
        if len(self._seen) > MAX_CLASSES:
            raise DataError(
                "the label has too many values to be a class",
                where=f"column {self._schema.label}",
                expected=f"at most {MAX_CLASSES} classes",
                got=", ".join(sorted(self._seen)[:5]) + ", ...",
                fix="choose the column with the class of an example, or make one of 0 and 1 by a threshold",
            )

    def finish(self) -> tuple[Schema, tuple[str, ...]]:
        """Return the schema with the classes, and what people should know of them.

        Raises
        ------
        DataError
            As `decide` does.
        """
        classes, notes = self.decide(self._seen)
        positive = classes[1] if len(classes) == 2 else None
        return msgspec.structs.replace(self._schema, classes=classes, positive=positive), notes

    def decide(self, seen: Mapping[str, int]) -> Classes:
        """Fix the classes, of the rows of each label.

        Raises
        ------
        DataError
            As `decide_classes` does; of classes that are stated, where fewer than two occur.
        """
        if not self._classes:
            decided = decide_classes(seen, self._schema.label, self._schema.positive)
            self._know(decided.texts)
            return decided
        met = {self._spelling.place(text) for text in seen}
        if len(met) < 2 and not (met and self.allow_one_class):
            raise one_class(seen, self._schema.label)
        return Classes(self._classes)
