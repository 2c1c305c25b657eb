"""A log through an encoder, chunk by chunk, with every message naming its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fieldwise.data.chunk import Chunk
from fieldwise.data.log import Log
from fieldwise.data.read_report import reject_lines
from fieldwise.errors import DataError, UserError
from fieldwise.features.encoder import Encoded, Encoder, Reject

__all__ = ["encode_log", "naming", "rejected_rows"]


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the file before the place of an error of the user's that lies in the data, or has no place."""
    try:
        yield
    except UserError as error:
        if error.where is not None and (path in str(error.where) or not isinstance(error, DataError)):
            raise
        where = path if error.where is None else f"{path}: {error.where}"
        raise type(error)(error.what, where=where, expected=error.expected, got=error.got, fix=error.fix) from None


def encode_log(
    log: Log, encoder: Encoder, *, labelled: bool, extra: Sequence[str] = ()
) -> Iterator[tuple[Chunk, Encoded]]:
    """Yield the chunks of a log and what the encoder makes of them, in order; parsed and encoded by threads.

    Parameters
    ----------
    log, encoder
        Raw rows, and what encodes them.
    labelled
        Whether label, weight and group are read as well.
    extra
        More columns that the chunks shall carry.
    """
    schema = encoder.schema
    of_label = (schema.label, schema.weight, schema.group) if labelled else ()
    columns = dict.fromkeys([*schema.columns, *(name for name in of_label if name is not None), *extra])

    def encode(chunk: Chunk) -> tuple[Chunk, Encoded]:
        with naming(chunk.path):
            return chunk, encoder.transform(chunk.table, labelled=labelled)

    return log.map(encode, list(columns))


def rejected_rows(chunk: Chunk, rejects: Sequence[Reject]) -> Iterator[dict[str, Any]]:
    """Yield a line for a rejects file for every row of a chunk that could not be read or encoded.

    `rejects` are those of the encoder, their rows being positions in ``chunk.table``.
    """
    yield from reject_lines(chunk)
    for bad in rejects:
        row = int(chunk.rows[bad.row])
        yield {"file": chunk.path, "row": row, "column": bad.column, "value": bad.value, "reason": bad.reason}
