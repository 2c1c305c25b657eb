"""``fieldwise forget``: take values of a field, such as a person's, out of everything that a run keeps.

::

    bundle/, versions/N/, refused/N/   vocabularies, texts and counts; the rows of their features are zeros, and of
                                       co-occurrence bags there are neither theirs nor they in others'
    state/N/                           the same rows, weights and optimizer's state; what is remembered of rare values
    heldout/, waiting/                 the rows of the log that have one of the values
    report.*, updates.*, card.md       removed: they may show a value
    logs that are named                likewise: what a server logged
    prepared logs that are named       removed: they are made again from the log, which is not ours to change

Each file is written aside and renamed. Before the first a note is left in the run (``forgetting.json``: which bundle
had which digest, nothing of the values), and removed when all is done: broken off anywhere, the same command ends it,
and until then the run is not updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fieldwise.bundle import FORGETTING_NAME, bundle_digest, open_bundle, remove_stale
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.events import Listener, ignore
from fieldwise.features.encoder import Encoder
from fieldwise.features.forgetting import check_forgettable, fingerprints_of, forget_values
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.io.files import discard, explaining, remove_unfinished, write_bytes
from fieldwise.jobs.forget.logs import forget_rows, log_files
from fieldwise.jobs.forget.model import end_renames, forget_in_bundle, forget_in_state
from fieldwise.jobs.forget.proof import Proof, search
from fieldwise.jobs.prepare.prepared import PREPARED_NAME
from fieldwise.jobs.result import Result
from fieldwise.jobs.run import RUN_NAME, amend_run, holding_run
from fieldwise.jobs.update.holdout import HELD_OUT_NAME
from fieldwise.jobs.update.versions import Versions, versions_in
from fieldwise.jobs.update.waiting import WAITING_NAME, forget_keys
from fieldwise.outcome import Outcome
from fieldwise.training.checkpoint import checkpoint_state, set_checkpoint_state

__all__ = ["Forgetting", "forget"]

_FORGOTTEN = "(forgotten)"
_REPORT = "report.html", "report.json", "card.md", "updates.html", "updates.json"
_STATES = "state", "initial"
"""Folders of checkpoints in a run: what updates go on from, and what other models begin with."""


class Forgetting(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What was forgotten.

    Attributes
    ----------
    field
        The field that was named.
    values, found
        How many values were given, and how many of them a version of the model knew.
    features
        Features that are free now, of all versions together, by field.
    bundles, states
        Folders that were rewritten, relative to the run.
    rows
        Rows that were removed from logs, by file.
    removed
        Prepared logs that were removed, and the run's report, which may show a value: `fieldwise report` draws another.
    proof
        What was searched afterwards, and what was found.
    stays
        What of the values' rows is not taken back.
    """

    field: str
    values: int
    found: int
    features: dict[str, int]
    bundles: list[str]
    states: list[str]
    rows: dict[str, int]
    removed: list[str]
    proof: Proof
    stays: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().as_dict(), "proven": not self.proof.left}


