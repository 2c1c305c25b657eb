"""The proof that values are gone: every file of a run is searched for them.

* Any file: the 8 bytes of each fingerprint, at any place.
* Vocabularies: each of their texts is compared. (Texts lie end to end there, so a text's bytes may well be found across
  two others.)
* Parquet, whose pages are compressed: each cell of text, and each text of a list.
* All others: the bytes of each text that do not stand inside a longer word.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldwise.events import Listener, Preparing, ignore
from fieldwise.features.canonical import canonical, is_list, is_text, plain
from fieldwise.features.vocabulary import FIRST
from fieldwise.io.arrays import load_arrays
from fieldwise.io.files import explaining

__all__ = ["Proof", "search"]

_PIECE = 1 << 24
_TEXTS, _OFFSETS = ".text_bytes", ".text_offsets"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was searched, and what was found.

    Attributes
    ----------
    files, num_bytes
        How many.
    fingerprints, texts
        How many were looked for.
    left
        Where one was found: the file, and what; empty where all are gone.
    """

    files: int
    num_bytes: int
    fingerprints: int
    texts: int
    left: list[str]


def search(
    files: Iterable[Path], keys: npt.NDArray[np.uint64], values: Sequence[str], listen: Listener = ignore
) -> Proof:
    """Search files for fingerprints (K,) and texts; see the module."""
    files, keys, started = list(files), np.unique(keys), time.perf_counter()
    left: list[str] = []
    for number, path in enumerate(files, 1):
        left += [f"{path}: {what}" for what in _found_in(path, keys, values)]
        listen(Preparing("search", number, len(files), time.perf_counter() - started, "files"))
    num_bytes = sum(path.stat().st_size for path in files)
    return Proof(files=len(files), num_bytes=num_bytes, fingerprints=len(keys), texts=len(values), left=left)


def _found_in(path: Path, keys: npt.NDArray[np.uint64], values: Sequence[str]) -> Iterator[str]:
    with explaining(path):
        if _has_fingerprint(path, keys):
            yield "the bytes of a fingerprint"
        if path.suffix == ".parquet":
            found = _in_parquet(path, values)
        elif path.suffix == ".safetensors":
            found = _in_vocabularies(path, values)
        else:
            found = _in_bytes(path, values)
    yield from found


def _has_fingerprint(path: Path, keys: npt.NDArray[np.uint64]) -> bool:
    """Whether one of the keys stands at any of the places of a file, eight of which share a word."""
    if not len(keys):
        return False
    with path.open("rb") as file:
        rest = b""
        while piece := file.read(_PIECE):
            data = rest + piece
            for first in range(min(8, len(data))):
                words = np.frombuffer(data, "<u8", max(len(data) - first, 0) // 8, first)
                if np.isin(words, keys).any():
                    return True
            rest = data[-7:]
    return False


def _in_vocabularies(path: Path, values: Sequence[str]) -> list[str]:
    arrays, wanted = load_arrays(path), {value.encode() for value in values}
    lengths = np.unique([len(text) for text in wanted])
    found: list[str] = []
    for name in (key.removesuffix(_TEXTS) for key in arrays if key.endswith(_TEXTS)):
        content, ends = arrays[name + _TEXTS], arrays[name + _OFFSETS]
        places = np.flatnonzero(np.isin(np.diff(ends), lengths)).tolist()
        texts = {place: content[ends[place] : ends[place + 1]].tobytes() for place in places}
        found += [f"the text of feature {at + FIRST} of field {name}" for at, text in texts.items() if text in wanted]
    return found


def _in_parquet(path: Path, values: Sequence[str]) -> list[str]:
    found, wanted = [], canonical(pa.array(values, pa.large_string())).cast(pa.large_string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if any(pc.any(pc.is_in(texts, wanted)).as_py() for texts in _texts(column)):
                    found.append(f"a cell of column {name}")
    return list(dict.fromkeys(found))


def _texts(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the texts of a column, of a list or a bag with weights those of its parts; none of numbers."""
    if pa.types.is_map(column.type):
        yield from _texts(column.keys)
    elif is_list(column.type):
        yield from _texts(column.flatten())
    elif pa.types.is_struct(column.type):
        for part in column.flatten():
            yield from _texts(part)
    elif is_text(column.type):
        yield plain(canonical(column)).cast(pa.large_string())


def _in_bytes(path: Path, values: Sequence[str]) -> list[str]:
    words = b"|".join(re.escape(value.encode()) for value in values)
    pattern = re.compile(rb"(?<![\w.\-])(?:" + words + rb")(?![\w\-]|\.\w)")
    return ["the text of a value"] if values and pattern.search(path.read_bytes()) else []
