"""An initial configuration: the inferred settings with their reasons, and other useful keys as comments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import pyarrow as pa

from fieldwise.config import Config, DataConfig
from fieldwise.counted import counted
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.errors import DataError
from fieldwise.features.classes import decide_classes, guess_positive, is_number
from fieldwise.features.columns import Columns
from fieldwise.features.labels import count_labels, merge_spellings
from fieldwise.jobs.init.fields import Inferred, infer_schema
from fieldwise.jobs.init.write_config import toml, toml_key
from fieldwise.models.config import ModelConfig
from fieldwise.profile.infer.label import guess_label
from fieldwise.profile.infer.meaning import Guess
from fieldwise.profile.infer.names import is_position, words
from fieldwise.profile.infer.values import Values
from fieldwise.schema import Field
from fieldwise.training.config import TrainConfig

__all__ = ["write_config"]

_SHARE = 0.1
_COLUMN = 34
"""Where comments begin."""
_CONTROL = re.compile("[\x00-\x1f\x7f]")

_HEAD = """\
# Inferred from the first {num_rows:,} rows of the log; please review. Settings that you delete are inferred again.
#
#   fieldwise compare {file} --out runs/first
"""

_ROLE_OPTIONS = {
    "weight": "example weight",
    "group": "groups of GAUC; also a field, unless excluded",
    "id": "copied to predictions",
    "time": "cuts valid and test from the end, in the order of time",
}

_NO_INPUT = "new examples have others"
_GROUPS = frozenset({"user", "visitor", "member", "customer", "session", "query"})

_OPTIONS: dict[str, tuple[msgspec.Struct, dict[str, str]]] = {
    "model": (
        ModelConfig(),
        {
            "kind": "lr | dnn | lc-dnn | lc-wide-deep | lc-resnet | bayesian-fm; a+b: a stack; auto: by the log",
            "units": "locally connected units per field, 1 to 64; 0: chosen from the number of fields",
            "hidden": "widths of the hidden layers",
            "activation": "relu | gelu | silu | tanh | sigmoid",
            "dropout": "fraction of hidden units dropped in training",
        },
    ),
    "train": (
        TrainConfig(),
        {
            "epochs": "maximum number of epochs",
            "batch_size": "examples per step",
            "seed": "random seed",
            "precision": "auto | float32 | bfloat16 | float64",
            "stop_on": "auc | gauc | ndcg | mrr | hit_rate | recall | logloss | pr_auc | normalized_entropy",
            "patience": "epochs without improvement before stopping",
        },
    ),
}
"""The defaults, and the keys worth showing."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


