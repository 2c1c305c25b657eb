"""What is learned of an example, and how it counts: label, weight and group."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from fieldwise.errors import DataError
from fieldwise.features.canonical import canonical, fingerprints, plain
from fieldwise.features.columns import Columns, Reject, reading
from fieldwise.features.missing import MissingTexts
from fieldwise.features.parse import NOT_A_NUMBER, parse_text, read_numbers
from fieldwise.schema import Schema

__all__ = ["MAX_CLASSES", "Target", "TargetEncoder"]

MAX_CLASSES = 1000
"""A label with more values than this is taken for a mistake: a number to regress on, or an identifier."""


_MISSING = "the label is missing"


def _coded_texts(columns: Columns, name: str) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the canonical texts of a column's values, and the place of each cell among them; one behind for a null."""
    found = columns.coded(name)
    with reading(name):
        texts = canonical(plain(found.dictionary))
    return texts, found.indices.cast(pa.int64()).fill_null(len(texts)).to_numpy(zero_copy_only=False)


def _decoded(texts: pa.Array) -> list[str | bytes | None]:
    """Return texts, and those that are not UTF-8 as bytes."""
    try:
        decoded: list[str | bytes | None] = texts.to_pylist()
    except UnicodeDecodeError:
        decoded = texts.cast(pa.large_binary()).to_pylist()
        for at, content in enumerate(decoded):
            with suppress(UnicodeDecodeError):
                decoded[at] = content.decode() if isinstance(content, bytes) else content
    return decoded


class Target(NamedTuple):
    """The targets of B examples."""

    labels: npt.NDArray[np.int32]
    """(B,): index into the classes; -1 in a row that is rejected, and in all while the classes are being learned."""
    weights: npt.NDArray[np.float32] | None
    """(B,), finite and >= 0."""
    groups: npt.NDArray[np.uint64] | None
    """(B,): fingerprints, 0 for missing."""
    rejects: tuple[Reject, ...]


class TargetEncoder:
    """Learns the classes, and reads label, weight and group.

    Parameters
    ----------
    schema
        Its `classes` are found in fitting where there are none; otherwise other labels are rejected.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._classes = schema.classes
        self._seen: set[str] = set()

    def read(self, columns: Columns) -> Target:
        """Read the targets of a chunk."""
        labels, rejects = self._labels(columns)
        weights = None
        if self._schema.weight is not None:
            weights, bad = self._weights(columns, self._schema.weight)
            rejects += bad
        groups = None
        if self._schema.group is not None:
            seed = xxhash.xxh64_intdigest(self._schema.group.encode())
            groups = fingerprints(columns.text(self._schema.group), seed)
            MissingTexts(self._schema.missing, seed).drop_from(groups)
        return Target(labels, weights, groups, tuple(rejects))

    def labels(self, label: pa.Array) -> tuple[npt.NDArray[np.int32], list[Reject]]:
        """Read the column of the label alone."""
        return self._labels(Columns(pa.table({self._schema.label: label})))

    def _labels(self, columns: Columns) -> tuple[npt.NDArray[np.int32], list[Reject]]:
        name = self._schema.label
        texts, at = _coded_texts(columns, name)
        found = pc.index_in(texts, value_set=pa.array(self._classes, texts.type)).fill_null(-1)
        of_text = np.append(found.to_numpy(zero_copy_only=False), -1).astype(np.int32)
        reasons = [self._reason(text, int(label)) for text, label in zip(_decoded(texts), of_text, strict=False)]
        reasons.append(_MISSING)
        bad = np.array([reason is not None for reason in reasons])
        rows = np.flatnonzero(bad[at]).tolist() if bad.any() else []
        rejects = [columns.reject(row, name, reasons[at[row]] or "") for row in rows]
        return of_text[at], rejects

    def _reason(self, text: str | bytes | None, label: int) -> str | None:
        """Why a label cannot be used; None for one that can."""
        if text is None or (label < 0 and text in self._schema.missing):
            return _MISSING
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

    def fit_chunk(self, columns: Columns) -> None:
        """Collect the classes of rows that are accepted."""
        texts, at = _coded_texts(columns, self._schema.label)
        self._seen.update(texts.take(pa.array(np.flatnonzero(np.bincount(at)))).to_pylist())
        self._check_number()

    def merge(self, other: TargetEncoder) -> None:
        """Add the classes that another has seen."""
        self._seen |= other._seen
        self._check_number()

    def learned(self) -> npt.NDArray[np.uint8]:
        """Return the classes that were seen, for `add_learned` of another."""
        return np.frombuffer(msgspec.json.encode(sorted(self._seen)), dtype=np.uint8)

    def add_learned(self, seen: npt.NDArray[np.uint8]) -> None:
        """Add the classes that another has seen."""
        self._seen |= msgspec.json.decode(seen.tobytes(), type=set[str])
        self._check_number()

    def _check_number(self) -> None:
        if len(self._seen) > MAX_CLASSES:
            raise DataError(
                "the label has too many values to be a class",
                where=f"column {self._schema.label}",
                expected=f"at most {MAX_CLASSES} classes",
                got=", ".join(sorted(self._seen)[:5]) + ", ...",
                fix="choose the column with the class of an example",
            )

    def finish(self) -> tuple[str, ...]:
        """Fix the classes, in order: by size if all are numbers, else by text."""
        if len(self._seen) < 2:
            raise DataError(
                "the training rows hold one class only" if self._seen else "there is no example to learn from",
                where=f"column {self._schema.label}",
                expected="two classes or more",
                got="".join(self._seen) or None,
                fix="take rows of every class into the training part",
            )
        if not self._classes:
            texts = sorted(self._seen)
            sizes, bad = parse_text(pa.array(texts))
            self._classes = tuple(texts if bad.any() else (texts[i] for i in np.argsort(sizes, kind="stable")))
        return self._classes
