"""What is learned of an example with several labels: what it says of all of them together, as one text and one number.

In a chunk the L labels of a row are one text, the JSON list of their texts (null where one is missing), and encoded
they are one code (`kernels.joint_labels`). So reading, learning, preparing and the cache carry them as one label.

A row is left out where it says nothing of any label; where one of its texts is no class; and where it is positive of a
label and negative of the one among which that is counted. Where it is negative of the latter, a missing label is
negative: what was not clicked has not been bought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns, Reject
from fieldwise.features.labels import Labels
from fieldwise.features.target import MAX_CLASSES, MISSING, TargetEncoder
from fieldwise.kernels.joint_labels import MISSING_LABEL, join_labels, label_states
from fieldwise.schema import Label, Schema

__all__ = ["JointTargetEncoder", "target_encoder"]


def target_encoder(schema: Schema) -> TargetEncoder:
    """Return what learns the classes of the label, or of each of several."""
    return JointTargetEncoder(schema) if schema.labels else TargetEncoder(schema)


class JointTargetEncoder(TargetEncoder):
    """A `TargetEncoder` of several labels, of two classes each."""

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self._each = [TargetEncoder(_alone(schema, label)) for label in schema.labels]
        columns = schema.label_columns
        self._among = [None if label.among is None else columns.index(label.among) for label in schema.labels]
        self._classes_known = all(label.classes for label in schema.labels)

    def read_labels(self, columns: Columns) -> Labels:
        """Read the labels of a chunk, and put those of each row together."""
        found = [target.read_labels(columns) for target in self._each]
        joint = np.zeros(len(found[0].places), dtype=np.int64)
        for labels in found:
            joint = joint * len(labels.texts) + labels.places
        met, places = np.unique(joint, return_inverse=True)
        of_each: list[npt.NDArray[np.int64]] = []
        for labels in reversed(found):
            met, place = np.divmod(met, len(labels.texts))
            of_each.insert(0, place)
        rows = list(zip(*(place.tolist() for place in of_each), strict=True))
        texts = [_joined([labels.texts[at] for labels, at in zip(found, row, strict=True)]) for row in rows]
        written = [_joined([labels.written[at] for labels, at in zip(found, row, strict=True)]) for row in rows]
        return Labels(texts, [str(text) for text in written], places)

    def encode(self, labels: Labels) -> tuple[npt.NDArray[np.int32], list[Reject]]:
        """Return the code of each row, (R,), and the rows that cannot be used.

        -1 in a row that is rejected, and in all while the classes are being learned.
        """
        found = [self._judged(text, written) for text, written in zip(labels.texts, labels.written, strict=True)]
        rejects = []
        bad = np.array([isinstance(each, Reject) for each in found], dtype=np.bool_)[labels.places]
        for row in np.flatnonzero(bad).tolist():
            reject = found[labels.places[row]]
            assert isinstance(reject, Reject)
            rejects.append(reject._replace(row=row))
        codes = np.array([-1 if isinstance(each, Reject) else each for each in found], dtype=np.int32)
        return codes[labels.places], rejects

    def _judged(self, joint: str | bytes | None, written: str) -> int | Reject:
        """Return the code of a joint text, or why a row that has it cannot be used."""
        columns = self._schema.label_columns
        shown = _parts(written)
        if not isinstance(joint, str):
            return Reject(0, ", ".join(columns), ", ".join(map(str, shown)), "a label is not UTF-8")
        texts = _parts(joint)
        if not any(text is not None for text in texts):
            return Reject(0, columns[0], str(shown[0]), MISSING)
        places = [target.place(text) for target, text in zip(self._each, texts, strict=True)]
        for number, (target, text, place) in enumerate(zip(self._each, texts, places, strict=True)):
            reason = None if text is None else target.reason(text, place)
            if reason is not None:
                return Reject(0, columns[number], str(shown[number]), reason)
        if not self._classes_known:
            return -1
        states = [MISSING_LABEL if text is None else place for text, place in zip(texts, places, strict=True)]
        for number, among in enumerate(self._among):
            if among is None or states[among] != 0:
                continue
            if states[number] == 1:
                reason = f"the label is positive, and {columns[among]}, among which it is counted, is not"
                return Reject(0, columns[number], str(shown[number]), reason)
            states[number] = 0
        return int(join_labels([np.array([state]) for state in states])[0])

    def _check_number(self) -> None:
        if len(self._seen) > MAX_CLASSES:
            column, counts = max(self._by_label().items(), key=lambda each: len(each[1]))
            raise DataError(
                "the label has too many values to be a class",
                where=f"column {column}",
                expected="two classes, for several labels together",
                got=", ".join(sorted(counts)[:5]) + ", ...",
                fix="choose a column of 0 and 1, or make one by a threshold",
            )

    def _by_label(self) -> dict[str, Counter[str]]:
        """Return the rows of each text of each label."""
        found: dict[str, Counter[str]] = {column: Counter() for column in self._schema.label_columns}
        for joint, rows in self._seen.items():
            for counts, text in zip(found.values(), _parts(joint), strict=True):
                if text is not None:
                    counts[text] += rows
        return found

    def finish(self) -> tuple[Schema, tuple[str, ...]]:
        """Return the schema with the classes of each label, and what people should know of them.

        Raises
        ------
        DataError
            As `decide` does of a label; it has more than two classes.
        """
        labels: list[Label] = []
        notes: list[str] = []
        for label, target, (column, counts) in zip(
            self._schema.labels, self._each, self._by_label().items(), strict=True
        ):
            classes, of_label = target.decide(counts)
            if len(classes) > 2:
                raise DataError(
                    "several labels are learned together where each has two classes",
                    where=f"column {column}",
                    expected="two classes",
                    got=", ".join(classes[:6]) + (", ..." if len(classes) > 6 else ""),
                    fix="leave it out of data.labels, or make one of 0 and 1",
                )
            labels.append(msgspec.structs.replace(label, classes=classes, positive=classes[1]))
            notes += of_label
        self._each = [TargetEncoder(_alone(self._schema, label)) for label in labels]
        self._classes_known = True
        first = labels[0]
        self._schema = msgspec.structs.replace(
            self._schema, labels=tuple(labels), classes=first.classes, positive=first.positive
        )
        return self._schema, (*notes, *self._missing_labels())

    def _missing_labels(self) -> list[str]:
        """Say of each label how many rows say nothing of it."""
        found = [(self._judged(joint, joint), rows) for joint, rows in self._seen.items()]
        known = [(code, rows) for code, rows in found if isinstance(code, int)]
        notes = []
        for number, column in enumerate(self._schema.label_columns):
            missing = sum(rows for code, rows in known if label_states(np.array([code]), number)[0] == MISSING_LABEL)
            if missing:
                notes.append(
                    f"label {column}: {missing:,} of {sum(rows for _, rows in known):,} training rows have no value "
                    "for it, and are left out of its loss"
                )
        return notes


def _alone(schema: Schema, label: Label) -> Schema:
    """Return the schema as it is of one label alone."""
    return msgspec.structs.replace(
        schema, label=label.label, classes=label.classes, positive=label.positive, weight=None, group=None, labels=()
    )


def _joined(texts: Sequence[str | bytes | None]) -> str | bytes | None:
    """Return one text of several; bytes where one of them is not UTF-8."""
    if any(isinstance(text, bytes) for text in texts):
        return b"\xff"
    return msgspec.json.encode(texts).decode()


def _parts(joint: str) -> list[Any]:
    """Return what `_joined` has put together."""
    parts: list[Any] = msgspec.json.decode(joint, type=list[str | None])
    return parts