def write_config(
    sample: pa.Table,
    paths: Sequence[str],
    label: str | None = None,
    *,
    weight: str | None = None,
    group: str | None = None,
    id: str | None = None,
    split: str | None = None,
    time: str | None = None,
    format: str | None = None,
    csv: CsvOptions | None = None,
    exclude: Sequence[str] = (),
    remarks: Sequence[str] = (),
    absent: Mapping[str, str] = _NOTHING,
    file: str = "fieldwise.toml",
) -> str:
    """Return the TOML text of a configuration for a log, with the reason for every field in a comment.

    It gives exactly the fields that `complete_schema` infers without it.

    Parameters
    ----------
    sample
        The first rows of the log, with all columns.
    paths
        The log, as `DataConfig.train` names it.
    label
        The label column; inferred by default.
    weight, group, id, split, time, format, csv
        As in `DataConfig`. By default, a column with the values ``train``, ``valid`` and ``test`` is the split; if
        there is none, a tenth of the rows each is used for validation and test.
    exclude
        Columns of which no field is made, whatever their role.
    remarks
        Comments for the beginning of the file.
    absent
        As for `infer_schema`.
    file
        The path of the configuration, for the command in its first comment.

    Raises
    ------
    DataError
        No column looks like the label, or the schema cannot be inferred (`infer_schema`).

    Examples
    --------
    >>> text = write_config(pa.table({"click": ["0", "1"], "ad": ["a", "b"]}), ["clicks.csv"])
    >>> print(text[text.index("[fields") : text.index("# [model]")].strip())
    [fields.ad]                       # 2 values in 2 rows
    type = "category"
    """
    label = label or guess_label(sample)
    if label is None:
        raise DataError(
            "no column looks like the label",
            expected="a column with two values named click, label, target or similar",
            got=_of_two_values(sample),
            fix="specify it with --label COLUMN",
        )
    data = DataConfig(
        train=tuple(paths), label=label, weight=weight, group=group, id=id, split=split, time=time,
        format=format, csv=csv or CsvOptions(), exclude=tuple(exclude),
    )  # fmt: skip
    inferred = infer_schema(Config(data=data), sample, absent)
    if split is None and time is None:
        split = next((name for name, guess in inferred.guesses.items() if guess.role == "split"), None)
    if split is None:
        data = msgspec.structs.replace(data, valid=_SHARE, test=_SHARE)
    else:
        data = msgspec.structs.replace(data, split=split)
    counts = count_labels(sample, label)
    said = [f"# {_CONTROL.sub(' ', line)}" for line in remarks]
    head = _HEAD.format(num_rows=sample.num_rows, file=_CONTROL.sub(" ", shlex.quote(file)))
    lines = [head, *said, *([""] if said else []), *_data(data, inferred, counts, sample.num_rows)]
    for field in inferred.schema.fields:
        lines += ["", *_field(field, inferred.guesses[field.columns[0]])]
    for section, (defaults, comments) in _OPTIONS.items():
        lines += ["", f"# [{section}]{'':{_COLUMN - len(section) - 4}}# defaults"]
        lines += [_commented(f"# {key} = {toml(getattr(defaults, key))}", says) for key, says in comments.items()]
    return "\n".join(lines) + "\n"


def _of_two_values(sample: pa.Table) -> str:
    """Say which columns could be the label, were it not for their names."""
    found = []
    for name in sample.column_names:
        try:
            if Values(Columns(sample).array(name)).num_distinct == 2:
                found.append(name)
        except DataError:  # lists and the like
            continue
    what = "columns with two values" if found else "no column with two values among"
    return f"{what}: {', '.join((found or sample.column_names)[:20])}"


def _data(data: DataConfig, inferred: Inferred, labels: Mapping[str, int], num_rows: int) -> Iterator[str]:
    """Write the ``[data]`` table."""
    yield "[data]"
    yield _commented(f"train = {toml(data.train)}", "files, globs or folders; relative to this file")
    if data.format is not None:
        yield f"format = {toml(data.format)}"
    if csv := _differences(data.csv):
        yield f"csv = {toml(csv)}"
    if data.split is None:
        yield _commented(f"valid = {data.valid}", "a fraction of the rows, or files")
        yield f"test = {data.test}"
    else:
        yield _commented(f"split = {toml(data.split)}", "the column with the values train, valid, test")
    yield from _label(data.label, labels, num_rows)
    for role, meaning in _ROLE_OPTIONS.items():
        if role == "time" and data.split is not None:
            continue
        column = getattr(data, role)
        if column is not None:
            yield _commented(f"{role} = {toml(column)}", meaning)
        else:
            yield _commented(f"# {role} = {toml(_candidate(role, inferred) or 'COLUMN')}", meaning)
    yield _commented('# crosses = "auto"', "search for useful crosses of two or three fields")
    yield _commented('# missing = ["NULL", "-999"]', "texts that mean missing, instead of the usual ones")
    left_out = dict.fromkeys(data.exclude, _NO_INPUT)
    left_out |= {name: reason for name, reason in inferred.left_out.items() if name not in (data.split, *data.exclude)}
    if left_out:
        yield _commented("exclude = [", "columns not used as fields")
        yield from (_commented(f"    {toml(name)},", reason) for name, reason in left_out.items())
        yield "]"


