"""The figures that an evaluation ends in; one that is not defined is None, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Metrics"]


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of one model on one set of examples, weighted where the examples carry weights.

    With label y, probability p, weight w (1 if there are none) and the class share s_c, the weighted share of label c:

    Attributes
    ----------
    num_examples, sum_weights
        How many examples, and the sum of w.
    auc
        Probability that an example of label 1 has a higher p than one of label 0, ties counted half; for more than two
        classes, the mean over the classes of one against the rest. In [0, 1].
    gauc
        Mean of the AUC inside each group, weighted by the group's sum of w, over the groups that hold both labels.
    gauc_groups, gauc_groups_left_out, gauc_share_left_out
        Number of groups in `gauc`, number left out because they hold one label only, and those groups' share of sum w.
    logloss
        sum -w log(p of the label) / sum w, in nats. p is first brought into [eps, 1 - eps], where eps is that of the
        type of the probabilities (1.2e-7 for float32, 2.2e-16 for float64), as in scikit-learn: so it is finite, at
        most 15.9 or 36.0 an example.
    normalized_entropy
        logloss / entropy of the class shares of these same examples; 1 is the constant best guess, lower is better
        (He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, equation 3).
    pr_auc
        Average precision: area under the precision-recall steps, ties taken at once.
    calibration_ratio
        sum w p / sum w y; above 1 the model promises too many clicks.
    calibration_error
        Expected calibration error over 15 bins of equal sum of w: sum over bins of abs(sum w p - sum w y), over sum w.
        Equal probabilities are never divided between bins. (Bins of equal width would hold nearly all examples of a
        click log in the first.)
    label_rate, mean_probability
        sum w y / sum w, and sum w p / sum w.
    accuracy
        Weighted share of examples whose most probable class (the first one, among equals) is the label.
    undefined
        Why a metric is None, by its name.
    own
        Metrics of one's own, by their names (`metrics.own`).
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
    undefined: dict[str, str]
    own: dict[str, float | None] = {}

    @classmethod
    def of(
        cls,
        num_examples: int,
        sum_weights: float,
        figures: Mapping[str, float | str],
        otherwise: str = "",
        own: Mapping[str, float | None] | None = None,
    ) -> Metrics:
        """Build the metrics from figures, or reasons in their place; `otherwise` is the reason for those left out.

        Examples
        --------
        >>> metrics = Metrics.of(1, 1.0, {"logloss": 0.25, "auc": "only label 1 occurs"}, otherwise="a reason")
        >>> metrics.logloss, metrics.auc, metrics.undefined["auc"], metrics.undefined["gauc"]
        (0.25, None, 'only label 1 occurs', 'a reason')
        """
        values: dict[str, Any] = {"num_examples": num_examples, "sum_weights": sum_weights}
        undefined: dict[str, str] = {}
        for name in cls.__struct_fields__[2:-2]:
            figure = figures.get(name, otherwise)
            if isinstance(figure, str):
                undefined[name] = figure
            values[name] = None if isinstance(figure, str) else figure
        return cls(**values, undefined=undefined, own=dict(own or {}))

    @classmethod
    def nothing(cls, num_examples: int) -> Metrics:
        """Build the metrics of no examples, or of examples that all have the weight zero."""
        return cls.of(num_examples, 0.0, {}, "the weights sum to zero" if num_examples else "there are no examples")

    def warnings(self, part: str) -> list[str]:
        """Return what people should know of these figures before they use the model; `part` names the examples.

        Examples
        --------
        >>> Metrics.of(9, 9.0, {"normalized_entropy": 0.8}).warnings("test")
        []
        >>> Metrics.of(9, 9.0, {"normalized_entropy": 1.25}).warnings("test")
        ['normalized entropy is 1.2500 on test: the probabilities are worse than predicting the base rate']
        """
        entropy = self.normalized_entropy
        if entropy is None or entropy <= 1:
            return []
        return [
            f"normalized entropy is {entropy:.4f} on {part}: the probabilities are worse than predicting the base rate"
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON: None (null) where a metric is not defined."""
        return msgspec.structs.asdict(self)
