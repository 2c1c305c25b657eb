"""scikit-learn's own checks, those of `check_estimator`, of every estimator.

Logistic regression, whose trainings take the least, goes through them in every run. So does one other through those
that depend on the model; all others go through all of them under ``-m long``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fieldwise.sklearn import LCDNNClassifier, LCWideDeepClassifier, LRClassifier

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"
WEIGHTS = "weights count in the loss alone: bins, scales and vocabularies are learned from the rows, each counted once"
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}
OF_THE_MODEL = {
    "check_classifiers_classes",
    "check_decision_proba_consistency",
    "check_dont_overwrite_parameters",
    "check_estimators_partial_fit_n_features",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
}
QUICK = {"units": 2, "hidden": (4,), "epochs": 3}


@parametrize_with_checks([LRClassifier()], expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS)
def test_logistic_regression_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_a_network_passes_the_checks_that_depend_on_the_model():
    passed = set()
    for estimator, check in estimator_checks_generator(LCDNNClassifier(**QUICK)):
        name = re.search(r"check_\w+", repr(check.func))[0]
        if name in OF_THE_MODEL:
            check(estimator)
            passed.add(name)
    assert passed == OF_THE_MODEL


@pytest.mark.long
@parametrize_with_checks(
    [LCDNNClassifier(), LCWideDeepClassifier()],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_the_others_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_the_page_names_every_check_that_is_excepted_and_at_most_five_are():
    assert len(EXPECTED_FAILED_CHECKS) <= 5
    told = dict(re.findall(r"^\| `(check_\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE))
    assert told == EXPECTED_FAILED_CHECKS
