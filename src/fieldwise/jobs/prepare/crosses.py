"""Crosses of a log: those that its configuration lists, and those that the program finds (``data.crosses``).

What was found is kept beside the prepared log that it was found in (``crosses.json``), so it is looked for once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.cache import Cache
from fieldwise.errors import ResourceError, UserError
from fieldwise.events import Listener, Noted, Preparing
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.kernels.layout import Examples, join
from fieldwise.profile.crosses import FoundCrosses, find_crosses

__all__ = [
    "CROSSES_NAME",
    "found_crosses",
    "is_search_missing",
    "read_crosses",
    "with_found",
]

CROSSES_NAME = "crosses.json"
_FORMAT, _VERSION = "fieldwise-crosses", 1
_MAX_EXAMPLES, _FEWEST_ASIDE = 500_000, 1000


def with_found(config: Config, found: FoundCrosses) -> Config:
    """Return the configuration with the crosses that were found in place of ``auto``."""
    listed = tuple(cross.fields for cross in found.crosses)
    return config.changed("data", crosses=listed)


def found_crosses(prepared: Prepared, listen: Listener) -> FoundCrosses:
    """Look for crosses in the training rows of a log that was prepared without any, or say again what was found.

    What stays of them lowers the loss of validation rows, where there are a thousand or more: in a log in the order of
    time what holds for days that were is no use for those to come.

    Where the label has more than two classes there is no search.
    """
    path = prepared.folder / CROSSES_NAME
    if path.exists():
        return read_crosses(path)
    started = time.monotonic()
    train, schema = prepared.parts["train"], prepared.encoder.schema
    if len(schema.classes) != 2:
        return FoundCrosses(crosses=[], examples=0, fields_left_out={"": "the label has more than two classes"})
    examples = _some(train, _MAX_EXAMPLES)
    assert examples.labels is not None, "training rows have labels"
    num_aside = 0
    if (valid := prepared.parts.get("valid")) is not None and valid.num_examples >= _FEWEST_ASIDE:
        aside = _some(valid, len(examples.labels) // 3)
        examples, num_aside = _joined(examples, aside), aside.batch.num_examples
    of_crosses = [number for number, field in enumerate(schema.fields) if field.type == "cross"]

    def progress(done: int, total: int) -> None:
        listen(Preparing("crosses", done, total, time.monotonic() - started, "pairs"))

    assert examples.labels is not None, "both have labels"
    found = find_crosses(
        examples.batch,
        train.layout,
        examples.labels,
        examples.weights,
        names=[field.name for field in schema.fields],
        without=of_crosses,
        num_aside=num_aside,
        progress=progress,
    )
    with suppress(UserError, ResourceError):  # a folder that cannot be written is searched again
        write_manifest(path, found, format=_FORMAT, version=_VERSION)
    listen(Noted(_in_words(found)))
    return found


def is_search_missing(prepared: Prepared) -> bool:
    """Whether crosses can be looked for in a prepared log, were not, and none are in it."""
    schema = prepared.encoder.schema
    has_some = any(field.type == "cross" for field in schema.fields)
    return len(schema.classes) == 2 and not has_some and not (prepared.folder / CROSSES_NAME).exists()


def _some(cache: Cache, most: int) -> Examples:
    """Return at most so many examples, evenly spread."""
    return cache.gather(np.arange(0, cache.num_examples, max(-(-cache.num_examples // max(most, 1)), 1)))


def _joined(one: Examples, other: Examples) -> Examples:
    """Return the examples of both, in order."""
    assert one.labels is not None, "training rows have labels"
    assert other.labels is not None, "validation rows have labels"
    weights = None
    if one.weights is not None and other.weights is not None:
        weights = np.concatenate([one.weights, other.weights])
    labels = np.concatenate([one.labels, other.labels])
    return Examples(join([one.batch, other.batch]), labels, weights, None)


def read_crosses(path: Path) -> FoundCrosses:
    """Return what an earlier search has found.

    Raises
    ------
    ArtefactError
        The file is damaged.
    """
    return read_manifest(path, FoundCrosses, format=_FORMAT, version=_VERSION)[0]


def _in_words(found: FoundCrosses) -> str:
    if not found.crosses:
        return f"no cross adds to what its fields say ({counted(found.pairs_tried, 'pair')} tried)"
    count = counted(len(found.crosses), "cross adds", "crosses add")
    shown = ", ".join(f"{' x '.join(cross.fields)} (-{cross.gain:.4f})" for cross in found.crosses[:5])
    more = ", ..." if len(found.crosses) > 5 else ""
    return f"{count} to what the fields say, by logloss on held-out rows: {shown}{more}"
