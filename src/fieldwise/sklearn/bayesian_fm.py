"""The Bayesian factorisation machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fieldwise.sklearn.base import Callbacks, ClickClassifier, Tree

__all__ = ["BayesianFMClassifier"]


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

    def fit(self, X: Any, y: Any, eval_set: Any = None, sample_weight: Any = None, callbacks: Callbacks = ()) -> Self:
        """Train the model, anew if it is fitted; see `LRClassifier.fit`."""
        return self._fit(X, y, eval_set, sample_weight, callbacks)

    def _settings(self, has_valid: bool) -> Tree:
        sampler = {"sweeps": self.sweeps, "burn_in": self.burn_in}
        return {"model": {"kind": "bayesian-fm", "factors": self.factors}, "train": {"sampler": sampler}}

    @property
    def _with_pairs_alone(self) -> bool:
        return True
