"""The verbs that work: what they ask of the library, and what they print of its answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from fieldwise.cli import main
from fieldwise.data.read_report import ReadReport, Reason
from fieldwise.events import EpochEnd, StageStart
from fieldwise.jobs.compare.comparison import Comparison
from fieldwise.jobs.compare.differences import Contender, Difference, spreads
from fieldwise.jobs.evaluate import Evaluation
from fieldwise.jobs.predict.predict import Prediction
from fieldwise.jobs.result import Result
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.metrics import Metrics
from fieldwise.metrics.slices import FieldSlices, Slice

READ = ReadReport(
    files=2,
    rows_read=9_012,
    rows_used=9_000,
    rows_rejected=12,
    reasons=[Reason(reason="not a finite number", column="age", rows=12, file="a.csv", row=7, value="old")],
    rejects="/logs/.fieldwise/3f2a/rejects.jsonl",
    columns_not_used={"empty": "no value in any row"},
)
SAID = (
    "12 of 9,012 rows could not be used: see /logs/.fieldwise/3f2a/rejects.jsonl\n"
    "  not a finite number, column age (the first: a.csv, row 7: 'old')\n"
)
SUMMARY = {
    "label": "click",
    "classes": ["0", "1"],
    "parts": {
        "train": {"read": 8_010, "rejected": 10, "examples": 8_000},
        "valid": {"read": 1_000, "rejected": 0, "examples": 1_000},
    },
    "rows_read": 9_012,
    "rows_rejected": 12,
    "num_features": 12_345,
    "fields": [
        {"name": "user", "type": "category", "features": 12_342},
        {"name": "age", "type": "number", "features": 3},
    ],
    "constant_fields": ["flag"],
    "left_out": {"constant": "the same in every row: 'x'", "empty": "no value in any row"},
    "num_bytes": 4_500_000,
    "folder": "/logs/.fieldwise/3f2a",
    "read": READ.as_dict(),
}
VALID = Metrics.of(1_000, 1_000.0, {"auc": 0.8731, "logloss": 0.3443}, "there are no groups")


def make_result(model="lc-dnn", units=8, auc=0.8731, **changes) -> Result:
    figures = {"auc": auc, "logloss": 0.3443} if auc is not None else {}
    settings = {
        "model": model,
        "units": units,
        "parameters": 113_000,
        "biases": 801,
        "valid": Metrics.of(1_000, 1_000.0, figures, "only label 1 occurs"),
        "test": None,
        "pretrain_seconds": 1.5 if units else None,
        "seconds_per_epoch": 0.5,
        "epochs": 6,
        "best_epoch": 4,
        "examples_per_second": 16_000.0,
        "folder": f"runs/first/{model}-{units}",
        "read": READ,
    }
    return Result(**{**settings, **changes})


def make_comparison(models, folder="runs/first", **changes) -> Comparison:
    contenders = [Contender(f"{result.model}-{result.units}", [result]) for result in models]
    settings = {
        "folder": folder,
        "data": SUMMARY,
        "seeds": [0],
        "models": models,
        "spreads": spreads(contenders),
        "part": None,
        "against": None,
        "level": 0.05,
        "differences": [],
        "read": READ,
    }
    return Comparison(**{**settings, **changes})


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "clicks.toml"
    path.write_text('[data]\ntrain = "log.csv"\nvalid = 0.1\ntest = "later.csv"\nlabel = "click"\n')
    return path


@pytest.fixture
def asked(monkeypatch):
    """Replace the library's verbs: each records its call, emits two events, and returns what the test set."""
    calls: dict[str, tuple[tuple, dict]] = {}

    def replace(verb: str, answer: object):
        def called(*arguments, **options):
            calls[verb] = (arguments, options)
            if "listen" in options:
                options["listen"](StageStart("train", "lr"))
                options["listen"](EpochEnd(1, 0.5, 1.0, 10.0, None))
            return answer

        home = verb if verb in ("evaluate", "verify") else f"{verb}.{verb}"
        monkeypatch.setattr(f"fieldwise.jobs.{home}.{verb}", called)
        return calls

    return replace


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_train_hands_the_configuration_and_what_replaces_it_to_the_library(config, asked):
    calls = asked("train", make_result())
    result = run(
        "train", config, "--out", "runs/a", "--set", "train.epochs=3", "--set", "model.hidden=[8]", "--overwrite"
    )
    assert result.exit_code == 0
    (loaded, out), options = calls["train"]
    assert (loaded.train.epochs, loaded.model.hidden, str(out), options["overwrite"]) == (3, (8,), "runs/a", True)


