"""The gate, on planted probabilities: what a version is worth follows from the truth, not from our metrics."""

from __future__ import annotations

import numpy as np
import pytest

from fieldwise.jobs.update.gate import HeldOutAnswers, SliceColumn, judge
from fieldwise.training.update_config import GateConfig

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


class Planted:
    """Examples of seven days with known probabilities, and versions of a model that know them more or less well."""

    def __init__(self, seed: int, rows: int = 20_000, rate_logit: float = -2.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.logit = rate_logit + self.rng.normal(size=rows)
        self.truth = sigmoid(self.logit)
        self.labels = (self.rng.random(rows) < self.truth).astype(np.int32)
        self.days = np.arange(rows) % 7

    def noisy(self, noise: float) -> Floats:
        """A version with errors of its own in the logit, calibrated."""
        noisy = self.logit + noise * self.rng.normal(size=len(self.logit))
        return calibrated(noisy, self.truth)


def sigmoid(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))


def calibrated(logit: Floats, truth: Floats) -> Floats:
    """Move and flatten a logit until it is the true probabilities' mean in each of its fifty quantiles."""
    order = np.argsort(logit)
    found = np.empty_like(logit)
    for part in np.array_split(order, 50):
        found[part] = truth[part].mean() * (1 + 1e-6 * np.linspace(-1, 1, len(part)))
    return found


def share_refused(number: int, noise: float, settings: GateConfig, rows: int = 8_000) -> float:
    """Of versions with `noise` beside one in use with .3, as good as that where it has .3."""
    refused = 0
    for seed in range(number):
        planted = Planted(1_000 + seed, rows)
        answers = HeldOutAnswers(planted.labels, planted.days, planted.noisy(noise), planted.noisy(0.3))
        refused += not judge(answers, settings).publish
    return refused / number


def test_the_level_is_what_it_says() -> None:
    # One in 40 by the AUC or, mostly the same one, by the logloss; a large fall at its own level is more.
    assert share_refused(80, 0.3, GateConfig(max_fall=1.0)) <= 0.09
    assert 0.2 <= share_refused(40, 0.3, GateConfig(max_fall=1.0, level=0.5)) <= 0.6
    assert share_refused(40, 0.3, GateConfig()) <= 0.18  # a fall of .003, and its interval of confidence .8 below 0


def test_the_more_harm_a_version_does_and_the_more_there_is_to_judge_by_the_more_often_it_is_refused() -> None:
    little, much = (share_refused(20, noise, GateConfig()) for noise in (0.45, 0.8))
    assert little < 0.9 <= much
    assert share_refused(6, 0.45, GateConfig(), rows=60_000) == 1.0


def test_a_version_that_has_followed_a_drift_is_published_though_older_days_speak_against_it() -> None:
    refused = {"by age": 0, "all days alike": 0}
    for seed in range(6):
        planted = Planted(300 + seed, rows=70_000)
        moving = planted.rng.normal(size=70_000)
        truth = sigmoid(planted.logit + moving * 0.08 * planted.days)
        labels = (planted.rng.random(70_000) < truth).astype(np.int32)
        # What was learned of several days is right for one in their middle.
        new, old = (sigmoid(planted.logit + moving * 0.08 * day) for day in (4.5, 3.5))
        answers = HeldOutAnswers(labels, planted.days, new, old)
        refused["by age"] += not judge(answers, GateConfig()).publish
        refused["all days alike"] += not judge(answers, GateConfig(half_life=1e9, newest=1.0)).publish
    assert refused == {"by age": 0, "all days alike": 6}


@pytest.mark.parametrize("wrong", [0.2, 0.8])
def test_the_newest_day_does_not_outvote_the_others_where_its_labels_are_wrong(wrong: float) -> None:
    planted = Planted(10, rows=14_000)
    flipped = (planted.days == 6) & (planted.rng.random(14_000) < wrong)
    labels = np.where(flipped, 1 - planted.labels, planted.labels)
    follows = sigmoid((1 - 2 * wrong) * planted.logit + 0.5 * planted.rng.normal(size=14_000))
    answers = HeldOutAnswers(labels, planted.days, follows, planted.truth)
    assert not judge(answers, GateConfig()).publish
    assert any("AUC" in reason for reason in judge(answers, GateConfig()).reasons)


