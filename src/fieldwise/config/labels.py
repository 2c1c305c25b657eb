"""``data.labels``: several labels in place of one, and what a configuration cannot have with them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fieldwise.config.origin import Origin
from fieldwise.config.tables import Config, LabelConfig
from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.schema import check_labels

__all__ = ["label_problems", "with_labels"]


def with_labels(config: Config) -> Config:
    """Return a configuration whose ``data.label`` is the first of ``data.labels``; one of these alone is the label."""
    data = config.data
    if not data.labels:
        return config
    labels = tuple(LabelConfig(label=each) if isinstance(each, str) else each for each in data.labels)
    first = labels[0].label
    several = labels if labels != (LabelConfig(label=first),) else ()
    data = msgspec.structs.replace(data, label=data.label or first, labels=several)
    return msgspec.structs.replace(config, data=data)


def label_problems(config: Config, origin: Origin) -> Iterator[ConfigError]:
    """Yield an error for labels that cannot be learned together, each key that they exclude, and a metric of none."""
    data, train, columns = config.data, config.train, config.data.label_columns
    _, colon, label = train.stop_on.partition(":")
    if colon and label not in columns:
        yield ConfigError(
            "the metric to stop on names none of the labels",
            where=origin.at("train", "stop_on"),
            expected=f"METRIC:LABEL of {', '.join(columns)}",
            got=train.stop_on,
            fix=did_you_mean(label, columns),
        )
    if not data.labels:
        return
    try:
        check_labels([(each.label, each.among) for each in data.labels if isinstance(each, LabelConfig)])
    except ConfigError as error:
        yield error.at(origin.at("data", "labels"))
    if data.label != columns[0]:
        yield ConfigError(
            "label is for one label, and labels for several",
            where=origin.at("data", "label"),
            got=f"label = {data.label}, labels = {', '.join(columns)}",
            fix="remove label",
        )
    for table, key, has, fix in (
        ("data", "classes", bool(data.classes), "each label has two classes: set positive in data.labels"),
        ("data", "positive", data.positive is not None, "set positive of each label in data.labels"),
        ("data", "crosses", data.crosses == "auto", 'search for crosses with one label ("auto"), and list them here'),
        ("model", "kind", "+" in config.model.kind, "train one member: the weights of a stack are fitted to one label"),
        ("model", "kind", config.model.kind == "bayesian-fm", "it samples one label; lc-dnn trains several"),
        ("train", "calibration", train.calibration != "none", "calibrate a model of one label"),
        ("train", "negative_rate", train.negative_rate < 1.0, "train on all rows"),
        ("pretrain", "solver", config.pretrain.solver == "newton", 'it solves one label; "ftrl" trains several'),
    ):
        if has:
            yield ConfigError(
                "this is not available with several labels",
                where=origin.at(table, key),
                got=f"data.labels = {', '.join(columns)}",
                fix=fix,
            )