def test_train_prints_metrics_the_folder_and_what_to_do_next(config, asked):
    asked("train", make_result())
    result = run("train", config, "--out", "runs/a")
    for text in ("LC-DNN, K = 8", "113,000 parameters", "0.8731", "Run saved in runs/first/lc-dnn-8"):
        assert text in result.stdout
    later = config.parent / "later.csv"
    assert f"fieldwise predict runs/first/lc-dnn-8 --data {later} --out predictions.parquet" in result.stdout
    assert "epoch 1 done" in result.stderr
    assert "epoch 1 done" not in result.stdout


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_with_json_standard_output_is_one_value_and_progress_stands_apart(config, asked, options):
    asked("train", make_result(auc=None))
    result = run("train", config, "--out", "runs/a", "--json", *options)
    printed = json.loads(result.stdout)
    assert printed["valid"]["auc"] is None
    assert printed["valid"]["undefined"]["auc"] == "only label 1 occurs"
    assert printed["test"] is None
    assert ("epoch 1 done" in result.stderr) == (not options)


def test_threads_reach_the_kernels_and_the_configuration(config, asked):
    calls = asked("prepare", SimpleNamespace(summary=SUMMARY))
    before = num_threads()
    try:
        run("prepare", config, "--threads", "3", "--set", "train.threads=2")
        assert num_threads() == 3
        assert calls["prepare"][0][0].train.threads == 3
    finally:
        set_num_threads(before)


def test_prepare_prints_parts_fields_and_rejected_rows(config, asked):
    asked("prepare", SimpleNamespace(summary=SUMMARY))
    printed = run("prepare", config).stdout
    for text in ("train", "8,000", "user", "category", "12,342", "12,345 features in 2 fields", "4.50 MB"):
        assert text in printed
    assert "2 columns left out" in printed
    assert "Constant in the training rows: flag" in printed
    assert re.search("constant +the same in every row: 'x'\\n *empty +no value in any row", printed)
    assert SAID in printed
    assert json.loads(run("prepare", config, "--json").stdout) == SUMMARY


def test_columns_left_out_are_not_mentioned_where_there_are_none_and_cut_short_where_there_are_many(config, asked):
    asked("prepare", SimpleNamespace(summary={**SUMMARY, "left_out": {}, "constant_fields": []}))
    printed = run("prepare", config).stdout
    assert "left out" not in printed
    assert "Constant in" not in printed
    asked("prepare", SimpleNamespace(summary={**SUMMARY, "left_out": {f"c{n}": "empty" for n in range(99)}}))
    printed = run("prepare", config).stdout
    assert "99 columns left out" in printed
    assert "c39" in printed
    assert "c40" not in printed


def test_a_log_of_thousands_of_fields_is_shown_by_its_largest(config, asked):
    fields = [{"name": f"f{n}", "type": "category", "features": n} for n in range(2_311)]
    asked("prepare", SimpleNamespace(summary={**SUMMARY, "fields": fields}))
    printed = run("prepare", config).stdout
    assert "f2310" in printed
    assert "f2200" not in printed
    assert "2,311 fields, the 40 largest" in printed


def test_compare_prints_the_papers_three_tables_in_100_columns(config, asked):
    models = [make_result("lr", None, 0.87), make_result("lc-wide-deep", 1, 0.88), make_result("lc-wide-deep", 8, 0.9)]
    calls = asked("compare", make_comparison(models, "runs/first"))
    result = run("compare", config, "--out", "runs/first", "--models", "lr, lc-wide-deep:1,lc-wide-deep")
    assert calls["compare"][1]["models"] == ["lr", "lc-wide-deep:1", "lc-wide-deep"]
    titles = [line for line in result.stdout.splitlines() if line.startswith(("Parameters", "AUC", "Training time"))]
    assert len(titles) == 3
    for text in ("LC-W&D, K = 1", "LC-W&D, K = 8", "0.9000", "113,000"):
        assert text in result.stdout
    tables = [line for line in result.stdout.splitlines() if not line.startswith("  ")]
    assert max(map(len, tables)) <= 100
    assert "\x1b" not in result.stdout


