"""What all estimators do: rows and labels into a training, and a saved model that answers."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fieldwise.config import DataConfig, config_of
from fieldwise.data.log import encode_log
from fieldwise.errors import ArtefactError, ResourceError, Stopped, UserError
from fieldwise.events import Event, ignore
from fieldwise.jobs.predict.rows import open_rows
from fieldwise.jobs.prepare.logs import with_tables
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.result import Result
from fieldwise.jobs.train.train import train
from fieldwise.serving.predictor import Predictor
from fieldwise.sklearn.labels import LabelClasses, check_labels
from fieldwise.sklearn.rows import Kind, is_frame, kind_of, read
from fieldwise.sklearn.saved import SavedModel
from fieldwise.sklearn.settings import Settings, Tree, merge, nested, plain, plain_field

__all__ = ["Callbacks", "ClickClassifier", "errors_of_values"]

_MANY_ROWS = 10_000
_TABLES = re.compile(r"\S*/fieldwise-fit-\w+/tables/\w+\.parquet")
"""Where rows lie while they are learned from, which says nothing to who has them in memory."""
_OF_X = ("train", "valid", "test", "label", "labels", "weight", "cache", "split", "format", "csv")
"""Keys of ``[data]`` that arguments of `fit` stand for."""
_SHARE = 0.1
"""Of so many rows or more, this share is for validation where ``validation_fraction`` is ``auto``."""

Callbacks = Sequence[Callable[[Event], None]]


@contextmanager
def errors_of_values() -> Iterator[None]:
    """Turn what is wrong with the user's rows or settings into a ValueError, and Ctrl-C into KeyboardInterrupt."""
    try:
        yield
    except (ArtefactError, ResourceError):
        raise
    except UserError as error:
        raise ValueError(_TABLES.sub("X", str(error))) from error
    except Stopped:
        raise KeyboardInterrupt from None


