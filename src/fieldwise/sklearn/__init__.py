"""Click models as scikit-learn's classifiers: no configuration file, no folder to look after.

::

    from fieldwise.sklearn import LCDNNClassifier

    model = LCDNNClassifier(epochs=5).fit(X, y, eval_set=(X_valid, y_valid))
    model.predict_proba(X_new)[:, 1]

`X` is a data frame (pandas, polars, Arrow), an array of numbers, a sparse matrix, or the paths of files. A fitted
estimator holds the same model that ``fieldwise train`` saves, and answers as `fieldwise.Predictor` does.

======================  =======================================  ===========  =============  ===============
estimator               model                                    classes      `partial_fit`  `sample_weight`
======================  =======================================  ===========  =============  ===============
`LRClassifier`          logistic regression                      two or more  yes            yes
`LCDNNClassifier`       locally connected layer, then a network  two or more  yes            yes
`LCWideDeepClassifier`  the same beside logistic regression      two or more  yes            yes
`BayesianFMClassifier`  a Bayesian factorisation machine         two          no             yes
`StackClassifier`       several, weighed on validation rows      as members   no             yes
======================  =======================================  ===========  =============  ===============

See docs/sklearn.md.
"""

from __future__ import annotations

from fieldwise.errors import EXTRAS

try:
    from fieldwise.sklearn.models import (
        BayesianFMClassifier,
        LCDNNClassifier,
        LCWideDeepClassifier,
        LRClassifier,
        StackClassifier,
    )
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in {*EXTRAS, "sklearn"}:
        raise
    raise ImportError(
        f"fieldwise.sklearn needs {missing}, which is not installed: pip install 'fieldwise[train,sklearn]'"
    ) from None

__all__ = ["BayesianFMClassifier", "LCDNNClassifier", "LCWideDeepClassifier", "LRClassifier", "StackClassifier"]