def test_compare_names_the_best_model_on_valid_and_what_to_do_next(config, asked):
    models = [make_result("lc-dnn", 8, 0.9), make_result("lr", None, 0.8), make_result("dnn", None, None)]
    asked("compare", make_comparison(models, "runs/first"))
    commands = [line.strip() for line in run("compare", config).stdout.splitlines() if line.startswith("  fieldwise")]
    assert [command.split()[1] for command in commands] == ["predict", "compare", "train", "compare"]
    assert "runs/first/lc-dnn-8" in commands[0]
    assert "--seeds 3" in commands[1]
    assert "'model.hidden=[2048,1024]'" in commands[3]


def test_an_undefined_metric_is_a_dash_with_its_reason_below(config, asked):
    models = [make_result(auc=None), make_result("lr", None, None)]
    asked("compare", make_comparison(models, "runs/first"))
    printed = run("compare", config).stdout
    assert "- [1]" in printed
    assert printed.count("[1] only label 1 occurs") == 1
    assert "valid AUC" in printed
    assert "test AUC" not in printed


def test_compare_has_a_folder_of_its_own_unless_one_is_given(config, asked):
    calls = asked("compare", make_comparison([make_result()], "runs/clicks"))
    run("compare", config)
    assert calls["compare"][0][1] == Path("runs/clicks")
    assert calls["compare"][1]["models"] is None


def test_compare_prints_one_object_with_a_list_of_models(config, asked):
    asked("compare", make_comparison([make_result(), make_result("lr", None)], "runs/first"))
    printed = json.loads(run("compare", config, "--json").stdout)
    assert [model["model"] for model in printed["models"]] == ["lc-dnn", "lr"]
    for key in ("units", "parameters", "valid", "test", "pretrain_seconds", "seconds_per_epoch", "epochs"):
        assert key in printed["models"][0]


def make_difference(model, verdict="worse", **changes) -> Difference:
    settings = {
        "model": model, "against": "lc-dnn-8", "metric": "auc", "part": "test", "difference": -0.0123,
        "standard_error": 0.001, "low": -0.0143, "high": -0.0103, "p_value": 1e-9, "corrected_p_value": 2e-9,
        "seeds_share": 0.0, "method": "delong", "verdict": verdict,
    }  # fmt: skip
    return Difference(**{**settings, **changes})


def test_compare_says_which_models_are_worse_and_which_cannot_be_told_apart(config, asked):
    models = [make_result(), make_result("lr", None), make_result("dnn", None)]
    found = [
        make_difference("lr-None"),
        make_difference("dnn-None", "not distinguishable", corrected_p_value=0.31),
        make_difference("lr-None", metric="logloss", difference=0.01),
    ]
    asked("compare", make_comparison(models, part="test", against="lc-dnn-8", differences=found, seeds=[0, 1, 2]))
    printed = run("compare", config, "--seeds", 3, "--level", 0.05).stdout
    assert "AUC minus that of LC-DNN, K = 8, paired on the same test rows" in printed
    assert re.search(r"LR +worse +-0.0123 +-0.0143 to -0.0103 +<.0001 +\+0.0100 \(worse\)", printed)
    assert re.search(r"DNN +not distinguishable .* 0.3100 +-", printed)
    assert "level 0.05, family-wise over 2 models (Holm)" in " ".join(printed.split())
    assert "of the 3 training seeds" in " ".join(printed.split())
    assert max(len(line) for line in printed.splitlines() if not line.startswith("  ")) <= 100


def test_compare_with_one_seed_says_what_it_does_not_know(config, asked):
    models = [make_result(), make_result("lr", None)]
    asked(
        "compare", make_comparison(models, part="valid", against="lc-dnn-8", differences=[make_difference("lr-None")])
    )
    printed = " ".join(run("compare", config).stdout.split())
    assert "not the variation between training seeds" in printed
    assert "There is no test part: results on valid are optimistic" in printed


