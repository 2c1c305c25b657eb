"""What preparing may take of memory, and where it goes.

The limit is on anonymous memory of the process: what cannot be dropped. Pages of mapped files come and go as the system
likes and do not count. It is shared out::

    what the process holds already, and compiled kernels
    chunks       being read, worked on and written: three eighths of the rest at most
    fixed        hashed fields and sketches of numbers: known from the schema
    counts       of the values of vocabularies: beyond this they go to disk, sorted, and are merged at the end
    tables       finished vocabularies: beyond this they lie in mapped files
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fieldwise.data.chunk import MAX_CHUNK_BYTES
from fieldwise.errors import ConfigError, ResourceError
from fieldwise.io.memory import available_bytes, held_bytes, readable_bytes
from fieldwise.kernels.threads import num_threads
from fieldwise.schema import Schema

__all__ = ["Budget", "parse_bytes"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_COMPILED_BYTES = 100 << 20  # numba's compiler, when kernels are not in its cache yet
_LEAST_CHUNK_BYTES = 1 << 20
_LARGEST_CHUNK_BYTES = 4 * MAX_CHUNK_BYTES  # thousands of fields: each costs some 80 microseconds a chunk
_LEAST_COUNTS_BYTES = 16 << 20
_COPIES_OF_A_CHUNK = 3  # raw, as text and fingerprints, encoded
_SKETCH_BYTES = 6 << 20
_UNKNOWN = 4 << 30  # where the system does not say what is free


def parse_bytes(text: str) -> int:
    """Read a number of bytes as people write it.

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("1.5 gb"), parse_bytes("800MB")
    (2000000000, 1500000000, 800000000)
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT]?[bB]?)\s*", text)
    unit = match.group(2).upper() if match else "?"
    unit = unit if unit in _UNITS else unit + "B"
    if match is None or unit not in _UNITS:
        raise ConfigError("invalid amount of memory", where="memory", expected="as in 2GB or 800MB", got=text)
    return int(float(match.group(1)) * _UNITS[unit])


class Budget(NamedTuple):
    """The shares of a limit.

    Attributes
    ----------
    limit
        Of the whole process.
    fixed_bytes
        What the process holds already, and what hashed fields, sketches and compiled kernels take.
    chunks_bytes
        All chunks that are in work at a time, and their copies.
    chunk_bytes
        Of one chunk as it is read.
    counter_bytes
        Of the counts in memory, before they go to disk: what they may take soon (`Encoder.counter_bytes`).
    table_bytes
        Of finished tables in memory.
    """

    limit: int
    fixed_bytes: int
    chunks_bytes: int
    chunk_bytes: int
    counter_bytes: int
    table_bytes: int

    @classmethod
    def of(cls, schema: Schema, limit: int | None) -> Budget:
        """Share out a limit; half of what is free unless given.

        Raises
        ------
        ResourceError
            It cannot be done within the limit; the message says what is needed.
        """
        held = held_bytes()
        if limit is None:
            limit = held + (available_bytes() or _UNKNOWN) // 2
        fixed = held + _COMPILED_BYTES + _fixed_bytes(schema)
        rest = limit - fixed
        num_copies = (num_threads() + 4) * _COPIES_OF_A_CHUNK  # waiting, in work, done, being written
        least = num_copies * _LEAST_CHUNK_BYTES * 4 // 3 + 4 * _LEAST_COUNTS_BYTES
        if rest < least:
            raise ResourceError(
                "preparing does not fit in this memory",
                where="memory",
                expected=f"{readable_bytes(fixed + least)} or more",
                got=readable_bytes(limit),
                fix="allow more with memory; hash fewer fields into fewer buckets; use fewer threads",
            )
        chunk_bytes = min(max(rest * 3 // 8 // num_copies, _LEAST_CHUNK_BYTES), _LARGEST_CHUNK_BYTES)
        rest -= chunk_bytes * num_copies
        return cls(limit, fixed, chunk_bytes * num_copies, chunk_bytes, rest - rest // 4, rest // 4)


def _fixed_bytes(schema: Schema) -> int:
    buckets = sum(8 * field.buckets for field in schema.fields if field.buckets is not None)
    numbers = sum(field.numeric for field in schema.fields)
    return buckets + _SKETCH_BYTES * numbers
