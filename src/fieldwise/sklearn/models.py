"""The estimators: what the parameters of each say in the keys of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fieldwise.sklearn.base import ClickClassifier
from fieldwise.sklearn.passes import PartialFit
from fieldwise.sklearn.settings import Tree

__all__ = ["BayesianFMClassifier", "LCDNNClassifier", "LCWideDeepClassifier", "LRClassifier", "StackClassifier"]


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


@dataclass(kw_only=True, eq=False, repr=False)
class BayesianFMClassifier(ClickClassifier):
    """A Bayesian factorisation machine, the mean of its posterior: two classes, two fields or more.

    Strong on small logs with few fields, such as ratings; it takes no later passes. The posterior is sampled; where
    rows have weights, or are too many to sample in some minutes, it is approximated (`training.variational`).

    Parameters
    ----------
    factors
        Of a feature, beside its weight, 1 to 63.
    sweeps, burn_in
        Of sampling: how often everything is drawn, at most; how many of the first draws are left out of the mean.
    validation_fraction, fields, sparse_groups, random_state, n_jobs, settings
        As of `LRClassifier`. With validation rows sampling ends when more sweeps bring little.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, result_, predictor_
        As of `LRClassifier`.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"user": ["u1", "u2", "u3"] * 40, "ad": ["a", "b"] * 60})
    >>> model = BayesianFMClassifier(sweeps=60).fit(rows, [1, 0, 1] * 40)
    >>> model.predict(rows.head(3)).tolist()
    [1, 0, 1]
    """

    factors: int = 12
    sweeps: int = 300
    burn_in: int = 40

    def _settings(self, has_valid: bool) -> Tree:
        sampler = {"sweeps": self.sweeps, "burn_in": self.burn_in}
        return {"model": {"kind": "bayesian-fm", "factors": self.factors}, "train": {"sampler": sampler}}

    @property
    def _with_pairs_alone(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False, repr=False)
class StackClassifier(ClickClassifier):
    """Several models trained side by side, their logits weighed on validation rows.

    Parameters
    ----------
    members
        Kinds of models: ``lr``, ``dnn``, ``lc-dnn``, ``lc-wide-deep``, ``lc-resnet``, ``bayesian-fm``
        (`models.config.ModelConfig`). With the last there are two classes and two fields or more. A network may be
        there twice.
    epochs, patience
        As of `LCDNNClassifier`.
    validation_fraction
        As of `LRClassifier`. Without validation rows all members count alike.
    fields, sparse_groups, random_state, n_jobs, settings
        As of `LRClassifier`; sizes of the members are in `settings`, as in ``{"model.hidden": [64]}``.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, result_, predictor_
        As of `LRClassifier`; ``result_.members`` has the metrics of each member alone.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"user": ["u1", "u2", "u3"] * 40, "ad": ["a", "b"] * 60})
    >>> model = StackClassifier(["lc-dnn", "dnn"], epochs=4, settings={"model.hidden": [8]}).fit(rows, [1, 0, 1] * 40)
    >>> [member.model for member in model.result_.members]
    ['lc-dnn', 'dnn']
    """

    members: Sequence[str] = field(default=("lc-dnn", "bayesian-fm"), kw_only=False)
    epochs: int = 12
    patience: int = 2

    def _settings(self, has_valid: bool) -> Tree:
        return {
            "model": {"kind": "+".join(self.members)},
            "train": {"epochs": self.epochs, "patience": self.patience},
        }

    @property
    def _with_pairs_alone(self) -> bool:
        return "bayesian-fm" in self.members