def test_compare_prints_mean_and_spread_over_seeds(config, asked):
    runs = [make_result(auc=auc) for auc in (0.88, 0.90)]
    comparison = make_comparison(runs[:1], seeds=[0, 1], spreads=spreads([Contender("lc-dnn-8", runs)]))
    calls = asked("compare", comparison)
    assert "0.8900 ± 0.0141" in run("compare", config, "--seeds", 2, "--against", "lr").stdout
    assert (calls["compare"][1]["seeds"], calls["compare"][1]["against"]) == (2, "lr")


def test_evaluate_prints_every_metric_and_the_rows_left_out(asked):
    calls = asked("evaluate", Evaluation(metrics=VALID, rejected_rows=12, read=READ))
    result = run("evaluate", "runs/first", "--data", "a.csv", "--data", "b.csv", "--format", "csv")
    positional, named = calls["evaluate"]
    assert (positional, named["format"]) == ((Path("runs/first"), ("a.csv", "b.csv")), "csv")
    for text in ("1,000 examples", "0.8731", "normalized entropy", "there are no groups", SAID):
        assert text in result.stdout
    printed = json.loads(run("evaluate", "runs/first", "--data", "a.csv", "--json").stdout)
    assert (printed["auc"], printed["gauc"], printed["rejected_rows"]) == (0.8731, None, 12)
    assert printed["read"] == READ.as_dict()


def test_evaluate_prints_calibration_by_probability_and_by_field(asked):
    def make_slice(name, predicted, z):
        return Slice(name=name, examples=50, weight=50.0, predicted=predicted, observed=0.2, ratio=predicted / 0.2, z=z)

    fields = [
        FieldSlices(field="hour", error=0.01, slices=[make_slice("7", 0.21, 0.4), make_slice("[8]", 0.26, 5.2)]),
        FieldSlices(field="city", error=0.03, slices=[make_slice("Rome", 0.1, -3.0)]),
    ]
    deciles = [make_slice("0.1 to 0.2", 0.15, None)]
    answer = Evaluation(metrics=VALID, rejected_rows=0, read=READ, by_probability=deciles, by_field=fields)
    calls = asked("evaluate", answer)
    printed = run("evaluate", "runs/first", "--data", "a.csv", "--by", "hour").stdout
    assert calls["evaluate"][1]["by"] == ("hour",)
    assert calls["evaluate"][1]["cutoff"] == 10
    assert re.search(r"0.1 to 0.2 +50 +0.1500 +0.2000 +0.750 +-", printed)
    summary = printed[printed.index("Calibration by field") : printed.index("Calibration by hour")]
    assert re.search(r"city +Rome +0.0300 +0.1000 +0.2000 +0.500 +-3.0\nhour +\[8\] +0.0100", summary)
    assert re.search(r"7 +50 +0.2100 +0.2000 +1.050 +\+0.4", printed)
    plain = json.loads(run("evaluate", "runs/first", "--data", "a.csv", "--json").stdout)
    assert plain["by_field"][0]["slices"][1]["name"] == "[8]"


def test_predict_says_where_the_probabilities_and_the_rejected_rows_are(asked):
    answer = Prediction(out="p.csv", examples=1_234, rejected_rows=2, rejects="p.csv.rejects.jsonl", read=READ)
    calls = asked("predict", answer)
    result = run("predict", "runs/first", "--data", "new.csv", "--out", "p.csv")
    assert calls["predict"][0] == (Path("runs/first"), ("new.csv",), Path("p.csv"))
    assert "1,234 predictions written to p.csv" in result.stdout
    assert SAID in result.stdout
    printed = json.loads(run("predict", "runs/first", "--data", "new.csv", "--out", "p.csv", "--json").stdout)
    assert (printed["examples"], printed["rejected_rows"], printed["read"]) == (1_234, 2, READ.as_dict())


def test_a_log_without_rows_to_evaluate_on_gives_no_table_of_metrics(config, asked):
    result = make_result(valid=None)
    asked("compare", make_comparison([result], "runs/first"))
    asked("train", result)
    printed = run("compare", config).stdout + run("train", config, "--out", "runs/a").stdout
    assert printed.count(SAID) == 2
    assert "AUC" not in printed
    assert "113,000" in printed