def forget(
    run: str | Path,
    field: str,
    values: Sequence[str],
    *,
    served: Sequence[str | Path] = (),
    prepared: Sequence[str | Path] = (),
    listen: Listener = ignore,
) -> Forgetting:
    """Take values of a field out of a finished run, and search all of its files for what is left.

    A version that is open answers as before; who opens it afterwards reads the values as *unseen*. No other answer
    changes but for rows whose co-occurrence bags had the values.

    Parameters
    ----------
    run
        A run folder.
    field
        A field of categories, or a bag; all fields that read its column forget the values, and so do their crosses.
    values
        Texts, as they stand in the log.
    served
        Folders of what a server logged, or Parquet files.
    prepared
        Folders of prepared logs, which are removed: one, or a ``.fieldwise`` of many.
    listen
        Called with `events.Preparing` events.

    Raises
    ------
    ArtefactError
        There is no finished run, a file of it is damaged, or what is named is not there.
    ConfigError
        There is no such field; no value is given; another process works in the run.

    Examples
    --------
    >>> import fieldwise as fw
    >>> fw.forget("runs/first", "user_id", ["u1093"]).proof.left  # doctest: +SKIP
    []
    """
    run, values = Path(run), list(dict.fromkeys(value for value in values if value))
    if not values:
        raise ConfigError("there is nothing to forget", where="--values", expected="a value a line", got="none")
    logs, of_prepared = log_files(served), _prepared(prepared)
    with holding_run(run, forgets=True):
        done = _Forgetter(field, values)
        for inner in sorted(path.parent for path in run.rglob(RUN_NAME)):  # the initial model's run lies in it
            done.forget_in_run(inner, run)
        for path in logs:
            done.forget_in_log(path)
        for folder in of_prepared:
            discard(folder)
        files = [path for path in sorted(run.rglob("*")) if path.is_file()]
        return Forgetting(
            field=field,
            values=len(values),
            found=int(done.found.sum()),
            features=done.features,
            bundles=done.bundles,
            states=done.states,
            rows=done.rows,
            removed=[*done.removed, *map(str, of_prepared)],
            proof=search([*files, *logs], done.keys, values, listen),
            stays=_stays(field, sorted(done.hashed)),
        )


class _Forgetter:
    """Goes through runs that this process holds, and keeps count."""

    def __init__(self, field: str, values: list[str]) -> None:
        self.field, self.values = field, values
        self.found = np.zeros(len(values), dtype=np.bool_)
        self.keys = self.own_keys = np.zeros(0, dtype=np.uint64)
        self.features: dict[str, int] = {}
        self.hashed: set[str] = set()
        self.bundles: list[str] = []
        self.states: list[str] = []
        self.rows: dict[str, int] = {}
        self.removed: list[str] = []
        self._encoder: Encoder

    def forget_in_run(self, run: Path, outer: Path) -> None:
        """Rewrite all that a run keeps."""
        self.run, self.outer = run, outer
        for name in _STATES:
            end_renames(run / name)
        remove_unfinished(run, everywhere=True)
        self._forget_in_models()
        self._forget_in_records()
        for path in sorted([*(run / HELD_OUT_NAME).glob("*.parquet"), *(run / WAITING_NAME).glob("rows-*.parquet")]):
            self.forget_in_log(path)
        if self._encoder.schema.id == self._encoder.fields[self.field].field.column:
            self.keys = np.union1d(self.keys, forget_keys(run / WAITING_NAME, self.values))
        with explaining(run):
            (run / FORGETTING_NAME).unlink()

    def forget_in_log(self, path: Path) -> None:
        """Remove the rows of a log that have one of the values."""
        if num_gone := forget_rows(path, self._encoder, self.field, self.own_keys):
            self.rows[str(path)] = num_gone

    def _forget_in_models(self) -> None:
        """Rewrite all bundles, and before each the states that belong to it: what is to go is known of the bundle."""
        check_forgettable(open_bundle(self.run / "bundle").encoder, self.field)
        bundles = _noted(self.run)
        states: dict[str, list[Path]] = {}
        for folder in (folder for name in _STATES for folder in versions_in(self.run / name)):
            states.setdefault(checkpoint_state(folder).get("bundle", bundles["bundle"]), []).append(folder)
        done: set[Path] = set()
        for name, digest in bundles.items():
            folder = self.run / name
            bundle = open_bundle(folder).verify()
            self._encoder = bundle.encoder
            self._look(bundle.encoder)
            if self.found.any():
                for report in _REPORT:
                    self._remove(self.run / report)
            gone = forget_values(bundle.encoder, self.field, self.values)
            self.hashed.update(gone.hashed)
            self.keys = np.unique(np.concatenate([self.keys, *gone.keys.values()]))
            self.own_keys = np.union1d(self.own_keys, gone.keys[self.field])
            for state in set(states.get(digest, ())) - done:
                done.add(state)
                if forget_in_state(state, bundle, gone):
                    self.states.append(str(state.relative_to(self.outer)))
            if gone.encoder is not bundle.encoder:
                for field, ids in gone.ids.items():
                    self.features[field] = self.features.get(field, 0) + len(ids)
                forget_in_bundle(folder, bundle, gone)
                self.bundles.append(str(folder.relative_to(self.outer)))
            remove_stale(folder)
        for name, digest in bundles.items():
            for state in states.get(digest, ()):
                plain, now = checkpoint_state(state), bundle_digest(self.run / name)
                if plain.get("bundle", now) != now:
                    set_checkpoint_state(state, {**plain, "bundle": now})

    def _remove(self, path: Path) -> None:
        """Remove a file that may show a value; it is made again."""
        if path.exists():
            with explaining(path):
                path.unlink()
            self.removed.append(str(path))

    def _forget_in_records(self) -> None:
        """Take the values out of what the run tells people, and let it know its rewritten bundles."""
        column = self._encoder.fields[self.field].field.column
        names = {name for name, each in self._encoder.fields.items() if each.field.column == column}

        def change(result: Result) -> Result:
            if result.read is None:
                return result
            reasons = [
                msgspec.structs.replace(reason, value=_FORGOTTEN) if reason.value in self.values else reason
                for reason in result.read.reasons
            ]
            return msgspec.structs.replace(result, read=msgspec.structs.replace(result.read, reasons=reasons))

        def without(texts: list[str]) -> list[str]:
            for name in names:
                for value in self.values:
                    texts = [text.replace(f"{name}={value} ", f"{name}={_FORGOTTEN} ") for text in texts]
            return texts

        amend_run(self.run, change)
        versions = Versions(self.run)
        record = versions.open()
        days = [
            msgspec.structs.replace(
                day,
                reasons=without(day.reasons),
                warnings=without(day.warnings),
                by_slice={
                    field: {value: each for value, each in of.items() if field not in names or value not in self.values}
                    for field, of in day.by_slice.items()
                },
            )
            for day in record.days
        ]
        if days != record.days:
            versions.commit(msgspec.structs.replace(record, days=days))

    def _look(self, encoder: Encoder) -> None:
        """Note which of the values the encoder knows."""
        own = encoder.fields.get(self.field)
        if own is not None and own.field.column is not None and isinstance(getattr(own, "index", None), Vocabulary):
            table = pa.table({own.field.column: pa.array(self.values, pa.string())})
            keys, rows = fingerprints_of(encoder, self.field, table)
            self.found[rows[own.index.lookup(keys) >= FIRST]] = True  # type: ignore[attr-defined]