def _label(name: str, counts: Mapping[str, int], num_rows: int) -> Iterator[str]:
    """Write the label, and which class the probability is of or what has to be said before training."""
    rows = merge_spellings(counts)
    shown = sorted(rows)[:3]
    what = ", ".join(map(repr, shown)) + (", ..." if len(rows) > len(shown) else "")
    yield _commented(f"label = {toml(name)}", f"{counted(len(rows), 'value')}: {what}")
    if num_missing := num_rows - sum(counts.values()):
        yield f"# {num_missing:,} of {counted(num_rows, 'row')} without a label, left out. If an empty label means no"
        yield "# click, replace it with 0."
    if len(rows) == 2:
        positive, is_evident = guess_positive(rows)
        numbers = is_number(positive) and min(map(float, rows)) > 0
        why = "the positive class"
        if is_evident and not numbers:
            yield _commented(f"# positive = {toml(positive)}", why)
        else:
            yield _commented(f"positive = {toml(positive)}", f"{why}, a guess: please check")
    else:
        unless = "Unless later rows have another class, training" if len(rows) < 2 else "Training"
        try:
            decide_classes(counts, name)
        except DataError as error:
            yield f"# {unless} rejects this label: {_CONTROL.sub(' ', f'{error.what}: {error.got}')}."
            yield f"# Hint: {_CONTROL.sub(' ', str(error.fix))}."


def _candidate(role: str, inferred: Inferred) -> str | None:
    """Return the first column that could have a role."""
    for name, guess in inferred.guesses.items():
        names = words(name)
        if (
            guess.role == role
            or (role == "time" and guess.type == "time")
            or (role == "weight" and guess.type == "number" and names[-1:] == ["weight"])
            or (role == "group" and guess.type == "category" and not guess.left_out and not _GROUPS.isdisjoint(names))
        ):
            return name
    return None


def _field(field: Field, guess: Guess) -> Iterator[str]:
    """Write a ``[fields.NAME]`` table."""
    yield _commented(f"[fields.{toml_key(field.name)}]", guess.reason)
    yield f"type = {toml(field.type)}"
    if field.column != field.name:
        yield f"column = {toml(field.column)}"
    if field.part is not None:
        part = f"part = {toml(field.part)}"
        yield _commented(part, 'in UTC; or set timezone = "Europe/Rome"') if field.part == "hour" else part
    if field.format is not None:
        yield f"format = {toml(field.format)}"
    if field.decimal is not None:
        says = "1,234.50" if field.decimal == "." else "1.234,50"
        yield _commented(f"decimal = {toml(field.decimal)}", f"numbers like {says}")
    if field.symbol is not None:
        yield f"symbol = {toml(field.symbol)}"
    if field.bins:
        yield f"bins = {field.bins}"
    if field.length is not None:
        yield f"length = {field.length}"
    if guess.separator is not None:
        yield f"separator = {toml(field.separator)}"
    if field.brackets:
        yield _commented("brackets = true", "lists as text: [8, 32]")
    if field.weighted:
        yield "weighted = true"
    if field.weight_scale != "none":
        yield _commented(
            f"weight_scale = {toml(field.weight_scale)}", "or none; large weights can make training diverge"
        )
    if field.type == "bag":
        yield _commented(f"norm = {toml(field.norm)}", "by which a cell's weights are divided; or mean, none")
    if field.max_length is not None:
        yield _commented(f"max_length = {field.max_length}", "longer cells are truncated")
    if field.column is not None and is_position(field.column):
        yield _commented('# serve_as = "1"', "the value in every answer, if the place is not known then")
    if field.min_count > 1:
        yield _commented(f"min_count = {field.min_count}", "rarer values share the unseen feature")


def _differences(struct: msgspec.Struct) -> dict[str, Any]:
    """Return what is not the default."""
    defaults = type(struct)()
    settings = msgspec.structs.asdict(struct)
    return {key: value for key, value in settings.items() if value != getattr(defaults, key)}


def _commented(line: str, comment: str) -> str:
    """Append a comment to a line; control characters, which may occur in names, are replaced by spaces."""
    return f"{f'{line}  ':<{_COLUMN}}# {_CONTROL.sub(' ', comment)}"
