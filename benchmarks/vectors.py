"""Vectors as inputs: estimators on an embedding of 32 numbers, beside scikit-learn's on the same numbers.

    python benchmarks/vectors.py

20,000 rows, the last fifth for testing, of two planted truths: one linear in the vector, one with the product of two
directions. Test AUC / logloss, and processor seconds of fitting and answering.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fieldwise.sklearn import LCDNNClassifier, LRClassifier

ROWS, LENGTH, TRAIN = 20_000, 32, 16_000


def main() -> None:
    """Draw both logs, and print what each model reaches."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(ROWS, LENGTH)) @ rng.normal(size=(LENGTH, LENGTH)) / 5 + 1).astype(np.float32)
    scaled = (vectors - vectors.mean(0)) / vectors.std(0)
    one, two, three, four = (scaled @ rng.normal(size=LENGTH) for _ in range(4))
    product = 2.4 * np.tanh(0.25 * two) * np.tanh(0.25 * three) + 0.8 * np.tanh(0.2 * four)
    rows = pd.DataFrame({"embedding": list(vectors), "page": rng.integers(0, 9, ROWS).astype(str)})
    for name, logit in (("linear", 0.25 * one), ("product", product)):
        probability = 1 / (1 + np.exp(0.5 - logit))
        labels = (rng.random(ROWS) < probability).astype(int)
        show(f"{name}: best possible", labels[TRAIN:], probability[TRAIN:])
        network = MLPClassifier((128, 64), early_stopping=True, random_state=0)
        peers: list[Any] = [LogisticRegression(max_iter=1000), network]
        for model in (*(make_pipeline(StandardScaler(), peer) for peer in peers), LRClassifier(), LCDNNClassifier()):
            given: Any = vectors if hasattr(model, "steps") else rows
            started = time.process_time()
            answers = model.fit(given[:TRAIN], labels[:TRAIN]).predict_proba(given[TRAIN:])[:, 1]
            seconds = time.process_time() - started
            show(
                f"{name}: {type(getattr(model, 'steps', [('', model)])[-1][1]).__name__}",
                labels[TRAIN:],
                answers,
                seconds,
            )


def show(name: str, labels: Any, probabilities: Any, seconds: float = 0.0) -> None:
    """Print a line."""
    figures = f"{roc_auc_score(labels, probabilities):.4f} / {log_loss(labels, probabilities):.4f}"
    print(f"{name:32} {figures}  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