def _noted(run: Path) -> dict[str, str]:
    """Return the digest that each bundle of a run had when this began, by folder; note it first."""
    path = run / FORGETTING_NAME
    if path.exists():
        with explaining(path):
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    places = [run / "bundle"]
    for folder in (run / "versions", run / "refused"):
        places += versions_in(folder)
    noted = {str(place.relative_to(run)): bundle_digest(place) for place in places}
    write_bytes(path, msgspec.json.encode(noted))
    return noted


def _prepared(places: Sequence[str | Path]) -> list[Path]:
    """Return the prepared logs among folders, and in them."""
    found: list[Path] = []
    for place in map(Path, places):
        inside = sorted(path.parent for path in place.rglob(PREPARED_NAME))
        if not inside:
            expected = "the folder of a prepared log, or one that has some"
            raise ArtefactError("no prepared log found", where=place, expected=expected)
        found += inside
    return found


def _stays(field: str, hashed: list[str]) -> list[str]:
    stays = [
        "weights that all examples share (of the network, of other fields' features, biases) have learned from their "
        "rows as well; only training again without them takes that back",
        "the raw log, prepared logs and served logs that were not named, backups and exports",
    ]
    if hashed:
        stays.append(f"the weights of the buckets that the values share with others: field {', '.join(hashed)}")
    return stays
