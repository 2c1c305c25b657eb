"""The rows that a saved model is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fieldwise.bundle import Bundle
from fieldwise.data.chunk import FEW_BYTES
from fieldwise.data.csv import CsvOptions
from fieldwise.data.log import Log, open_log

__all__ = ["open_rows"]


@contextmanager
def open_rows(bundle: Bundle, data: str | Path | Sequence[str | Path], format: str | None) -> Iterator[Log]:
    """Open the log that a model is to be asked about, as its training log was written where names do not tell."""
    yield open_log(
        data,
        format=format,
        csv=msgspec.convert(bundle.csv, CsvOptions),
        chunk_bytes=FEW_BYTES,
        usual_format=bundle.format,
        allow_empty=True,
    )
