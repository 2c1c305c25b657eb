"""Crosses of a log: those that its configuration lists, and those that the program finds (``data.crosses``).

What was found is kept beside the prepared log that it was found in (``crosses.json``), so it is looked for once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fieldwise.config import Config
from fieldwise.errors import ResourceError, UserError
from fieldwise.events import Listener, Noted, Preparing
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.profile.crosses import find_crosses

if TYPE_CHECKING:
    from fieldwise.jobs.prepare.prepare import Prepared

__all__ = [
    "CROSSES_NAME",
    "FoundCross",
    "FoundCrosses",
    "found_crosses",
    "read_crosses",
    "with_found",
    "without_crosses",
]

CROSSES_NAME = "crosses.json"
_FORMAT, _VERSION = "fieldwise-crosses", 1
_MAX_EXAMPLES = 500_000


class FoundCross(msgspec.Struct, frozen=True, kw_only=True):
    """A cross that says more than its fields.

    Attributes
    ----------
    fields
        Their names, two or three.
    gain
        By how much it lowers the logloss of rows that were not used to choose, per example, beside those before it.
    deviations
        The same in standard deviations.
    """

    fields: tuple[str, ...]
    gain: float
    deviations: float


class FoundCrosses(msgspec.Struct, frozen=True, kw_only=True):
    """What a search for crosses came to.

    Attributes
    ----------
    crosses
        The largest gain first.
    examples
        How many training rows were looked at, evenly spread.
    pairs_tried, triples_tried
        How many crosses were judged.
    fields_left_out
        Fields that took no part, and why.
    logloss
        Of rows put aside: logistic regression on single fields, and with the crosses; None where nothing was searched.
    seconds
        What it took.
    """

    crosses: list[FoundCross]
    examples: int
    pairs_tried: int = 0
    triples_tried: int = 0
    fields_left_out: dict[str, str] = {}
    logloss: tuple[float, float] | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def with_found(config: Config, found: FoundCrosses) -> Config:
    """Return the configuration with the crosses that were found in place of ``auto``."""
    listed = tuple(cross.fields for cross in found.crosses)
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, crosses=listed))


def without_crosses(config: Config) -> Config:
    """Return the configuration of the log in which crosses are looked for."""
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, crosses="none"))


def found_crosses(prepared: Prepared, listen: Listener) -> FoundCrosses:
    """Look for crosses in the training rows of a log that was prepared without any, or say again what was found.

    Where the label has more than two classes there is no search.
    """
    path = prepared.folder / CROSSES_NAME
    if path.exists():
        return read_crosses(path)
    started = time.monotonic()
    train, schema = prepared.parts["train"], prepared.encoder.schema
    if len(schema.classes) != 2:
        return FoundCrosses(crosses=[], examples=0, fields_left_out={"": "the label has more than two classes"})
    every = -(-train.num_examples // _MAX_EXAMPLES)
    examples = train.gather(np.arange(0, train.num_examples, every))
    assert examples.labels is not None, "training rows have labels"
    names = [field.name for field in schema.fields]
    of_crosses = [number for number, field in enumerate(schema.fields) if field.type == "cross"]

    def progress(done: int, total: int) -> None:
        listen(Preparing("crosses", done, total, time.monotonic() - started, "pairs"))

    search = find_crosses(
        examples.batch, train.layout, examples.labels, examples.weights, without=of_crosses, progress=progress
    )
    found = FoundCrosses(
        crosses=[
            FoundCross(
                fields=tuple(names[field] for field in cross.fields), gain=cross.gain, deviations=cross.deviations
            )
            for cross in search.crosses
        ],
        examples=len(examples.labels),
        pairs_tried=search.pairs_tried,
        triples_tried=search.triples_tried,
        fields_left_out={names[field]: reason for field, reason in search.left_out.items()},
        logloss=search.logloss,
        seconds=time.monotonic() - started,
    )
    with suppress(UserError, ResourceError):  # a folder that cannot be written is searched again
        write_manifest(path, found, format=_FORMAT, version=_VERSION)
    listen(Noted(_in_words(found)))
    return found


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
        return f"no cross says more than its fields ({found.pairs_tried:,} pairs tried)"
    count = "1 cross says" if len(found.crosses) == 1 else f"{len(found.crosses)} crosses say"
    shown = ", ".join(f"{' x '.join(cross.fields)} (-{cross.gain:.4f})" for cross in found.crosses[:5])
    more = ", ..." if len(found.crosses) > 5 else ""
    return f"{count} more than the fields, by logloss on rows put aside: {shown}{more}"
