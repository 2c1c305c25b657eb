"""Parts that cannot do what they are for: validation or test rows that were asked for and are not there.

Without validation rows there is no early stopping: that is a choice where nobody asks for them, and a mistake where a
share or files came to none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fieldwise.config import Config
from fieldwise.counted import counted
from fieldwise.data.split import SplitLog
from fieldwise.errors import ConfigError, DataError
from fieldwise.events import Listener, Warned
from fieldwise.io.stores import is_remote
from fieldwise.jobs.prepare.prepared import Prepared
from fieldwise.kernels.joint_labels import MISSING_LABEL, label_states
from fieldwise.metrics.own import GROUP_METRICS

__all__ = ["check_parts", "part_remarks"]

_NAMES = {"valid": "validation", "test": "test"}
_OF_CLASSES = ("auc", "gauc", "pr_auc", "ndcg", "mrr", "hit_rate", "recall")
"""Metrics that one class alone leaves undefined."""
_FEWER_FOLDS = "set fewer data.folds, not more than there are groups; or remove them, and take data.valid as a share"
_OF_ONE_MOMENT = "rows of one moment stay together: name a column with finer times, other shares or fewer folds"


def part_remarks(config: Config, sources: Sequence[SplitLog], summary: dict[str, Any]) -> list[str]:
    """Return what to say of parts that share a file, or are without rows, of a log that need not be trained on."""
    found = [
        f"there are no {_NAMES[part]} rows ({_where(config, part)}): training would refuse that"
        for part in _missing(config, summary)
    ]
    if config.data.split is not None and not _examples(summary, "valid"):
        found.append(f"no row of the log is in valid, by its column {config.data.split}")
    parts: dict[str, list[str]] = {}
    for source in sources:
        for path in source.log.files:
            parts.setdefault(path if is_remote(path) else os.path.realpath(path), []).append(source.part)
    for path, names in parts.items():
        if len(names) > 1:
            found.append(
                f"{path} is read for {' and '.join(names)}: metrics on rows that were trained on are misleading"
            )
    return found


def check_parts(config: Config, prepared: Prepared, listen: Listener) -> None:
    """Refuse parts that were asked for and have no rows, or none that counts, or cannot say when to stop.

    Raises
    ------
    DataError
        Which, and what to do about it.
    """
    for part in _missing(config, prepared.summary):
        asked, counts = getattr(config.data, part), prepared.summary["parts"].get(part, {})
        of = (
            f"{counted(prepared.summary['rows_read'], 'row')} of the log"
            if asked is None or isinstance(asked, float)
            else f"{asked}"
        )
        of_times = config.data.time is not None and (config.data.fold is not None or isinstance(asked, float))
        rejected = f", {counted(counts['rejected'], 'row')} having been rejected" if counts.get("rejected") else ""
        fix = f"name other rows, or more of them; or leave data.{part} out" + (
            ": then all epochs are trained, and the last is kept" if part == "valid" else ""
        )
        raise DataError(
            f"there are no {_NAMES[part]} rows",
            where=_where(config, part),
            expected="one or more",
            got=f"none of {of}{rejected}",
            fix=_OF_ONE_MOMENT if of_times else fix if config.data.fold is None else _FEWER_FOLDS,
        )
    for part, cache in prepared.parts.items():
        if config.data.weight is not None and not cache.has_weight():
            raise DataError(
                f"all weights of the {_NAMES.get(part, 'training')} rows are zero",
                where=f"data.weight = {config.data.weight}",
                expected="a weight above 0, or there is nothing to learn from, or to measure on",
                got=f"{counted(cache.num_examples, 'row')} of weight 0",
                fix="correct the column, or leave data.weight out",
            )
    num_valid = _examples(prepared.summary, "valid")
    metric = config.train.stop_on.partition(":")[0]
    if metric in GROUP_METRICS and num_valid:
        num_classes = len(prepared.encoder.schema.classes)
        if config.data.group is None or num_classes > 2:
            raise ConfigError(
                "the metric to stop on is not defined",
                where="train.stop_on",
                expected="groups (data.group) and two classes",
                got=f"{config.train.stop_on}, without groups" if num_classes == 2 else f"{num_classes} classes",
                fix='set data.group = "COLUMN"'
                + ("" if num_classes == 2 else " with two classes")
                + ', or train.stop_on = "auc"',
            )
    if config.data.split is not None and not num_valid:
        listen(Warned("there are no validation rows: all epochs are trained, and the last is kept"))
    if num_valid and "valid" in prepared.parts:
        _check_classes(config, prepared, num_valid, listen)


def _check_classes(config: Config, prepared: Prepared, num_valid: int, listen: Listener) -> None:
    """Look for a class that all validation rows have, of the label or of each of several."""
    labels, schema = prepared.parts["valid"].labels(), prepared.encoder.schema
    if not schema.labels:
        if labels.min() == labels.max():
            _one_class(config, schema.classes[int(np.asarray(labels)[0])], num_valid, listen)
        return
    for number, label in enumerate(schema.labels):
        states = label_states(labels, number)
        known = states[states != MISSING_LABEL]
        if not len(known) or known.min() == known.max():
            name = label.classes[known[0]] if len(known) else "none"
            stops = (config.train.stop_on.partition(":")[2] or schema.label) == label.label
            _one_class(config, f"{name} of {label.label}", num_valid, listen, stops)


def _one_class(config: Config, name: str, num_valid: int, listen: Listener, stops: bool = True) -> None:
    what = f"the validation rows ({num_valid:,}) hold one class only: {name}"
    if stops and config.train.stop_on.partition(":")[0] in _OF_CLASSES:
        raise DataError(
            "the validation rows hold one class only",
            where=_where(config, "valid"),
            expected=f"two classes or more, for train.stop_on = {config.train.stop_on}",
            got=f"{counted(num_valid, 'row')} of class {name}",
            fix=f"{'name other rows, or more of them' if config.data.fold is None else _FEWER_FOLDS}; "
            "or set train.stop_on = logloss",
        )
    listen(Warned(f"{what}; their AUC is not defined"))


def _where(config: Config, part: str) -> str:
    """Return the keys that say which rows a part has."""
    data = config.data
    if data.fold is not None:
        return f"data.folds = {data.folds}, data.fold = {data.fold}" + (
            f", data.group = {data.group}" * bool(data.group)
        )
    return "data.split" if data.split is not None else f"data.{part} = {getattr(data, part)}"


def _missing(config: Config, summary: dict[str, Any]) -> list[str]:
    """Return the parts that the configuration asks for, as folds do for both, and that have no examples."""
    data = config.data
    asked = [part for part in _NAMES if data.fold is not None or getattr(data, part) is not None]
    return [part for part in asked if not _examples(summary, part)]


def _examples(summary: dict[str, Any], part: str) -> int:
    return int(summary["parts"].get(part, {}).get("examples", 0))
