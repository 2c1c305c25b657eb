"""Synthetic click logs with any number of rows, fields and features, and a known true model.

A log is generated in chunks with independent random streams. Memory holds one chunk, and 18 bytes per example for the
facts; a longer log begins with the shorter one of the same options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from fieldwise.counted import counted
from fieldwise.datasets.truth import Floats, Truth, auc_of_probabilities, draw_features, feature_counts, plant, sigmoid
from fieldwise.errors import ConfigError
from fieldwise.io.files import atomic_file, write_bytes

__all__ = ["PRESETS", "SynthOptions", "defined", "feature_codes", "make_synth", "planted"]

_MAX_CHUNK_ROWS = 1 << 16
_CHUNK_CELLS = 1 << 26
"""Rows times fields of a chunk: what bounds the memory, at about 8 bytes a cell."""
_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
_PRETRAIN_L2 = 300.0
"""On the valid part .7929, where 20 gave .7896 and 1,229 gave .7931:
docs/log/2026-11/initial-model.md#how-should-the-initial-logistic-regression-be-trained has the whole scan."""
_DIGITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


class SynthOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a synthetic log.

    Attributes
    ----------
    rows
        Number of examples, >= 1, of which four fifths are for training.
    fields
        Number of columns f000, f001, ...; >= 1, and >= 2 for a network.
    features
        Total number of features D, at least two per field. Rare ones may not occur in a short log.
    skew
        Exponent s of the frequencies, 0 to 4: the feature of rank r has a probability proportional to r^-s.
    truth
        The true model: ``linear``, a logistic regression, or ``network`` (see `truth`).
    best_auc
        The AUC of the true probabilities, .55 to .99.
    click_rate
        The mean of the true probabilities, .01 to .99.
    seed
        Random seed, >= 0.
    """

    rows: int = 1_000_000
    fields: int = 158
    features: int = 200_000
    skew: float = 2.0
    truth: Literal["linear", "network"] = "network"
    best_auc: float = 0.80
    click_rate: float = 0.25
    seed: int = 0

    def check(self) -> None:
        """Raise ConfigError if an option is out of range."""
        min_fields = 2 if self.truth == "network" else 1
        self._refuse(
            ("rows", self.rows >= 1, "1 or more"),
            ("fields", self.fields >= min_fields, f"{min_fields} or more"),
            ("features", self.features >= 2 * self.fields, f"at least two for each of {counted(self.fields, 'field')}"),
            ("skew", 0 <= self.skew <= 4, "0 to 4"),
            ("truth", self.truth in ("linear", "network"), "linear or network"),
            ("best_auc", 0.55 <= self.best_auc <= 0.99, "0.55 to 0.99"),
            ("click_rate", 0.01 <= self.click_rate <= 0.99, "0.01 to 0.99"),
            ("seed", self.seed >= 0, "0 or more"),
        )

    def _refuse(self, *checks: tuple[str, bool, str]) -> None:
        """Raise ConfigError for the first option of (name, whether it is valid, what is expected) that is not valid."""
        for name, valid, expected in checks:
            if not valid:
                raise ConfigError(
                    "invalid option of a synthetic log", where=name, expected=expected, got=getattr(self, name)
                )


PRESETS = {
    "appdata": SynthOptions(fields=158, features=8_672_633),
    "feedsdata": SynthOptions(fields=2311, features=8_522_742),
}
"""The sizes of the two logs of the paper; a million rows by default."""


class _DrawnChunk(NamedTuple):
    table: pa.Table
    logit: Floats
    linear: Floats
    click: npt.NDArray[np.int8]
    part: npt.NDArray[np.int8]


def make_synth(out: Path, options: SynthOptions, *, name: str = "synth") -> Path:
    """Write a synthetic log as ``NAME.parquet``, a configuration ``NAME.toml`` and facts ``NAME.json``.

    The facts are, for each part of the log: ``examples``; ``click_rate``; ``best``, the AUC and logloss of the true
    probabilities on these rows, which a model can only exceed by chance; and ``linear_auc``, the AUC of the linear part
    of the true model, which a logistic regression can only exceed by chance. Undefined metrics are null.

    Parameters
    ----------
    out
        Folder, created if it does not exist. Files with the same names are replaced.
    options
        See `SynthOptions`.
    name
        Name of the files.

    Returns
    -------
    Path
        The configuration.

    Raises
    ------
    ConfigError
        An option is out of range.
    """
    options.check()
    counts, truth = planted(options)
    drawn = []
    with (
        atomic_file(out / f"{name}.parquet") as file,
        pyarrow.parquet.ParquetWriter(file, _schema(options), compression="zstd") as writer,
    ):
        for chunk in _chunks(truth, counts, options):
            writer.write_table(chunk.table)
            drawn.append(chunk._replace(table=None))
    parts = (np.concatenate(arrays) for arrays in zip(*(chunk[1:] for chunk in drawn), strict=True))
    facts = _facts(*parts)
    facts = {"options": msgspec.to_builtins(options), **facts}
    write_bytes(out / f"{name}.json", json.dumps(facts, indent=1).encode() + b"\n")
    config = out / f"{name}.toml"
    write_bytes(config, _config(name, options).encode())
    return config


def planted(options: SynthOptions) -> tuple[npt.NDArray[np.int64], Truth]:
    """Return the number of features (F,) of each field, and the true model."""
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(0,)))
    counts = feature_counts(options.fields, options.features, rng)
    truth = plant(
        counts,
        options.skew,
        network=options.truth == "network",
        best_auc=options.best_auc,
        click_rate=options.click_rate,
        rng=rng,
    )
    return counts, truth


def defined(value: float) -> float | None:
    """Return a metric, or None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def _schema(options: SynthOptions) -> pa.Schema:
    digits = max(3, len(str(options.fields - 1)))
    fields = [(f"f{field:0{digits}d}", pa.string()) for field in range(options.fields)]
    return pa.schema([*fields, ("click", pa.int8()), ("split", pa.string())])