def test_a_version_that_is_better_is_published_and_one_that_is_worse_is_refused() -> None:
    for seed in range(10):
        planted = Planted(100 + seed)
        good, bad = planted.noisy(0.1), planted.noisy(0.8)
        better = judge(HeldOutAnswers(planted.labels, planted.days, good, bad), GateConfig())
        worse = judge(HeldOutAnswers(planted.labels, planted.days, bad, good), GateConfig())
        assert better.publish
        assert not better.reasons
        assert not worse.publish
        assert any("AUC is" in reason and "the version in use" in reason for reason in worse.reasons)


def test_a_large_fall_of_auc_is_refused_at_a_level_of_its_own() -> None:
    planted = Planted(1, rows=3_000)
    answers = HeldOutAnswers(planted.labels, planted.days, planted.noisy(0.3), planted.noisy(0.2))
    [auc] = [each for each in judge(answers, GateConfig(max_fall=1.0)).checks if each.what == "auc"]
    assert auc.value is not None
    assert auc.high is not None
    assert auc.value < -0.001 < 0 < auc.high
    assert judge(answers, GateConfig(max_fall=1.0)).publish
    assert judge(answers, GateConfig(max_fall=0.001)).publish
    assert not judge(answers, GateConfig(max_fall=0.001, fall_level=1.0)).publish


def test_small_steps_down_do_not_add_up() -> None:
    planted = Planted(2)
    week_before, yesterday, today = planted.noisy(0.0), planted.noisy(0.6), planted.noisy(0.6)
    assert judge(HeldOutAnswers(planted.labels, planted.days, today, yesterday), GateConfig(max_fall=0.02)).publish
    decision = judge(
        HeldOutAnswers(planted.labels, planted.days, today, yesterday, week_before), GateConfig(max_fall=0.02)
    )
    assert not decision.publish
    assert all("a week before" in reason for reason in decision.reasons)


def test_a_version_that_predicts_too_many_clicks_is_refused_unless_it_is_nearer_than_before() -> None:
    planted = Planted(3, rows=60_000)
    for factor, before, publish in ((1.15, 1.0, False), (0.85, 1.0, False), (1.03, 1.0, True), (1.15, 1.3, True)):
        new, old = factor * planted.truth, before * planted.truth
        decision = judge(
            HeldOutAnswers(planted.labels, planted.days, new.clip(0, 0.999), old.clip(0, 0.999)),
            GateConfig(level=1e-9),  # of logloss nothing is asked here
        )
        assert decision.publish == publish, (factor, before, decision.reasons)
        assert any("calibration" in text for text in decision.reasons) == (not publish)
        assert any("as before" in text for text in decision.warnings) == (before == 1.3)


def test_a_version_that_follows_a_season_is_published_and_one_that_follows_lost_clicks_is_not() -> None:
    planted = Planted(9, rows=70_000)
    season = 0.25 * np.sin(2 * np.pi * np.arange(7) / 7)
    truth = sigmoid(planted.logit + season[planted.days])
    labels = (planted.rng.random(70_000) < truth).astype(np.int32)
    yesterday = sigmoid(planted.logit + season[5])
    for newest in range(7):  # the version that is right for one of the days, whichever is the newest
        days = (planted.days - newest - 1) % 7
        today = sigmoid(planted.logit + season[newest])
        decision = judge(HeldOutAnswers(labels, days, today, yesterday), GateConfig(max_fall=0.02))
        assert decision.publish, decision.reasons
    lost = (planted.days == 6) & (planted.rng.random(70_000) < 0.3)
    seen = np.where(lost, 0, planted.labels)
    answers = HeldOutAnswers(seen, planted.days, sigmoid(planted.logit - 0.36), planted.truth)
    [reason] = judge(answers, GateConfig(max_fall=0.02)).reasons
    assert "calibration is 0.8" in reason


def test_a_slice_that_is_out_of_bounds_is_named_and_the_number_of_slices_allowed_for() -> None:
    planted = Planted(4, rows=60_000)
    city = np.arange(60_000) % 5
    new = np.where(city == 3, 1.3, 1.0) * planted.truth
    slices = {"city": SliceColumn(city, ["Rome", "Oslo", "Bern", "Lima", "Baku"])}
    answers = HeldOutAnswers(planted.labels, planted.days, new.clip(0, 0.99), planted.truth, slices=slices)
    decision = judge(answers, GateConfig(level=1e-9))
    assert not decision.publish
    assert [reason.split(" is ")[0] for reason in decision.reasons if "city" in reason] == ["calibration of city=Lima"]
    num_refused = 0
    for seed in range(20):  # 40 slices that are right: without allowing for their number many were refused
        planted = Planted(200 + seed, rows=20_000)
        slices = {"user": SliceColumn(np.arange(20_000) % 40, [str(user) for user in range(40)])}
        answers = HeldOutAnswers(planted.labels, planted.days, planted.truth, 0.999 * planted.truth, slices=slices)
        num_refused += not judge(answers, GateConfig(level=1e-9, calibration_step=0)).publish
    assert num_refused <= 1


