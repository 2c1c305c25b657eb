"""Presets say what time a model is worth, and a budget of minutes leaves out what would not fit."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.events import Noted, Sampling
from fieldwise.jobs.outlook import Rates
from fieldwise.jobs.presets import over_budget


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    write(make_table(1500), folder / "log.parquet")
    (folder / "log.toml").write_text(config_text("log.parquet"))
    return folder / "log.toml"


@given(st.dictionaries(st.text(max_size=3), st.floats(0.1, 1000)), st.floats(0.01, 20))
def test_what_is_left_fits_and_nothing_left_out_is_cheaper_than_what_is_left(costs, minutes):
    dropped = over_budget(costs, minutes)
    left = {name: cost for name, cost in costs.items() if name not in dropped}
    assert sum(left.values()) <= 60 * minutes
    assert all(costs[name] >= cost for name in dropped for cost in left.values())
    if dropped:
        assert sum(left.values()) + costs[dropped[-1]] > 60 * minutes


def test_a_budget_that_nothing_fits_leaves_logistic_regression_and_says_what_it_leaves_out(log, tmp_path):
    heard, run = [], tmp_path / "run"
    config = fw.load_config(log, ["model.kind=lc-dnn+bayesian-fm", "train.minutes=1e-9"])
    result = fw.train(config, run, listen=heard.append)
    assert (result.model, sorted(result.left_out)) == ("lr", ["bayesian-fm", "lc-dnn"])
    assert [event.text for event in heard if isinstance(event, Noted) and "left out" in event.text]
    assert fw.train(config, run) == result
    command = ["train", str(log), "--out", str(run), "--quiet", "--set", "model.kind=lc-dnn+bayesian-fm"]
    shown = CliRunner().invoke(main, [*command, "--minutes", "1e-9"], catch_exceptions=False)
    assert "Left out, for train.minutes = 1e-09: " in shown.output


@pytest.mark.parametrize(
    ("method", "says"), [("gibbs", "sampling ended after 16 sweeps"), ("variational", "1 pass in place of 12")]
)
def test_a_budget_that_estimates_did_not_see_coming_ends_sampling_and_training(
    log, tmp_path, monkeypatch, method, says
):
    monkeypatch.setattr("fieldwise.jobs.presets.measure_rates", lambda: Rates(1e30, 1e30))  # nothing is left out
    sampler = ["train.sampler.sweeps=40", "train.sampler.burn_in=6", f"train.sampler.method={method}"]
    settings = ["model.kind=lc-dnn+bayesian-fm", "train.epochs=5", *sampler]
    heard = []
    config = fw.load_config(log, [*settings, "train.minutes=1e-9"])
    result = fw.train(config, tmp_path / method, listen=heard.append)
    assert (result.model, result.left_out, result.epochs) == ("lc-dnn+bayesian-fm", [], 1)
    said = [event.text for event in heard if isinstance(event, Noted)]
    assert "training ended after 1 epoch, for train.minutes" in said
    assert f"{says}, for train.minutes" in said
    passes = [event.sweep for event in heard if isinstance(event, Sampling)]
    assert passes[-1] == (16 if method == "gibbs" else 1)
    assert fw.train(config, tmp_path / method) == result
    enough = fw.train(fw.load_config(log, [*settings, "train.minutes=60"]), tmp_path / f"{method}-enough")
    assert enough.epochs > 1


def test_fast_compares_two_models_and_a_budget_leaves_all_but_logistic_regression_out(log, tmp_path):
    command = ["compare", str(log), "--out", str(tmp_path), "--quiet", "--json", "--preset", "fast"]
    found = json.loads(CliRunner().invoke(main, command, catch_exceptions=False).stdout)
    assert [each["model"] for each in found["models"]] == ["lr", "lc-dnn"]
    less = [*command, "--minutes", "1e-9", "--overwrite"]
    found = json.loads(CliRunner().invoke(main, less, catch_exceptions=False).stdout)
    assert [each["model"] for each in found["models"]] == ["lr"]
