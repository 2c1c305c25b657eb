"""Logistic regression, and the networks that start from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from fieldwise.sklearn.base import Callbacks, Tree
from fieldwise.sklearn.passes import PartialFit

__all__ = ["LCDNNClassifier", "LCWideDeepClassifier", "LRClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class LRClassifier(PartialFit):
    """Logistic regression on one-hot features: of two classes solved to its optimum by Newton's method.

    Parameters
    ----------
    l2
        Penalty of the weights, in examples; unless given, chosen on the validation rows, and where there are none on
        training rows put aside, which are then learned from, too.
    solver
        ``newton``, ``ftrl`` or ``auto`` (`training.config.PretrainConfig`).
    epochs
        At most so many passes of ``ftrl``.
    validation_fraction
        Share of the rows that is not learned from, but chosen by, where `fit` is given no `eval_set`; ``auto``: 0.1
        from 10,000 rows on, else none, and none of files; None: none.
    fields
        Settings of columns, by name, where they are not to be inferred: `FieldConfig` or dicts, as in
        ``{"user": {"type": "category", "min_count": 2}, "tags": {"type": "bag", "separator": "|"}}``.
    sparse_groups
        Of a sparse `X`: how many columns each field has, as in ``[len(c) for c in one_hot.categories_]``.
    random_state
        Seed of all that is random.
    n_jobs
        Threads; all cores unless given.
    settings
        Any other key of the configuration file, as in ``{"train.negative_rate": 0.1}``.

    Attributes
    ----------
    classes_
        (C,) the different labels, sorted.
    n_features_in_, feature_names_in_
        Columns of `X`; and their names, where it has names.
    result_
        What training tells: metrics, seconds, parameters (`fieldwise.Result`).
    predictor_
        The saved model (`fieldwise.Predictor`).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = LRClassifier().fit(X, np.where(X[:, 0] > 0, "click", "skip"))
    >>> model.classes_.tolist(), model.predict([[1.5, 0, 0], [-1.5, 0, 0]]).tolist()
    (['click', 'skip'], ['click', 'skip'])
    """

    l2: float | None = None
    solver: Literal["auto", "newton", "ftrl"] = "auto"
    epochs: int = 100

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

    def _settings(self, has_valid: bool) -> Tree:
        passes = {} if self.epochs == 100 else {"epochs": self.epochs}  # stated, they are for steps and not for Newton
        return {"model": {"kind": "lr"}, "pretrain": {"solver": self.solver, "table": {"l2": self.l2}, **passes}}


@dataclass(kw_only=True, eq=False, repr=False)
class _Network(PartialFit):
    """What LC-DNN and LC-W&D have in common."""

    _kind_of_model: ClassVar[str]

    units: int = 0
    hidden: Sequence[int] = (256, 128)
    activation: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    dropout: float = 0.0
    epochs: int = 12
    batch_size: int = 0
    learning_rate: float | None = None
    stop_on: str = "auc"
    patience: int = 2

    def fit(self, X: Any, y: Any, eval_set: Any = None, sample_weight: Any = None, callbacks: Callbacks = ()) -> Self:
        """Train the model, anew if it is fitted; see `LRClassifier.fit`."""
        return self._fit(X, y, eval_set, sample_weight, callbacks)

    def _settings(self, has_valid: bool) -> Tree:
        model = {
            "kind": self._kind_of_model,
            "units": self.units,
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
        }
        train = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "stop_on": self.stop_on,
            "patience": self.patience,
            "table": {"learning_rate": self.learning_rate},
        }
        return {"model": model, "train": train}


@dataclass(kw_only=True, eq=False, repr=False)
class LCDNNClassifier(_Network):
    """A locally connected layer over the fields, with a deep part on it (LC-DNN).

    Parameters
    ----------
    units
        K, locally connected units of each field, 1 to 64; 0: by the number of fields.
    hidden, activation, dropout
        The hidden layers: their widths, what follows each, and the share of units silenced in training.
    epochs, patience
        Passes over the rows at most, and passes that bring nothing better on the validation rows before it stops.
    batch_size
        Examples of a step; 0: by their number.
    learning_rate
        Of the table of features; unless given, by the number of fields.
    stop_on
        The metric of the validation rows that decides which weights are kept (`training.config.TrainConfig`).
    validation_fraction, fields, sparse_groups, random_state, n_jobs, settings
        As of `LRClassifier`.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, result_, predictor_
        As of `LRClassifier`.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"user": ["u1", "u2", "u3"] * 40, "ad": ["a", "b"] * 60})
    >>> model = LCDNNClassifier(hidden=(8,)).fit(rows, [1, 0, 1] * 40)
    >>> model.predict(rows.head(3)).tolist()
    [1, 0, 1]
    """

    _kind_of_model: ClassVar[str] = "lc-dnn"


@dataclass(kw_only=True, eq=False, repr=False)
class LCWideDeepClassifier(_Network):
    """LC-DNN beside a logistic regression whose logit is added (LC-W&D).

    Parameters
    ----------
    units, hidden, activation, dropout, epochs, patience, batch_size, learning_rate, stop_on
        As of `LCDNNClassifier`.
    validation_fraction, fields, sparse_groups, random_state, n_jobs, settings
        As of `LRClassifier`.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, result_, predictor_
        As of `LRClassifier`.
    """

    _kind_of_model: ClassVar[str] = "lc-wide-deep"
