"""A synthetic click log in days, of a world that changes, with the best possible AUC of every day.

The true model of `datasets.truth`, whose features and effects change from day to day::

    v[d] on day t = sqrt(1 - drift) v[d] on day t - 1 + sqrt(drift) fresh effect         then mean 0, variance 1 again
    logit         = that of the truth + season sin(2 pi t / 7)

Of the features of large fields one in `lifetime` leaves every day; another, with a text that was never seen before and
an effect of its own, takes its place in the order of frequencies. A click becomes known some time after its row was
shown, often on a later day. A log of more days begins with the shorter one of the same options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from fieldwise.datasets.synth import SynthOptions, defined, feature_codes, planted
from fieldwise.datasets.truth import (
    Floats,
    Truth,
    auc_of_probabilities,
    draw_effects,
    draw_features,
    feature_probabilities,
    sigmoid,
    standardised,
)
from fieldwise.io.files import atomic_file, write_bytes

__all__ = ["DaysOptions", "make_synth_days"]

_FIRST_DAY = date(2026, 1, 1)
_MORTAL_FEATURES = 50
"""Fields with fewer features keep them: weekdays and countries do not die."""
_FIRST_DAYS = 7
"""So many days are the log that the configuration trains on."""
_MOST_DAYS = 10_000
"""So many could follow one another before two features had one text."""
_SECONDS_PER_DAY = 86_400.0


class DaysOptions(SynthOptions, frozen=True, kw_only=True):
    """Options of a synthetic log in days.

    Attributes
    ----------
    days
        Number of days, 2 to 10,000.
    rows
        Examples of a day, >= 1.
    fields, features, skew, truth, best_auc, click_rate, seed
        As in `synth.SynthOptions`, with other defaults; `features` are those that live on one day.
    drift
        Share of the variance of every effect that is new each day, 0 to 1.
    lifetime
        Days that a feature of a field with 50 features or more lives on average, >= 1; 0: for ever.
    season
        By how much the logit rises and falls in a week, >= 0.
    delay
        Hours after which a click is known, on average, >= 0; exponentially distributed.
    """

    days: int = 60
    rows: int = 200_000
    fields: int = 20
    features: int = 50_000
    skew: float = 1.2
    click_rate: float = 0.10
    drift: float = 0.01
    lifetime: float = 60.0
    season: float = 0.2
    delay: float = 6.0

    def check(self) -> None:
        """Raise ConfigError if an option is out of range."""
        super().check()
        self._refuse(
            ("days", 2 <= self.days <= _MOST_DAYS, f"2 to {_MOST_DAYS}"),
            ("drift", 0 <= self.drift <= 1, "0 to 1"),
            ("lifetime", self.lifetime == 0 or self.lifetime >= 1, "1 or more days, or 0 for ever"),
            ("season", 0 <= self.season <= 10, "0 to 10"),
            ("delay", 0 <= self.delay <= 10_000, "0 to 10000 hours"),
        )


class _World(NamedTuple):
    """What is true on one day, and on which day each feature (D,) was born."""

    truth: Truth
    born: npt.NDArray[np.int64]


def make_synth_days(out: Path, options: DaysOptions, *, name: str = "synth-days") -> Path:
    """Write a log in days as ``NAME/2026-01-01.parquet`` and so on, a configuration ``NAME.toml``, facts ``NAME.json``.

    Beside the fields and ``click`` a file has ``id``, ``time``, when the row was shown, and ``clicked_at``, when its
    click became known (null: none). The facts are, for each day: ``examples``, ``click_rate``, ``born`` (the share of
    the examples with a feature that was born on that day), and ``best``, the AUC and logloss of the true probabilities
    on its rows, which a model can only exceed by chance. The configuration trains on the first seven days.

    Parameters
    ----------
    out
        Folder, created if it does not exist. Files with the same names are replaced.
    options
        See `DaysOptions`.
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
    facts: dict[str, dict[str, object]] = {}
    counts, worlds = _worlds(options)
    for number, world in enumerate(worlds):
        day = (_FIRST_DAY + timedelta(days=number)).isoformat()
        table, logit, is_new = _draw_day(world, counts, options, number)
        with atomic_file(out / name / f"{day}.parquet") as file:
            pyarrow.parquet.write_table(table, file, compression="zstd")
        click = table["click"].to_numpy()
        facts[day] = {
            "examples": len(click),
            "click_rate": float(click.mean()),
            "born": float(is_new.mean()),
            "best": {
                "auc": defined(auc_of_probabilities(logit, click)),
                "logloss": float(np.logaddexp(0.0, np.where(click == 1, -logit, logit)).mean()),
            },
        }
    content = {"options": msgspec.to_builtins(options), "days": facts}
    write_bytes(out / f"{name}.json", json.dumps(content, indent=1).encode() + b"\n")
    config = out / f"{name}.toml"
    write_bytes(config, _config(name, options).encode())
    return config


