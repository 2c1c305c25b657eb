"""The verbs one after the other, on a small log: what one leaves, the next one finds."""

from __future__ import annotations

import json

import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from tests.logs import QUICK, make_table, write

from fieldwise.cli import main

KEYS_OF_A_MODEL = {
    "model",
    "units",
    "parameters",
    "valid",
    "test",
    "pretrain_seconds",
    "seconds_per_epoch",
    "epochs",
    "examples_per_second",
}


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_json(*arguments: object):
    result = run(*arguments, "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a log, a configuration as `init` writes it, and a comparison of two models."""
    folder = tmp_path_factory.mktemp("logs")
    log = write(make_table(1500), folder / "log.parquet")
    text = run("init", log, "--id", "impression").stdout
    assert "[data]" in text
    # A network that starts from logistic regression is kept only where it is better beyond noise.
    quick = QUICK.replace("[train]", 'initial_model = "random"\n[train]')
    (folder / "fieldwise.toml").write_text(text + quick)
    (folder / "compared.json").write_text(
        json.dumps(run_json("compare", folder / "fieldwise.toml", "--out", folder / "runs", "--models", "lr,lc-dnn:1"))
    )
    return folder


def test_compare_prints_what_programs_need(folder):
    compared = json.loads((folder / "compared.json").read_text())
    lr, network = compared["models"]
    assert all(model.keys() >= KEYS_OF_A_MODEL for model in (lr, network))
    assert (lr["model"], lr["units"], lr["pretrain_seconds"]) == ("lr", None, None)
    assert (network["model"], network["units"]) == ("lc-dnn", 1)
    assert 0.6 < lr["test"]["auc"] < 1
    assert network["test"]["gauc"] is None
    assert "group" in network["test"]["undefined"]["gauc"]


def test_a_comparison_again_trains_nothing_and_prints_the_same(folder):
    compared = run_json("compare", folder / "fieldwise.toml", "--out", folder / "runs", "--models", "lr,lc-dnn:1")
    assert compared["models"] == json.loads((folder / "compared.json").read_text())["models"]


def test_params_says_of_the_log_and_of_the_run_what_training_found(folder):
    found = {
        model["model"]: model["parameters"] for model in json.loads((folder / "compared.json").read_text())["models"]
    }
    for source in (folder / "runs" / "lc-dnn-1", folder / "fieldwise.toml"):
        sizes = {size["model"]: size["parameters"] for size in run_json("params", source, "--units", 1)}
        assert {model: sizes[model] for model in found} == found


def test_evaluate_and_predict_take_raw_rows(folder):
    network = folder / "runs" / "lc-dnn-1"
    metrics = run_json("evaluate", network, "--data", folder / "log.parquet")
    assert metrics["num_examples"] == 1500
    assert 0.6 < metrics["auc"] < 1
    assert metrics["rejected_rows"] == 0
    written = run_json("predict", network, "--data", folder / "log.parquet", "--out", folder / "p.csv")
    assert written["examples"] == 1500
    predicted = pyarrow.csv.read_csv(folder / "p.csv")
    assert predicted["impression"].to_pylist() == [f"i{i}" for i in range(1500)]
    assert all(0 < p < 1 for p in predicted["probability"].to_pylist())


def test_prepare_finds_what_compare_prepared(folder):
    before = sorted((folder / ".fieldwise").iterdir())
    summary = run_json("prepare", folder / "fieldwise.toml")
    assert sum(part["examples"] for part in summary["parts"].values()) == 1500
    assert sorted((folder / ".fieldwise").iterdir()) == before


def test_a_finished_run_of_another_configuration_is_refused_with_the_difference(folder):
    arguments = ["train", folder / "fieldwise.toml", "--out", folder / "runs" / "lr", "--set", "model.kind=lr"]
    assert run(*arguments, "--quiet").exit_code == 0
    result = run(*arguments, "--set", "train.batch_size=8")
    assert result.exit_code == 2
    assert "train.batch_size: 256 there, 8 now" in result.stderr
    assert "--overwrite" in result.stderr


def test_a_new_value_at_prediction_is_an_answer_and_a_missing_column_a_message(folder):
    table = make_table(5)
    strange = table.set_column(0, "user", pyarrow.array(["never seen", "", None, "u1", "u2"]))
    write(strange, folder / "strange.parquet")
    write(table.drop_columns(["user"]), folder / "narrow.parquet")
    arguments = ["predict", folder / "runs" / "lr", "--out", folder / "q.parquet", "--data"]
    assert run_json(*arguments, folder / "strange.parquet")["examples"] == 5
    result = run(*arguments, folder / "narrow.parquet")
    assert result.exit_code == 2
    assert "user" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("header.csv", b"click,user\n"),
        ("one_class.csv", b"click,user\n" + b"1,a\n" * 20),
        ("no_label.csv", b"user\na\nb\n"),
        ("not_parquet.parquet", b"click,user\n1,a\n0,b\n"),
        ("bad_labels.csv", b"click,user\n" + b"".join(b"%d.5,a\n" % n for n in range(1500))),
    ],
)
def test_a_log_that_cannot_be_learned_from_is_a_message_and_exit_code_2(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    config = tmp_path / "fieldwise.toml"
    config.write_text(f'[data]\ntrain = "{name}"\nlabel = "click"\n[fields.user]\ntype = "category"\n')
    result = run("train", config, "--out", tmp_path / "run", "--quiet", "--json")
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert name in result.stderr
    assert "Traceback" not in result.stderr
