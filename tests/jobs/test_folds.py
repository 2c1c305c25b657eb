"""Cross-validation: every row judges one model that has not seen it, and the model that is kept has seen all."""

import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scipy.stats import ttest_rel
from tests.logs import FIELDS, QUICK, make_table

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.cli import main
from fieldwise.events import StageStart
from fieldwise.jobs.run import read_result
from fieldwise.metrics import evaluate_predictions
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

DATA = '[data]\ntrain = "log.parquet"\nlabel = "click"\ngroup = "session"\nfolds = 3\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    pq.write_table(make_table(1500), folder / "log.parquet")
    exclude = 'exclude = ["weight", "session", "impression", "split"]\n'
    (folder / "log.toml").write_text(DATA + exclude + FIELDS + QUICK)
    return folder


def test_folds_judge_a_model_that_all_rows_have_trained(folder):
    run = folder / "lr"
    command = ["train", str(folder / "log.toml"), "--out", str(run), "--quiet", "--set", "model.kind=lr", "--json"]
    found = json.loads(CliRunner().invoke(main, command, catch_exceptions=False).stdout)
    tested = [read_result(run / "folds" / str(fold)) for fold in range(3)]
    assert sum(result.test.num_examples for result in tested) == 1500
    assert found["folds"]["auc"]["of_folds"] == pytest.approx([result.test.auc for result in tested])
    assert found["folds"]["auc"]["mean"] == pytest.approx(np.mean([result.test.auc for result in tested]))
    assert found["l2"] == np.median([result.l2 for result in tested])
    assert (found["valid"], found["test"]) == (None, None)
    assert fw.prepare(fw.load_config(folder / "log.toml")).parts["train"].num_examples == 1500
    shown = CliRunner().invoke(main, command[:-1], catch_exceptions=False).output
    assert "Test metrics over 3 folds" in shown


def test_a_stack_of_all_rows_is_weighed_as_its_folds_are(folder):
    sampler = ["train.sampler.sweeps=8", "train.sampler.burn_in=2", "train.stop_on=pr_auc"]
    config = fw.load_config(folder / "log.toml", ["model.kind=lr+dnn", *sampler])
    result = fw.train(config, folder / "stack")
    of_folds = [read_result(folder / "stack" / "folds" / str(fold)) for fold in range(3)]
    for number, member in enumerate(result.members):
        mean = np.mean([each.members[number].weights for each in of_folds], axis=0)
        assert member.weights == pytest.approx(mean.tolist(), abs=1e-6)
    assert result.epochs == max(round(np.median([each.best_epoch for each in of_folds])), 1)


def test_a_network_of_all_rows_starts_from_the_folds_penalty_and_cross_validates_once(folder):
    result = fw.train(fw.load_config(folder / "log.toml", ["model.kind=lc-dnn"]), folder / "lc-dnn")
    folds = [folder / "lc-dnn" / "folds" / str(fold) for fold in range(3)]
    penalties = [read_result(fold / "pretrain").l2 for fold in folds]
    assert len(list((folder / "lc-dnn").rglob("run.json"))) == 1 + 2 * 3 + (result.model == "lc-dnn")
    if result.model == "lr":  # which most folds have kept
        assert sum(read_result(fold).kept is not None for fold in folds) > 1
        assert result.l2 == np.median(penalties)
    else:
        assert read_result(folder / "lc-dnn" / "pretrain").l2 == np.median(penalties)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["data.valid=0.1"], "folds already say"),
        (["data.fold=3"], "there is no such fold"),
    ],
)
def test_what_contradicts_folds_is_refused(folder, settings, says):
    with pytest.raises(fw.ConfigError, match=says):
        fw.load_config(folder / "log.toml", settings)


