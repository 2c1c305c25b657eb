"""The result of an evaluation; undefined metrics are None and have a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fieldwise.outcome import Outcome

__all__ = ["Metrics", "short_repr"]


class Metrics(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of a model on a set of examples with labels y, probabilities p and weights w (1 by default).

    Attributes
    ----------
    num_examples, sum_weights
        Number of examples, and sum w.
    auc
        Probability that an example of label 1 has a higher p than one of label 0, ties counted half, in [0, 1]. For
        more than two classes, the unweighted mean of the one-vs-rest AUCs.
    gauc
        Mean of the AUC within each group, weighted by the group's sum w, over the groups with both labels.
    gauc_groups, gauc_groups_left_out, gauc_share_left_out
        Number of groups in `gauc`, number of groups with only one label, and the fraction of sum w in the latter.
    logloss
        sum -w log(p of the true label) / sum w, in nats. p is clipped to [eps, 1 - eps] as in scikit-learn, with eps
        that of the type of p (1.2e-7 for float32, 2.2e-16 for float64), so it is at most 15.9 or 36.0.
    normalized_entropy
        logloss / entropy of the label on the same examples. Predicting the base rate gives 1; lower is better (He et
        al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, equation 3).
    pr_auc
        Average precision: the area under the precision-recall curve without interpolation; ties count as one threshold.
    calibration_ratio
        sum w p / sum w y; above 1 the model predicts too many clicks.
    calibration_error
        Expected calibration error over 15 bins of equal weight: sum over bins of abs(sum w p - sum w y), divided by sum
        w. Ties are never split between bins. (With bins of equal width, nearly all examples of a click log would be in
        the first bin.)
    label_rate, mean_probability
        sum w y / sum w, and sum w p / sum w.
    accuracy
        Weighted fraction of examples whose most probable class (the first one among ties) is the label.
    ndcg, mrr, hit_rate, recall
        Means over the groups with an example of label 1, of the normalised discounted cumulative gain, the reciprocal
        rank of the first example of label 1, whether one is among the first `cutoff`, and the share of them that are;
        examples ranked by p, ties in every order (`kernels.ranking`). Weights do not count.
    ranked_groups
        How many these groups are.
    undefined
        The reason for each metric that is None, by name.
    own
        User-defined metrics, by name (`metrics.own`).
    cutoff
        The ranks that `ndcg`, `hit_rate` and `recall` look at.
    labels
        Of several labels, the metrics of each, by its name; the others are then those of the first. Empty for one.
    """

    num_examples: int
    sum_weights: float
    auc: float | None
    gauc: float | None
    gauc_groups: int | None
    gauc_groups_left_out: int | None
    gauc_share_left_out: float | None
    logloss: float | None
    normalized_entropy: float | None
    pr_auc: float | None
    calibration_ratio: float | None
    calibration_error: float | None
    label_rate: float | None
    mean_probability: float | None
    accuracy: float | None
    ndcg: float | None = None
    mrr: float | None = None
    hit_rate: float | None = None
    recall: float | None = None
    ranked_groups: int | None = None
    undefined: dict[str, str]
    own: dict[str, float | None] = {}
    cutoff: int = 10
    labels: dict[str, Metrics] = {}

    @classmethod
    def of(
        cls,
        num_examples: int,
        sum_weights: float,
        figures: Mapping[str, float | str],
        otherwise: str = "",
        own: Mapping[str, float | None] | None = None,
        cutoff: int = 10,
    ) -> Metrics:
        """Create metrics from values or, for undefined ones, reasons; `otherwise` is the reason for missing names.

        Examples
        --------
        >>> metrics = Metrics.of(1, 1.0, {"logloss": 0.25, "auc": "only label 1 occurs"}, otherwise="a reason")
        >>> metrics.logloss, metrics.auc, metrics.undefined["auc"], metrics.undefined["gauc"]
        (0.25, None, 'only label 1 occurs', 'a reason')
        """
        values: dict[str, Any] = {"num_examples": num_examples, "sum_weights": sum_weights}
        undefined: dict[str, str] = {}
        for name in cls.__struct_fields__[2:-4]:
            figure = figures.get(name, otherwise)
            if isinstance(figure, str):
                undefined[name] = figure
            values[name] = None if isinstance(figure, str) else figure
        return cls(**values, undefined=undefined, own=dict(own or {}), cutoff=cutoff)

    @classmethod
    def nothing(cls, num_examples: int) -> Metrics:
        """Create the metrics of zero examples, or of examples whose weights are all zero."""
        return cls.of(num_examples, 0.0, {}, "the weights sum to zero" if num_examples else "there are no examples")

    def by_label(self) -> dict[str, Metrics]:
        """Return the metrics of each of several labels; where there is one, these under an empty name."""
        return self.labels or {"": self}

    def warnings(self, part: str) -> list[str]:
        """Return warnings about a model with these metrics on the examples of `part`.

        Examples
        --------
        >>> Metrics.of(9, 9.0, {"normalized_entropy": 0.8}).warnings("test")
        []
        >>> Metrics.of(9, 9.0, {"normalized_entropy": 1.25}).warnings("test")
        ['normalized entropy is 1.2500 on test: the probabilities are worse than predicting the base rate']
        """
        if self.labels:
            return [text for label, each in self.labels.items() for text in each.warnings(f"{part}, {label}")]
        entropy = self.normalized_entropy
        if entropy is None or entropy <= 1:
            return []
        return [
            f"normalized entropy is {entropy:.4f} on {part}: the probabilities are worse than predicting the base rate"
        ]

    def __repr__(self) -> str:
        """Return the metrics that are defined.

        Examples
        --------
        >>> Metrics.of(9, 9.0, {"auc": 0.8125, "logloss": 0.3141592653}, otherwise="a reason")
        Metrics(num_examples=9, auc=0.8125, logloss=0.314159)
        """
        names = (name for name in self.__struct_fields__ if name not in ("sum_weights", "undefined", "cutoff"))
        return short_repr(self, names)


def short_repr(struct: msgspec.Struct, names: Iterable[str]) -> str:
    """Return how a result is shown by Python: of these fields those that say something, floats to six digits."""
    found = ((name, getattr(struct, name)) for name in names)
    texts = [
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value!r}"
        for name, value in found
        if value is not None and value not in ("", [], {})
    ]
    return f"{type(struct).__name__}({', '.join(texts)})"
