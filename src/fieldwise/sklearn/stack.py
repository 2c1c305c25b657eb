"""Several models as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fieldwise.sklearn.base import Callbacks, ClickClassifier, Tree

__all__ = ["StackClassifier"]


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

    def fit(self, X: Any, y: Any, eval_set: Any = None, sample_weight: Any = None, callbacks: Callbacks = ()) -> Self:
        """Train the models, anew if they are fitted; see `LRClassifier.fit`."""
        return self._fit(X, y, eval_set, sample_weight, callbacks)

    def _settings(self, has_valid: bool) -> Tree:
        return {
            "model": {"kind": "+".join(self.members)},
            "train": {"epochs": self.epochs, "patience": self.patience},
        }

    @property
    def _with_pairs_alone(self) -> bool:
        return "bayesian-fm" in self.members
