"""The tables of a configuration file, as data; those of models and training stand with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.errors import ConfigError
from fieldwise.models.config import ModelConfig
from fieldwise.schema import (
    Bins,
    Buckets,
    Count,
    Decimal,
    Default,
    Length,
    Norm,
    Scale,
    Text,
    TimePart,
    TimeUnit,
    WeightScale,
)
from fieldwise.training.config import PretrainConfig, Seed, TrainConfig
from fieldwise.training.update_config import GateConfig, GuardsConfig, UpdateConfig

__all__ = ["Config", "DataConfig", "FieldConfig", "LabelConfig"]

_Share = Annotated[float, Meta(gt=0, lt=1)]


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of ``data.labels``; see `schema.Label`."""

    label: str
    among: str | None = None
    weight: Annotated[float, Meta(gt=0)] = 1.0
    positive: Default | None = None


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    r"""The ``[data]`` table: the log, its parts and its columns that are no fields.

    Attributes
    ----------
    train
        Files, globs or folders; folders named ``key=value`` are columns (`data.partitions`). May be left out where rows
        are given in memory: ``fieldwise.train(config, out, data=table)``.
    valid
        A share of the training rows (0 to 1, exclusive), or files. Left out with `split`.
    test
        As `valid`; may be left out.
    split
        The column that says ``train``, ``valid`` or ``test`` for each row.
    time
        The column by which `valid` and `test`, as shares, are cut: the last rows in its order are for testing, those
        before them for validation, none at random (`data.split_by_time`). A column of times is two fields, hour and
        weekday, unless it is excluded; any other is none. Its `unit` and `format` are those of ``[fields.NAME]``.
    folds
        Cross-validation, for small logs: every model is trained so many times, each time tested on another fold and
        validated on the next, and then once on all rows (`jobs.train.folds`). Groups (`group`) are not divided. In
        place of `valid`, `test` and `split`. With `time` the log is cut into `folds` + 2 stretches of equal size in its
        order, and the training for fold i has the first i + 1 of them, the next is for validation, the one after it
        for testing: every test row is later than what its model has learned from.
    fold
        Only the training that is tested on this fold, 0 to `folds` - 1.
    label
        The column with the class of each example.
    weight
        The column with the weight of each example.
    group
        The column by which metrics of ranking are taken: GAUC, NDCG. It is a field, too, unless it is excluded.
    id
        The column that is copied to predictions.
    labels
        In place of `label`: two to four labels of two classes each, that one network learns together, with a head for
        each (docs/labels.md); columns, or tables with the keys of `LabelConfig`, as in
        ``["click", { label = "conversion", among = "click" }]``.
    classes
        The values of the label, two or more, in the model's order; any other is a rejected row. Those that the training
        rows hold unless given. See `features.classes` for the spellings that mean one class.
    positive
        The one of two classes that the probability is of. Needed where it is not evident: 1 of 0 and 1, ``true``,
        ``yes``, ``clicked`` of ``clicked`` and ``not clicked``, the greater of two numbers. Of `classes` it is the
        second unless given.
    missing
        Texts that mean missing in every column, in place of the usual ones: ``NULL`` and ``\N``, and in columns that
        are otherwise numbers or times, and in the label, also ``NA``, ``N/A``, ``None``, ``nan`` and their like; of
        numbers and times ``-`` too (`features.missing`). The empty cell always does. ``[fields.NAME] missing`` is for
        one field.
    exclude
        Columns that are no fields.
    crosses
        Pairs and triples of fields to combine: ``auto`` looks for those that say more than their fields
        (`profile.crosses`), ``none`` does not, or a list, as in ``[["user_id", "item_id"]]``. Values that occur once
        train the unseen one, and the linear parts of models alone read them. ``[fields.NAME] cross = [...]`` makes one
        with other settings.
    transient
        Fields whose effects do not last, as the day of the month, where valid has another base rate than train, as in a
        log in the order of time (`profile.transient`): ``exclude`` leaves them out and says so, ``keep`` does not.
    format
        ``csv``, ``tsv``, ``parquet``, ``libsvm`` or ``libffm``, where the file names do not tell.
    csv
        See `data.csv_dialect.CsvOptions`.
    cache
        The folder for the encoded log; ``.fieldwise`` beside the configuration file unless given.
    seed
        Of the split by share; 0 to 2,147,483,647.
    memory
        What `prepare` may take, as in ``2GB``; half of what is free unless given.
    max_rejects
        Stop where more rows cannot be used: a number of rows, or a share below 1.
    """

    train: str | tuple[str, ...] = ()
    label: str = ""
    labels: tuple[str | LabelConfig, ...] = ()
    classes: tuple[Default, ...] = ()
    positive: Default | None = None
    valid: _Share | str | tuple[str, ...] | None = None
    test: _Share | str | tuple[str, ...] | None = None
    split: str | None = None
    time: str | None = None
    folds: Annotated[int, Meta(ge=3, le=50)] | None = None
    fold: Annotated[int, Meta(ge=0)] | None = None
    weight: str | None = None
    group: str | None = None
    id: str | None = None
    missing: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    crosses: Literal["auto", "none"] | tuple[tuple[str, ...], ...] = "none"
    transient: Literal["exclude", "keep"] = "exclude"
    format: str | None = None
    csv: CsvOptions = CsvOptions()
    cache: str | None = None
    seed: Seed = 0
    memory: str | None = None
    max_rejects: Annotated[float, Meta(ge=0)] | None = None

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The column of the label, or of each of several."""
        return tuple(each if isinstance(each, str) else each.label for each in self.labels) or (self.label,)


class FieldConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[fields.NAME]`` table: a column, or a cross of fields. What is left out is inferred from the log.

    The meanings of all other keys are those of `schema.Field`.

    Attributes
    ----------
    type
        ``category``: one feature per value. ``number``: a single feature whose input is the value or, with `bins` or
        `edges`, one feature per bin. ``bag``: several values in one cell. ``time``: a `part` of a point in time.
        ``cross``: one feature per combination of the values of the fields in `cross`. ``vector``: a list of `length`
        numbers, such as an embedding. Or one of your own.
    column
        The column that it reads; the one of the field's name unless given.
    cross
        The fields that a cross combines, two or more.
    exclude
        Whether to leave the column out.
    """

    type: str | None = None
    column: str | None = None
    default: Default | None = None
    missing: tuple[str, ...] | None = None
    min_count: Count | None = None
    max_features: Count | None = None
    buckets: Buckets | None = None
    decimal: Decimal | None = None
    symbol: Text | None = None
    bins: Bins | None = None
    edges: tuple[float, ...] | None = None
    scale: Scale | None = None
    length: Length | None = None
    separator: Text | None = None
    brackets: bool | None = None
    weighted: bool | None = None
    weights: str | None = None
    weight_scale: WeightScale | None = None
    norm: Norm | None = None
    max_length: Count | None = None
    part: TimePart | None = None
    since: str | None = None
    unit: TimeUnit | None = None
    format: Text | None = None
    timezone: str | None = None
    cross: tuple[str, ...] | None = None
    linear: bool | None = None
    serve_as: Default | None = None
    exclude: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration; `base` is the folder that relative paths are relative to."""

    data: DataConfig
    fields: dict[str, FieldConfig] = {}
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig = PretrainConfig()
    update: UpdateConfig = UpdateConfig()
    gate: GateConfig = GateConfig()
    guards: GuardsConfig = GuardsConfig()
    base: str = "."

    def changed(self, section: str, **settings: Any) -> Config:
        """Return the configuration with other settings in one section, as in ``changed("train", epochs=3)``."""
        own = msgspec.structs.replace(getattr(self, section), **settings)
        return msgspec.structs.replace(self, **{section: own})

    @property
    def weighted(self) -> bool:
        """Whether training examples have weights."""
        return self.data.weight is not None or self.train.half_life is not None

    def paths(self, which: str) -> tuple[str, ...]:
        """Return the files of ``train``, ``valid`` or ``test``, made absolute; none where it is a share or left out."""
        value = getattr(self.data, which)
        if value is None or isinstance(value, float):
            return ()
        listed = (value,) if isinstance(value, str) else value
        for path in listed:
            if "\0" in path:
                raise ConfigError(
                    "a path holds a zero byte, which no file system has", where=f"data.{which}", got=repr(path)
                )
        return tuple(path if "://" in path or not path else str(Path(self.base) / path) for path in listed)
