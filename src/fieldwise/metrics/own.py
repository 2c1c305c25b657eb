"""Metrics of one's own: computed of all examples wherever the others are, and a metric to stop on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.errors import ConfigError
from fieldwise.metrics.result import Metrics

__all__ = [
    "GROUP_METRICS",
    "OWN",
    "Metric",
    "goodness",
    "metric_value",
    "own_metrics",
    "register_metric",
    "stop_metrics",
    "turned",
]

Metric = Callable[
    [npt.NDArray[np.floating[Any]], npt.NDArray[np.integer[Any]], npt.NDArray[np.float64]], "float | None"
]
"""``metric(probabilities, labels, weights)``: (B,) of class 1, or (B, O) for more than two classes; (B,) indices of
classes; (B,), 1 each where examples have none. Examples come sorted, so that sums do not depend on their order. None
where it is not defined."""

OWN: dict[str, Metric] = {}
"""Those that were registered."""
_STOP = ("auc", "gauc", "logloss", "pr_auc", "normalized_entropy", "ndcg", "mrr", "hit_rate", "recall")
GROUP_METRICS = ("gauc", "ndcg", "mrr", "hit_rate", "recall")
"""Of those to stop on, the ones that are undefined without groups, and for more than two classes."""
_SMALLER_IS_BETTER = {"logloss", "normalized_entropy"}


def register_metric(name: str, metric: Metric, *, smaller_is_better: bool = False) -> None:
    """Compute `metric` in every evaluation, as ``Metrics.own[name]``, and let training stop on it.

    The latter is ``train.stop_on = name``. ``docs/extending.md`` has an example that the tests run.

    Parameters
    ----------
    name
        A Python identifier that is not the name of another metric.
    metric
        ``metric(probabilities, labels, weights)`` returns a number, or None where it is undefined (`Metric`).
    smaller_is_better
        Whether a smaller value is better.

    Raises
    ------
    ConfigError
        The name is invalid, or belongs to another metric.

    Examples
    --------
    >>> import numpy as np
    >>> def brier(probabilities, labels, weights):
    ...     return float(np.average((probabilities - labels) ** 2, weights=weights))
    >>> register_metric("brier", brier, smaller_is_better=True)  # doctest: +SKIP
    >>> round(brier(np.array([0.2, 0.9]), np.array([0, 1]), np.ones(2)), 3)
    0.025
    """
    if not name.isidentifier() or name in Metrics.__struct_fields__ or OWN.get(name, metric) is not metric:
        raise ConfigError("the name of the metric is taken or invalid", where="register_metric", got=name)
    OWN[name] = metric
    (_SMALLER_IS_BETTER.add if smaller_is_better else _SMALLER_IS_BETTER.discard)(name)


def own_metrics(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]], weights: npt.NDArray[Any]
) -> dict[str, float | None]:
    """Return what the registered metrics say of some examples."""
    return {name: metric(probabilities, labels, weights.astype(np.float64)) for name, metric in OWN.items()}


def stop_metrics() -> tuple[str, ...]:
    """Return what ``train.stop_on`` may be."""
    return (*_STOP, *OWN)


def metric_value(metrics: Metrics | None, name: str) -> float | None:
    """Return a metric by what ``train.stop_on`` calls it; None where it is undefined.

    ``METRIC:LABEL`` is that of one of several labels.
    """
    name, _, label = name.partition(":")
    if metrics is None:
        return None
    metrics = metrics.labels.get(label, metrics)
    value = getattr(metrics, name) if name in _STOP else metrics.own.get(name)
    return None if value is None else float(value)


def goodness(metrics: Metrics | None, name: str) -> float | None:
    """Return the metric turned so that more is better; None where it is undefined.

    Examples
    --------
    >>> goodness(Metrics.of(9, 9.0, {"logloss": 0.25}), "logloss")
    -0.25
    """
    value = metric_value(metrics, name)
    return None if value is None else turned(value, name)


def turned(value: float, name: str) -> float:
    """Return a metric turned so that more is better, or `goodness` turned back into the metric."""
    return -value if name.partition(":")[0] in _SMALLER_IS_BETTER else value