def slices_that_move(seed: int, spread: float) -> tuple[Planted, HeldOutAnswers]:
    """Forty slices whose logits move by themselves from day to day, and a version that follows the newest a little."""
    planted = Planted(seed, rows=28_000)
    shop = planted.rng.integers(0, 40, 28_000)
    moves = spread * planted.rng.normal(size=(40, 7))
    truth = sigmoid(planted.logit + moves[shop, planted.days])
    labels = (planted.rng.random(28_000) < truth).astype(np.int32)
    new = sigmoid(planted.logit + 0.25 * moves[shop, 6])
    slices = {"shop": SliceColumn(shop, [str(each) for each in range(40)])}
    return planted, HeldOutAnswers(labels, planted.days, new, planted.truth, slices=slices)


def test_slices_that_differ_from_day_to_day_are_no_harm_and_one_that_is_wrong_on_all_days_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = GateConfig(level=1e-9, max_fall=1.0)

    def shares(spread: float) -> tuple[int, int]:
        """Of ten versions, how many are refused, and of ten with a slice that is wrong."""
        refused, found = 0, 0
        for seed in range(10):
            _, answers = slices_that_move(400 + seed, spread)
            refused += not judge(answers, settings).publish
            wrong = np.where(answers.slices["shop"].ids == 3, 3.0, 1.0) * answers.new
            decision = judge(answers._replace(new=wrong.clip(0, 0.99)), settings)
            found += any("shop=3 " in reason for reason in decision.reasons)
        return refused, found

    assert shares(0.0) == (0, 10)
    refused, found = shares(1.0)
    assert (refused, found >= 6) == (0, True)
    monkeypatch.setattr("fieldwise.jobs.update.gate.dispersion_between", lambda *_: 1.0)
    assert shares(1.0)[0] >= 6  # with clicks as independent as elsewhere


def test_a_slice_of_a_handful_of_examples_is_no_reason() -> None:
    planted = Planted(11, rows=20_000)
    few = np.arange(20_000) < 60
    answers = HeldOutAnswers(
        planted.labels,
        planted.days,
        np.where(few, np.minimum(6 * planted.truth, 0.9), planted.truth),
        planted.truth,
        slices={"city": SliceColumn(few.astype(np.int64), ["many", "few"])},
    )
    of_slices = GateConfig(level=1e-9, max_fall=1.0)
    assert judge(answers, of_slices).publish
    [reason] = judge(answers, GateConfig(level=1e-9, max_fall=1.0, slice_clicks=5)).reasons
    assert "city=few" in reason


def test_too_few_clicks_keep_the_version_in_use() -> None:
    planted = Planted(5, rows=1_000, rate_logit=-4.0)
    decision = judge(HeldOutAnswers(planted.labels, planted.days, planted.truth, planted.truth), GateConfig())
    assert not decision.publish
    [reason] = decision.reasons
    assert f"{planted.labels.sum()} clicks" in reason
    assert "expected 200" in reason


def test_days_that_have_left_the_window_do_not_count() -> None:
    planted = Planted(6)
    flipped_before = np.where(planted.days < 3, 1 - planted.truth, planted.truth)
    answers = HeldOutAnswers(planted.labels, planted.days, flipped_before, planted.truth)
    assert not judge(answers, GateConfig()).publish
    decision = judge(answers, GateConfig(window=4))
    assert decision.publish
    assert decision.days == 4


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_version_that_answers_with_no_number_is_refused(broken: float) -> None:
    planted = Planted(7)
    new = planted.truth.copy()
    new[5] = broken
    assert not judge(HeldOutAnswers(planted.labels, planted.days, new, planted.truth), GateConfig()).publish


def test_weights_count_as_they_do_in_training() -> None:
    planted = Planted(8, rows=4_000)
    wrong = np.arange(4_000) < 2_000
    new = np.where(wrong, 1 - planted.truth, planted.truth)
    for ignored, publish in ((wrong, True), (~wrong, False)):
        weights = np.where(ignored, 0.0, 1.0)
        answers = HeldOutAnswers(planted.labels, planted.days, new, planted.truth, weights=weights)
        assert judge(answers, GateConfig()).publish == publish
