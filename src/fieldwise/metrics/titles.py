"""What metrics are called, in tables and in pictures."""

from __future__ import annotations

__all__ = ["RANKING", "TITLES", "title_of"]

TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "logloss": "logloss",
    "normalized_entropy": "normalized entropy",
    "pr_auc": "PR-AUC",
    "calibration_ratio": "calibration ratio",
    "calibration_error": "expected calibration error",
    "label_rate": "label rate",
    "mean_probability": "mean probability",
    "accuracy": "accuracy",
    "ndcg": "NDCG@{}",
    "mrr": "MRR",
    "hit_rate": "hit rate@{}",
    "recall": "recall@{}",
}
"""In the order of tables; {} is the cutoff."""
RANKING = ("ndcg", "mrr", "hit_rate", "recall")


def title_of(metric: str, cutoff: int = 10) -> str:
    """Return the title of a metric, of ``METRIC:LABEL``, and of one's own its name.

    Examples
    --------
    >>> title_of("auc:conversion"), title_of("ndcg", 5), title_of("profit")
    ('AUC of conversion', 'NDCG@5', 'profit')
    """
    name, _, label = metric.partition(":")
    title = TITLES[name].format(cutoff) if name in TITLES else name
    return f"{title} of {label}" if label else title
