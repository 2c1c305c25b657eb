"""Searching: the same trials after a stop, no look at the test rows, budgets, and a configuration to train from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from tests.logs import FIELDS, QUICK, make_table

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.events import EpochEnd, Noted, StageStart
from fieldwise.jobs.init.write_config import config_toml
from fieldwise.jobs.tune.space import SPACE, Choice, Range, changed, space_of

DATA = '[data]\ntrain = "log.parquet"\nvalid = 0.3\ntest = 0.3\nlabel = "click"\nexclude = ["impression"]\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    pa.parquet.write_table(make_table(1500), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(DATA + FIELDS + QUICK)
    return folder


@pytest.fixture(scope="module")
def config(folder):
    return fw.load_config(folder / "fieldwise.toml")


@pytest.fixture(scope="module")
def tuned(folder, config):
    events = []
    return fw.tune(config, folder / "whole", trials=8, listen=events.append), events


def without_time(tuning):
    plain = tuning.as_dict()
    return {key: plain[key] for key in ("trials", "best", "valid", "test")}


def test_the_first_trial_is_the_configuration_and_the_best_on_valid_wins(config, tuned):
    tuning, events = tuned
    assert [trial.number for trial in tuning.trials] == list(range(8))
    assert tuning.trials[0].values == {}
    assert {key for trial in tuning.trials for key in trial.values} == {each.key for each in space_of(config)}
    done = {trial.number: trial.value for trial in tuning.trials if trial.state == "done"}
    assert tuning.best == max(done, key=done.get)
    assert tuning.valid.auc == pytest.approx(done[tuning.best], abs=1e-7)
    assert tuning.test.num_examples > 0
    assert len([event for event in events if isinstance(event, Noted) and event.text.startswith("trial")]) == 8


def test_no_trial_sees_the_test_rows_and_they_are_evaluated_once(folder, tuned):
    tuning, _ = tuned
    runs = [path for path in (folder / "whole" / "trials").iterdir() if path.name.isdigit()]
    assert [int(path.name) for path in runs] == [tuning.best]  # the others' weights are removed
    assert all('"test":null' in path.read_text().replace(" ", "") for path in runs[0].glob("run.json"))
    seen = []
    again = fw.tune(fw.load_config(folder / "fieldwise.toml"), folder / "whole", trials=8, listen=seen.append)
    assert without_time(again) == without_time(tuning)
    assert not [event for event in seen if isinstance(event, StageStart)]


def test_a_search_is_verified_and_damage_to_its_record_is_found(folder, tuned, tmp_path):
    shutil.copytree(folder / "whole", tmp_path / "copy")
    verification = fw.verify(tmp_path / "copy")
    assert (verification.damages, verification.artefacts[0].kind) == ([], "search")
    path = tmp_path / "copy" / "tune.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert "tune.json" in fw.verify(tmp_path / "copy").damages[0]
    with pytest.raises(fw.ArtefactError, match=r"tune\.json"):
        fw.tune(fw.load_config(folder / "fieldwise.toml"), tmp_path / "copy", trials=8)


def test_trials_that_share_their_logistic_regression_train_it_once(config, tmp_path):
    trained = []

    def listen(event):
        if isinstance(event, StageStart) and event.name == "train":
            trained.append(event.model)

    fw.tune(config, tmp_path / "search", trials=3, only=["model.units", "model.dropout"], listen=listen)
    assert trained == ["lr", "lc-dnn", "lc-dnn", "lc-dnn"]


def test_the_best_configuration_trains_to_the_same_model_from_its_file(folder, tuned):
    tuning, _ = tuned
    result = fw.train(fw.load_config(tuning.config), folder / "from-file")
    assert result.valid.auc == tuning.valid.auc
    assert result.test.auc == tuning.test.auc


@pytest.mark.parametrize("stop_at", [3, 11, 20])
def test_a_search_that_was_stopped_goes_on_with_the_same_trials(folder, config, tuned, tmp_path, stop_at):
    tuning, _ = tuned
    count = 0

    class Killed(BaseException):
        pass

    def listen(event):
        nonlocal count
        count += isinstance(event, EpochEnd)
        if count == stop_at:
            raise Killed

    with pytest.raises(Killed):
        fw.tune(config, tmp_path / "cut", trials=8, listen=listen)
    assert without_time(fw.tune(config, tmp_path / "cut", trials=8)) == without_time(tuning)


@pytest.mark.long
def test_a_search_that_is_killed_with_sigkill_again_and_again_ends_with_the_same_trials(
    folder, config, tuned, tmp_path
):
    tuning, _ = tuned
    command = [sys.executable, "-m", "fieldwise", "tune", str(folder / "fieldwise.toml"), "--trials", "8", "--quiet"]
    command += ["--out", str(tmp_path / "cut"), "--json", "--no-report"]
    for number in range(8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(4 + 1.3 * number)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["trials"] == tuning.as_dict()["trials"]


def test_a_larger_budget_goes_on_and_a_smaller_one_stops(config, tmp_path):
    first = fw.tune(config, tmp_path / "search", trials=1, only=["model.units"])
    assert len(first.trials) == 1
    more = fw.tune(config, tmp_path / "search", trials=3, only=["model.units"])
    assert more.trials[0] == first.trials[0]
    assert [set(trial.values) for trial in more.trials] == [set(), {"model.units"}, {"model.units"}]
    timed = fw.tune(config, tmp_path / "search", minutes=1e-6, only=["model.units"])
    assert timed.trials == more.trials


def test_without_time_there_is_one_trial_all_the_same(config, tmp_path):
    tuning = fw.tune(config, tmp_path / "search", minutes=1e-6)
    assert [trial.state for trial in tuning.trials] == ["done"]
    assert tuning.best == 0


def test_trials_that_diverge_are_noted_and_do_not_win(config, tmp_path, monkeypatch):
    from fieldwise.jobs.tune import space

    monkeypatch.setattr(space, "SPACE", ())
    wild = (space.Dimension("train.dense.learning_rate", Choice((1e30,)), lambda _: True),)
    monkeypatch.setattr("fieldwise.jobs.tune.tune.space_of", lambda config, only: space_of(config, only, wild))
    tuning = fw.tune(config, tmp_path / "search", trials=4)
    failed = [trial for trial in tuning.trials if trial.state == "failed"]
    assert failed
    assert all(trial.note for trial in failed)
    assert all(trial.values["train.dense.learning_rate"] == 1e30 for trial in failed)
    assert tuning.trials[tuning.best].state == "done"


def test_a_logloss_is_made_small(config, tmp_path):
    by_loss = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, stop_on="logloss"))
    tuning = fw.tune(by_loss, tmp_path / "search", trials=3, only=["train.table.learning_rate"])
    assert -tuning.trials[tuning.best].value == pytest.approx(min(-trial.value for trial in tuning.trials))
    assert tuning.valid.logloss == pytest.approx(-tuning.trials[tuning.best].value, abs=1e-6)


@pytest.mark.parametrize("kind", ["lr", "dnn", "lc-wide-deep"])
def test_every_model_has_a_space_whose_values_are_valid(config, kind):
    of_kind = msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, kind=kind))
    dimensions = space_of(of_kind)
    assert dimensions
    assert all(dimension.key != "model.units" for dimension in dimensions if kind != "lc-wide-deep")
    for dimension in dimensions:
        values = dimension.what.values if isinstance(dimension.what, Choice) else dimension.what[:2]
        for value in values:
            assert changed(of_kind, {dimension.key: value}) is not None


def test_the_configurations_own_value_is_among_those_tried(config):
    own = changed(config, {"model.units": 5, "model.dropout": 0.7, "train.dense.learning_rate": 1.0})
    found = {dimension.key: dimension.what for dimension in space_of(own)}
    assert found["model.units"].values[0] == 5
    assert found["model.dropout"].high == 0.7
    assert found["train.dense.learning_rate"] == Range(2e-4, 1.0, True)
    assert len({dimension.key for dimension in SPACE}) == len(SPACE)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"only": ["model.unit"]}, "did you mean model.units"),
        ({"trials": 0}, "budget"),
        ({"minutes": 0.0}, "budget"),
    ],
)
def test_what_cannot_be_searched_is_refused(config, tmp_path, asked, says):
    with pytest.raises(fw.ConfigError, match=says):
        fw.tune(config, tmp_path / "search", **asked)


def test_a_search_needs_validation_rows_a_folder_of_its_own_and_optuna(folder, config, tmp_path, monkeypatch, tuned):
    no_valid = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, valid=None))
    with pytest.raises(fw.ConfigError, match=r"data\.valid"):
        fw.tune(no_valid, tmp_path / "search", trials=1)
    with pytest.raises(fw.ConfigError, match="seed: 0 there, 1 now"):
        fw.tune(config, folder / "whole", trials=8, seed=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(fw.ConfigError, match="not a search folder"):
        fw.tune(config, tmp_path / "other", trials=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(fw.ConfigError, match=r"fieldwise\[tune\]"):
        fw.tune(config, tmp_path / "search", trials=1)


def test_a_configuration_written_as_toml_is_read_as_the_same(tmp_path):
    text = """
    [data]
    train = ["logs/*.parquet", "s3://bucket/log.parquet"]
    valid = 0.1
    test = "later.csv"
    label = "clicked?"
    csv = { delimiter = "\\t" }
    [fields."user id"]
    min_count = 2
    [fields.price]
    type = "number"
    edges = [0.5, 1.0]
    [fields."quote\\"d"]
    cross = ["user id", "price"]
    buckets = 100
    [fields.flag]
    default = false
    exclude = true
    [model]
    hidden = [3, 4]
    skip = false
    [train.table]
    learning_rate = 1e-4
    betas = [0.5, 0.9]
    """
    config = fw.parse_config(text, base=tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    written = config_toml(config, tmp_path / "deep" / "er")
    (tmp_path / "deep" / "er" / "best.toml").write_text(written)
    again = fw.load_config(tmp_path / "deep" / "er" / "best.toml")
    assert (again.fields, again.model, again.train, again.pretrain) == (
        config.fields, config.model, config.train, config.pretrain
    )  # fmt: skip
    for part in ("train", "test"):
        paths = [path if "://" in path else os.path.realpath(path) for path in again.paths(part)]
        assert paths == [path if "://" in path else os.path.realpath(path) for path in config.paths(part)]
    assert (again.data.valid, again.data.label, again.data.csv) == (0.1, "clicked?", config.data.csv)
    assert os.path.realpath(Path(again.base) / again.data.cache) == str(tmp_path / ".fieldwise")


def test_the_command_line_prints_the_search_and_what_to_do_next(folder, tuned):
    arguments = ["tune", str(folder / "fieldwise.toml"), "--out", str(folder / "whole"), "--trials", "8", "--quiet"]
    printed = CliRunner().invoke(main, arguments)
    assert printed.exit_code == 0, printed.stderr
    assert "8 trials" in printed.stdout
    assert f"fieldwise train {folder / 'whole' / 'best.toml'}" in printed.stdout
    assert (
        max(len(line) for line in printed.stdout.splitlines() if "tune" not in line and "fieldwise" not in line) <= 100
    )
    plain = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert plain["trials"] == tuned[0].as_dict()["trials"]


def test_a_model_that_is_sampled_is_searched_too(config, tmp_path):
    sampled = changed(config, {"train.sampler.burn_in": 2, "train.sampler.sweeps": 8})
    sampled = msgspec.structs.replace(sampled, model=msgspec.structs.replace(sampled.model, kind="bayesian-fm"))
    assert [dimension.key for dimension in space_of(sampled)] == ["model.factors"]
    tuning = fw.tune(sampled, tmp_path / "search", trials=2)
    assert [trial.state for trial in tuning.trials] == ["done", "done"]
    assert tuning.valid.auc == pytest.approx(tuning.trials[tuning.best].value, abs=1e-7)