def _chunks(truth: Truth, counts: npt.NDArray[np.int64], options: SynthOptions) -> Iterator[_DrawnChunk]:
    """Draw the log in chunks, of a size that depends on the number of fields alone; the last one is cut."""
    size = min(_MAX_CHUNK_ROWS, max(_CHUNK_CELLS // options.fields, 1))
    bounds = np.cumsum(list(_SHARES.values()))[:-1]
    for number, start in enumerate(range(0, options.rows, size)):
        num_rows = min(size, options.rows - start)
        rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(1, number)))
        sums = truth.no_fields(num_rows)
        columns = []
        for field, count in enumerate(counts.tolist()):
            features = draw_features(rng.random(size)[:num_rows], count, options.skew)
            truth.add_field(sums, field, features)
            columns.append(feature_codes(features, count))
        logit = truth.logit(sums)
        click = (rng.random(size)[:num_rows] < sigmoid(logit)).astype(np.int8)
        part = np.searchsorted(bounds, rng.random(size)[:num_rows], side="right").astype(np.int8)
        split = pa.DictionaryArray.from_arrays(part, list(_SHARES)).cast(pa.string())
        table = pa.table([*columns, pa.array(click), split], schema=_schema(options))
        yield _DrawnChunk(table, logit, sums[0].copy(), click, part)


def feature_codes(features: npt.NDArray[np.int64], count: int) -> pa.Array:
    """Return the features as texts: in base 36, of one length per field, with a letter before that no number has."""
    length = 1 + len(np.base_repr(count - 1, 36))
    code = np.full((len(features), length), ord("v"), dtype=np.uint8)
    rest = features
    for place in range(length - 1, 0, -1):
        rest, digit = np.divmod(rest, 36)
        code[:, place] = _DIGITS[digit]
    offsets = np.arange(len(features) + 1, dtype=np.int32) * length
    return pa.StringArray.from_buffers(len(features), pa.py_buffer(offsets), pa.py_buffer(code))


def _facts(
    logit: Floats, linear: Floats, click: npt.NDArray[np.int8], part: npt.NDArray[np.int8]
) -> dict[str, dict[str, object]]:
    facts: dict[str, dict[str, object]] = {}
    for number, name in enumerate(_SHARES):
        mine = part == number
        y, margin = click[mine], np.where(click[mine] == 1, logit[mine], -logit[mine])
        facts[name] = {
            "examples": len(y),
            "click_rate": defined(y.mean()) if len(y) else None,
            "best": {
                "auc": defined(auc_of_probabilities(logit[mine], y)),
                "logloss": defined(np.logaddexp(0.0, -margin).mean()) if len(y) else None,
            },
            "linear_auc": defined(auc_of_probabilities(linear[mine], y)),
        }
    return facts


def _config(name: str, options: SynthOptions) -> str:
    return f"""\
# A synthetic click log of {options.rows:,} examples and {options.fields:,} fields with {options.features:,} features.
# Its truth is {"a network over one number per field" if options.truth == "network" else "a logistic regression"}.
# {name}.json says which AUC and logloss are the best possible on each part of it.
#
#   fieldwise compare {name}.toml --out runs/{name}

[data]
train = ["{name}.parquet"]  # relative to this file
split = "split"             # the column that says train, valid or test for each row
label = "click"

# Every other column is a field. They hold text, so each is a category; to say more of one of them:
#   [fields.f000]
#   min_count = 2

[pretrain.table]
l2 = {_PRETRAIN_L2:g}                    # rare features have small effects here; chosen on the valid part
"""