@dataclass(kw_only=True, eq=False, repr=False)
class ClickClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The common part of the estimators; see their own documentation.

    They are dataclasses for their constructors: scikit-learn wants each parameter stored under its name, and nothing
    else done.
    """

    validation_fraction: float | Literal["auto"] | None = "auto"
    fields: Mapping[str, Any] | None = None
    sparse_groups: Sequence[int] | None = None
    random_state: Any = 0
    n_jobs: int | None = None
    settings: Settings | None = None

    @property
    def _with_pairs_alone(self) -> bool:
        """Whether the model is of pairs of fields and of two classes: a factorisation machine."""
        return False

    def _settings(self, has_valid: bool) -> Tree:
        """Return the tables of the configuration that the parameters stand for, with validation rows or without."""
        raise NotImplementedError

    # --- fit ---

    def fit(self, X: Any, y: Any, eval_set: Any = None, sample_weight: Any = None, callbacks: Callbacks = ()) -> Self:
        """Train the model, anew if it is fitted.

        Parameters
        ----------
        X, y
            Rows and their labels (B,); or the paths of files, and the name of the label's column.
        eval_set
            ``(X, y)`` to choose by: the penalty, when to stop, which weights are kept.
        sample_weight
            (B,) weights of the examples, >= 0; of files, the name of their column.
        callbacks
            Called with every event of the training (`fieldwise.events`).

        Raises
        ------
        ValueError
            A row, a label or a parameter cannot be used; no row is left out in silence.
        """
        return self._fit(X, y, eval_set, sample_weight, callbacks)

    def _fit(
        self,
        X: Any,
        y: Any,
        eval_set: Any = None,
        sample_weight: Any = None,
        callbacks: Callbacks = (),
        classes: Any = None,
        *,
        first_pass: bool = False,
    ) -> Self:
        kind: Kind = kind_of(X)
        callbacks = tuple(callbacks or ())

        def listen(event: Event) -> None:
            for callback in callbacks:
                callback(event)

        with tempfile.TemporaryDirectory(prefix="fieldwise-fit-") as work, errors_of_values():
            if kind == "paths":
                tree, data = self._tree_of_paths(X, y, eval_set, sample_weight), None
            else:
                tree, data = self._tree_of_rows(X, y, kind, eval_set, sample_weight, classes, first_pass)
            has_valid = "valid" in tree["data"] or (data is not None and "valid" in data)
            for settings in (self._settings(has_valid), self._common()):
                merge(tree, settings)
            if first_pass:
                tree["train"]["epochs"] = 1
                if len(np.unique(y)) < 2:  # logistic regression has no optimum then, and takes steps
                    tree.setdefault("pretrain", {})["epochs"] = 1
            for key, value in (self.settings or {}).items():
                given = nested(key, value)
                if kind != "paths" and (taken := sorted({*given.get("data", {})}.intersection(_OF_X))):
                    raise ValueError(f"settings: data.{taken[0]} is for files; fit takes X, y, eval_set, sample_weight")
                merge(tree, given)
            tree["data"]["cache"] = work
            config = config_of(plain(tree), where=type(self).__name__)
            tell = listen if callbacks else ignore
            prepared = None
            if first_pass:  # a later pass may bring the other classes
                config = with_tables(config, data)
                data, prepared = None, prepare(config, allow_one_class=True, listen=tell)
            result = train(config, Path(work, "run"), data=data, prepared=prepared, listen=tell)
            self._model = SavedModel(Path(work, "run", "bundle"))
        # Of the rows' part only what a later pass asks for: files are gone, and no path goes into a pickle.
        self._config = msgspec.structs.replace(config, data=DataConfig(label=config.data.label))
        self._kind = kind
        schema = self._model.predictor.bundle.encoder.schema
        if kind == "paths":
            names = np.array(schema.classes)
            is_whole = all(text.lstrip("-").isdecimal() for text in schema.classes)
            self._classes = LabelClasses(names.astype(np.int64) if is_whole else names, schema.classes)
            self.feature_names_in_ = np.asarray(schema.columns, dtype=object)
            self.n_features_in_ = len(schema.columns)
        self.classes_: npt.NDArray[Any] = self._classes.values
        self.result_: Result = msgspec.structs.replace(result, folder="")
        if kind != "paths" and result.read is not None:
            for column, reason in result.read.columns_not_used.items():
                if column != tree["data"].get("weight") and not reason.startswith("excluded"):
                    warnings.warn(f"column {column!r} is no input of the model: {reason}", UserWarning, stacklevel=3)
        return self

    def _tree_of_paths(self, X: Any, y: Any, eval_set: Any, sample_weight: Any) -> Tree:
        if not isinstance(y, str):
            raise ValueError("of files, y is the name of the column with the label")
        paths = [X] if isinstance(X, (str, Path)) else list(X)
        data: Tree = {"train": [str(Path(path).absolute()) for path in paths], "label": y}
        if eval_set is not None:
            valid = _pair(eval_set)[0]
            valid = [valid] if isinstance(valid, (str, Path)) else list(valid)
            data["valid"] = [str(Path(path).absolute()) for path in valid]
        elif share := self._share(0):
            data["valid"] = share
        if sample_weight is not None:
            data["weight"] = sample_weight
        return {"data": data, "fields": {}}

    def _tree_of_rows(
        self, X: Any, y: Any, kind: Kind, eval_set: Any, sample_weight: Any, classes: Any, first_pass: bool
    ) -> tuple[Tree, dict[str, pa.Table]]:
        if y is None:
            check_labels(self, y, 0)
        table, fields = self._read(X, kind, reset=True)
        if self._with_pairs_alone and len(fields if kind == "sparse" else table.column_names) < 2:
            what = "X is sparse and has no sparse_groups" if kind == "sparse" else "X has 1 feature(s)"
            raise ValueError(f"{type(self).__name__} is a model of pairs of fields: {what}")
        labels = check_labels(self, y, table.num_rows)
        self._classes = LabelClasses.of(
            labels if classes is None else np.asarray(classes), multi_class=not self._with_pairs_alone
        )
        label, weight = _free_name("label", table), _free_name("weight", table)
        data: Tree = {"label": label, "classes": self._classes.names, "max_rejects": 0}
        if len(self._classes.names) == 2:
            data["positive"] = self._classes.names[1]
        if sample_weight is not None:
            table = table.append_column(weight, pa.array(self._weights(sample_weight, table)))
            data["weight"] = weight
        parts = {"train": table.append_column(label, self._classes.column(labels))}
        if eval_set is not None:
            rows, of_rows = _pair(eval_set)
            valid, _ = self._read(rows, kind, reset=False)
            valid = valid.append_column(label, self._classes.column(check_labels(self, of_rows, valid.num_rows)))
            if sample_weight is not None:
                valid = valid.append_column(weight, pa.array(np.ones(valid.num_rows)))
            parts["valid"] = valid
        elif not first_pass and (share := self._share(table.num_rows)):
            data["valid"] = share
        return {"data": data, "fields": fields}, parts

    def _read(self, X: Any, kind: Kind, *, reset: bool) -> tuple[pa.Table, Tree]:
        if kind == "paths":  # a frame or an array for a model of files: fields are found by their names
            return read(self, X, "columns", None, reset=reset)
        return read(self, X, kind, self.sparse_groups, reset=reset)

    def _weights(self, sample_weight: Any, table: pa.Table) -> npt.NDArray[np.float64]:
        rows = np.empty((table.num_rows, 0))
        weights: npt.NDArray[np.float64] = _check_sample_weight(sample_weight, rows, ensure_non_negative=True)
        return weights

    def _share(self, num_rows: int) -> float | None:
        """Return the share of rows that validates; of files, which are not counted before, `num_rows` is 0."""
        if self.validation_fraction == "auto":
            return _SHARE if num_rows >= _MANY_ROWS else None
        share = self.validation_fraction
        if share is not None and not isinstance(share, (int, float, np.number)):
            raise ValueError(f"validation_fraction is a share below 1, 'auto' or None: {share!r}")
        return None if share is None else float(share)

    def _common(self) -> Tree:
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        fields = self.fields or {}
        if not isinstance(fields, Mapping):
            raise ValueError(
                f"fields are settings of columns by name, as in {{'user': {{'type': 'category'}}}}: {fields!r}"
            )
        fields = {name: plain_field(field) for name, field in fields.items()}
        return {"data": {"seed": seed}, "fields": fields, "train": {"seed": seed, "threads": self.n_jobs}}

    # --- answers ---

    def _current(self) -> SavedModel:
        """Return the model as it is now."""
        return self._model

    @property
    def predictor_(self) -> Predictor:
        """The saved model: `fieldwise.Predictor`, with `explain`, `rank` and `save`."""
        check_is_fitted(self)
        return self._current().predictor

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder, for ``fieldwise serve``, ``predict`` and the like."""
        self.predictor_.save(folder)

    def predict_proba(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        """Return the probability of each class, (B, C) in the order of `classes_`.

        Raises
        ------
        ValueError
            A column is missing or another one, or a value cannot be read; the message names row and column.
        """
        check_is_fitted(self)
        with errors_of_values():
            found = self._of_paths(X) if kind_of(X) == "paths" else self._of_rows(X)
        return found if found.ndim == 2 else np.stack([1 - found, found], axis=1)

    def _of_rows(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        if self._kind == "paths" and is_frame(X):
            table = X
        else:
            table, _ = self._read(X, self._kind, reset=False)
        return self.predictor_.predict(table)

    def _of_paths(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        predictor = self.predictor_
        found = []
        with open_rows(predictor.bundle, X, None) as log:
            for chunk, encoded in encode_log(log, predictor.bundle.encoder, labelled=False, served=True):
                for line in chunk.reject_lines(encoded.rejects):
                    raise ValueError("{file}, row {row}, column {column}: {reason}: {value!r}".format(**line))
                found.append(predictor.score(encoded.examples.batch))
        if not found:
            raise ValueError("the files have no rows")
        return np.concatenate(found)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, (B,)."""
        probabilities = self.predict_proba(X)
        found: npt.NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return found

    def decision_function(self, X: Any) -> npt.NDArray[np.floating[Any]]:
        """Return the log-odds of the second class, (B,), or the logarithm of each probability, (B, C) for C > 2."""
        probabilities = self.predict_proba(X)
        # In double: rounding of logarithms would add to that of probabilities.
        logs = np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny), dtype=np.float64)
        odds = logs if logs.shape[1] > 2 else logs[:, 1] - logs[:, 0]
        found: npt.NDArray[np.floating[Any]] = odds.astype(probabilities.dtype)
        return found

    # --- scikit-learn ---

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = tags.input_tags.string = True
        if self._with_pairs_alone:
            tags.classifier_tags.multi_class = False
            tags.input_tags.sparse = self.sparse_groups is not None  # else one field
        return tags


def _pair(eval_set: Any) -> tuple[Any, Any]:
    """Return the rows and labels of an `eval_set`: a pair, or a list of one pair."""
    if isinstance(eval_set, list) and len(eval_set) == 1:
        eval_set = eval_set[0]
    if not isinstance(eval_set, tuple) or len(eval_set) != 2:
        raise ValueError("eval_set is a pair (X, y) of validation rows")
    return eval_set


def _free_name(name: str, table: pa.Table) -> str:
    while name in table.column_names:
        name += "_"
    return name