def _worlds(options: DaysOptions) -> tuple[npt.NDArray[np.int64], Iterator[_World]]:
    """Return the features (F,) of each field on a day, and what is true on one day after the other."""
    counts, truth = planted(options)

    def worlds() -> Iterator[_World]:
        world = _World(truth, np.zeros(len(truth.effects), dtype=np.int64))
        yield world
        for number in range(1, options.days):
            world = _next_day(world, counts, options, number)
            yield world

    return counts, worlds()


def _next_day(world: _World, counts: npt.NDArray[np.int64], options: DaysOptions, number: int) -> _World:
    """Return what is true a day later: effects that have moved, and new features in the places of those that left."""
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(1, number)))
    effects, born = world.truth.effects.copy(), world.born.copy()
    kept, fresh = np.sqrt(1.0 - options.drift), np.sqrt(options.drift)
    for field, count in enumerate(counts.tolist()):
        own = slice(world.truth.base[field], world.truth.base[field + 1])
        effect = kept * effects[own] + fresh * draw_effects(count, options.skew, rng)
        if options.lifetime and count >= _MORTAL_FEATURES:
            left = rng.random(count) < 1.0 / options.lifetime
            effect[left] = draw_effects(count, options.skew, rng)[left]
            born[own][left] = number
        effects[own] = standardised(effect, feature_probabilities(count, options.skew))
    return _World(world.truth._replace(effects=effects), born)


def _draw_day(
    world: _World, counts: npt.NDArray[np.int64], options: DaysOptions, number: int
) -> tuple[pa.Table, Floats, npt.NDArray[np.bool_]]:
    """Return the rows of a day in the order of time, their true logits, and which of them have a feature born today."""
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(2, number)))
    truth, rows = world.truth, options.rows
    sums, is_new = truth.no_fields(rows), np.zeros(rows, dtype=np.bool_)
    columns: dict[str, Any] = {}
    digits = max(3, len(str(options.fields - 1)))
    for field, count in enumerate(counts.tolist()):
        features = draw_features(rng.random(rows), count, options.skew)
        truth.add_field(sums, field, features)
        born = world.born[truth.base[field] + features]
        is_new |= (born == number) & (number > 0)
        columns[f"f{field:0{digits}d}"] = feature_codes(born * count + features, count * _MOST_DAYS)
    logit = truth.logit(sums) + options.season * np.sin(2.0 * np.pi * number / 7.0)
    click = (rng.random(rows) < sigmoid(logit)).astype(np.int8)
    midnight = np.datetime64(_FIRST_DAY, "ms") + np.timedelta64(number, "D")
    seconds = np.sort(rng.random(rows)) * _SECONDS_PER_DAY
    shown = midnight + (1000.0 * seconds).astype("timedelta64[ms]")
    known = shown + (3.6e6 * options.delay * rng.standard_exponential(rows)).astype("timedelta64[ms]")
    table = pa.table(
        {
            "id": pa.array(np.arange(rows, dtype=np.int64) + number * rows),
            "time": pa.array(shown),
            **columns,
            "click": pa.array(click),
            "clicked_at": pa.array(known, mask=click == 0),
        }
    )
    return table, logit, is_new


def _config(name: str, options: DaysOptions) -> str:
    num_first = min(_FIRST_DAYS, options.days - 1)
    days = [(_FIRST_DAY + timedelta(days=number)).isoformat() for number in range(num_first)]
    files = "\n".join(f'    "{name}/{day}.parquet",' for day in days)
    return f"""\
# A synthetic click log of {options.days} days with {options.rows:,} examples each, whose features and effects change.
# {name}.json says which AUC and logloss are the best possible on each day.
#
#   fieldwise train {name}.toml --out runs/{name}

[data]
train = [  # relative to this file
{files}
]
valid = 0.1
label = "click"
id = "id"
exclude = ["time", "clicked_at"]
"""