def test_a_comparison_over_folds_pools_them(folder, tmp_path):
    command = ["compare", str(folder / "log.toml"), "--out", str(tmp_path / "all"), "--models", "lr,dnn", "--quiet"]
    found = json.loads(CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False).stdout)
    runs = {
        name: [read_result(tmp_path / "all" / f"fold-{fold}" / name) for fold in range(3)] for name in ("lr", "dnn")
    }
    aucs = {name: np.array([run.test.auc for run in of_name]) for name, of_name in runs.items()}
    assert found["folds"] == 3
    for spread in found["spreads"]:
        assert spread["mean"]["test"]["auc"] == pytest.approx(aucs[spread["model"]].mean())
        assert spread["deviation"]["test"]["auc"] == pytest.approx(aucs[spread["model"]].std(ddof=1))
    [difference] = [each for each in found["differences"] if each["metric"] == "auc"]
    paired = ttest_rel(aucs[difference["model"]], aucs[difference["against"]])
    assert difference["p_value"] == pytest.approx(paired.pvalue, abs=1e-6)
    assert difference["low"] == pytest.approx(paired.confidence_interval().low, abs=1e-6)
    shown = CliRunner().invoke(main, command, catch_exceptions=False).output
    assert "over 3 folds" in shown


def test_a_search_over_folds_takes_the_trial_that_is_best_on_their_mean_and_goes_on_where_it_was_stopped(
    folder, tmp_path
):
    config = fw.load_config(folder / "log.toml", ["model.kind=dnn"])

    def trials(found):
        return [(trial.values, trial.metrics, trial.state, trial.kept) for trial in found.trials]

    whole = fw.tune(config, tmp_path / "whole", trials=7, only=["train.dense.learning_rate"])
    of_best = [read_result(tmp_path / "whole" / "trials" / f"{whole.best:04d}" / str(fold)) for fold in range(3)]
    [best] = [trial for trial in whole.trials if trial.number == whole.best]
    so_far = [np.mean([run.valid.auc for run in of_best[: fold + 1]]) for fold in range(3)]
    assert best.metrics == pytest.approx(so_far)
    assert best.kept == max(trial.kept for trial in whole.trials if trial.state == "done")
    assert all(run.test is None for run in of_best)  # no trial sees the test rows
    assert (whole.valid, whole.test, set(whole.folds)) == (None, None, {"auc", "logloss", "pr_auc", "gauc"})
    tested = []
    for fold in range(3):
        of_fold = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, fold=fold))
        run = tmp_path / "whole" / "trials" / f"{whole.best:04d}" / str(fold)
        test = fw.prepare(of_fold).parts["test"]
        rows = test.gather(np.arange(test.num_examples))
        probabilities = next(iter(predict_batches(load_model(open_bundle(run)), [rows.batch])))
        tested.append(evaluate_predictions(probabilities, rows.labels).auc)
    assert whole.folds["auc"].of_folds == pytest.approx(tested, abs=1e-7)

    class Killed(BaseException):
        pass

    count = 0

    def listen(event):
        nonlocal count
        count += isinstance(event, StageStart) and event.name == "train"
        if count == 5:  # the second fold of the second trial
            raise Killed

    with pytest.raises(Killed):
        fw.tune(config, tmp_path / "cut", trials=7, only=["train.dense.learning_rate"], listen=listen)
    again = fw.tune(config, tmp_path / "cut", trials=7, only=["train.dense.learning_rate"])
    assert trials(again) == trials(whole)
    command = ["tune", str(folder / "log.toml"), "--set", "model.kind=dnn", "--out", str(tmp_path / "whole"), "--quiet"]
    command += ["--trials", "7", "--only", "train.dense.learning_rate"]
    shown = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "Test metrics over 3 folds; the best trial" in shown.output
    assert "first fold" in fw.write_report(whole).read_text()
    trained = fw.train(fw.load_config(whole.config), tmp_path / "best")
    assert trained.folds["auc"].of_folds == pytest.approx(whole.folds["auc"].of_folds)


@pytest.mark.parametrize(("folds", "says"), [(50, "there are no"), (12, "there are no|hold one class only")])
def test_more_folds_than_groups_are_refused_with_the_fold(tmp_path, folds, says):
    table = make_table(300)
    groups = pa.array([f"g{row % 4}" for row in range(300)])
    pq.write_table(table.append_column("of", groups), tmp_path / "log.parquet")
    text = f'data = {{ train = "log.parquet", label = "click", folds = {folds}, group = "of" }}\nmodel.kind = "lr"\n'
    with pytest.raises(fw.DataError, match=says) as error:
        fw.train(fw.parse_config(text, base=tmp_path), tmp_path / "run")
    assert f"data.folds = {folds}, data.fold = " in error.value.where
    assert "set fewer data.folds" in error.value.fix
