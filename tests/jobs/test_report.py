"""The report of a training: its figures, its page, its card, and what happens where it cannot be drawn."""

from __future__ import annotations

import json
import re
import shutil
import sys

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from tests.browser import needs_browser, see

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.data.read_report import ReadReport
from fieldwise.errors import ArtefactError
from fieldwise.jobs.report.lines import trial_lines
from fieldwise.jobs.report.report import report_or_warn
from fieldwise.jobs.train.record import RECORD_NAME, read_record
from fieldwise.jobs.tune.trial import Trial, Tuning
from fieldwise.metrics import Metrics
from fieldwise.metrics.intervals import Estimate
from fieldwise.metrics.own import OWN, metric_value
from fieldwise.report.card import model_card
from fieldwise.report.content import DifferenceLine, ModelLine, ReportContent
from fieldwise.report.pictures import intervals
from fieldwise.report.training import training_page

ROWS = 1500
SECTIONS = (
    "Models",
    "Learning curves",
    "Quality on the 500 test rows",
    "Calibration",
    "Fields",
    "Values of the most important fields",
    "By day",
    "Data",
    "Speed and memory",
    "How to reproduce it",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    ad, age = rng.integers(0, 5, ROWS), rng.normal(40, 10, ROWS)
    shown = np.datetime64("2026-03-01T00:00:00", "s") + np.sort(rng.integers(0, 4 * 86_400, ROWS))
    table = pa.table(
        {
            "shown": pa.array(shown),
            "ad<b>": [f"<i>ad</i> {number}" for number in ad],
            "age": age,
            "noise": rng.integers(0, 3, ROWS),
            "click": (rng.random(ROWS) < 0.1 + 0.12 * ad + 0.005 * (age - 40)).astype(int),
        }
    )
    pa.parquet.write_table(table.slice(0, 1000), folder / "train.parquet")
    pa.parquet.write_table(table.slice(1000), folder / "test.parquet")
    (folder / "fieldwise.toml").write_text(
        '[data]\ntrain = "train.parquet"\nvalid = 0.2\ntest = "test.parquet"\nlabel = "click"\ntime = "shown"\n'
        '[model]\nkind = "lc-dnn"\nunits = 2\nhidden = [8]\n[train]\nepochs = 3\nbatch_size = 100\n'
    )
    fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    fw.write_report(folder / "run")
    return folder


def content(folder):
    return json.loads((folder / "report.json").read_text())


def test_its_figures_are_those_of_evaluate_on_the_test_rows(folder):
    arguments = ["evaluate", str(folder / "run"), "--data", str(folder / "test.parquet"), "--by-day", "--json"]
    expected = json.loads(CliRunner().invoke(main, arguments).stdout)
    figures = content(folder / "run")["figures"]
    assert figures["part"] == "test"
    for name, value in figures["metrics"].items():
        assert value == pytest.approx(expected[name], rel=1e-6) if isinstance(value, float) else value == expected[name]
    assert [each["examples"] for each in figures["by_probability"]] == [
        each["examples"] for each in expected["by_probability"]
    ]
    assert figures["auc"]["value"] == pytest.approx(expected["auc"], rel=1e-6)
    assert figures["logloss"]["value"] == pytest.approx(expected["logloss"], rel=1e-6)
    days = {each["day"]: each["metrics"] for each in expected["by_day"]}
    assert [each["name"] for each in figures["days"]] == list(days)
    for each in figures["days"]:
        assert each["examples"] == days[each["name"]]["num_examples"]
        assert each["auc"]["value"] == pytest.approx(days[each["name"]]["auc"], rel=1e-6)
    by_field = {each["field"]: {value["name"]: value for value in each["slices"]} for each in expected["by_field"]}
    [ads] = [each for each in figures["values"] if each["field"] == "ad<b>"]
    assert len(ads["values"]) == 5
    for each in ads["values"]:
        value = by_field["ad<b>"][each["name"]]
        assert each["observed"]["value"] == pytest.approx(value["observed"])
        assert each["predicted"] == pytest.approx(value["predicted"], rel=1e-6)


def test_it_holds_the_tables_and_the_curve_of_the_run(folder):
    result = fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    found = content(folder / "run")
    model, initial = found["models"]
    assert (model["parameters"], model["test"]["auc"]) == (result.parameters, result.test.auc)
    assert initial["label"] == "LR (pretraining)"
    assert [each["epoch"] for each in model["history"]] == [each.epoch for each in result.history]
    assert [each["value"] for each in model["history"]] == [each.valid.auc for each in result.history]
    assert found["parts"]["test"] == [500, 500, 0]
    assert found["facts"]["Checksums"]["model"] == fw.open_bundle(folder / "run").digest
    assert {each["stage"] for each in found["moments"]} >= {"LR", "LC-DNN"}


def test_a_notebook_shows_the_tables_and_a_prompt_the_metrics(folder):
    result = fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    shown = result._repr_html_()
    assert f"<td>{result.parameters:,}</td>" in shown
    assert f"<td>{result.test.auc:.4f}</td>" in shown
    assert len(repr(result)) < 1000
    assert f"auc={result.test.auc:.6g}, " in repr(result)
    found = fw.evaluate(folder / "run", folder / "test.parquet")
    assert f"auc={result.test.auc:.6g}, " in repr(found)
    assert f"<td class=text>AUC</td><td>{result.test.auc:.4f}</td>" in found._repr_html_()


def test_the_most_important_field_is_the_one_that_clicks_depend_on(folder):
    importance = content(folder / "run")["figures"]["importance"]
    assert importance[0]["name"] == "ad<b>"
    assert importance[0]["estimate"]["low"] > 0
    [noise] = [each for each in importance if each["name"] == "noise"]
    assert abs(noise["estimate"]["value"]) < 0.03


def test_the_page_begins_with_the_figures_that_one_looks_for(folder):
    head = (folder / "run" / "report.html").read_text().partition("<h2>")[0]
    figures = json.loads((folder / "run" / "report.json").read_text())["figures"]
    for name in ("auc", "logloss"):
        value, low, high = (figures[name][end] for end in ("value", "low", "high"))
        assert f"<dd>{value:.4f} <small>{low:.4f} to {high:.4f}</small></dd>" in head
    assert f"<dd>{figures['metrics']['calibration_ratio']:.4f} <small></small></dd>" in head


def test_the_page_is_one_small_file_that_asks_nobody_and_escapes_the_log(folder):
    page = (folder / "run" / "report.html").read_text()
    assert len(page) < 1_000_000
    assert not re.search(r"<script|<link|<img|@import|\son\w+=", page)
    assert not re.findall(r'(?:src|href)="(?!#)', page.replace("http://www.w3.org/1999/xlink", ""))
    assert "<i>ad" not in page
    assert "&lt;i&gt;ad" in page
    assert re.findall(r"<h2>(.*?)</h2>", page) == list(SECTIONS)
    pictures = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', page)
    assert len(pictures) == page.count("<svg") >= 12
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in page
    assert "#0a0b" not in page, "every colour is one of the page's style"


def test_the_same_figures_make_the_same_page(folder, tmp_path):
    shutil.copy(folder / "run" / "report.json", tmp_path)
    assert fw.write_report(tmp_path).read_bytes() == (folder / "run" / "report.html").read_bytes()
    assert (tmp_path / "card.md").read_bytes() == (folder / "run" / "card.md").read_bytes()


def test_the_card_says_what_the_model_is_and_leaves_the_rest_to_people(folder):
    card = (folder / "run" / "card.md").read_text()
    headings = re.findall(r"^## (.*)$", card, flags=re.MULTILINE)
    assert headings == ["Model details", "Intended use", "Data", "Evaluation", "Caveats"]
    assert f"{content(folder / 'run')['figures']['metrics']['auc']:.4f}" in card
    assert "\\<i\\>ad" in card
    assert card.count("To be filled in") == 3


def test_without_matplotlib_training_is_not_lost_and_the_figures_are_there(folder, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    for name in ("report.html", "report.json", "card.md"):
        (run / name).unlink()
    shown = CliRunner().invoke(main, ["train", str(folder / "fieldwise.toml"), "--out", str(run), "--report"])
    assert shown.exit_code == 0
    assert "matplotlib is not installed" in shown.stderr
    assert "Report:" not in shown.stdout
    assert (run / "report.json").exists()
    assert not (run / "report.html").exists()


def test_a_report_that_cannot_be_written_is_a_warning(folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    heard = []
    assert report_or_warn(run, heard.append) is None
    assert "no report was drawn" in heard[-1].text


def test_the_verb_draws_it_once_unless_asked_not_to(folder, tmp_path):
    run = tmp_path / "lr"
    words = ["train", str(folder / "fieldwise.toml"), "--out", str(run), "--set", "model.kind=lr", "--quiet"]
    assert "Report:" not in CliRunner().invoke(main, [*words, "--no-report"]).stdout
    assert not (run / "report.html").exists()
    assert f"Report: {run}/report.html" in CliRunner().invoke(main, [*words, "--report"]).stdout
    drawn = (run / "report.html").stat().st_mtime_ns
    assert f"Report: {run}/report.html" in CliRunner().invoke(main, words, env={"FIELDWISE_REPORT": "1"}).stdout
    assert (run / "report.html").stat().st_mtime_ns == drawn
    assert "penalty" in (run / "report.html").read_text()
    told = json.loads(CliRunner().invoke(main, ["report", str(run), "--json"]).stdout)
    assert told["card.md"] == str(run / "card.md")


def test_what_is_no_finished_training_is_refused(folder, tmp_path):
    with pytest.raises(ArtefactError, match="nothing to report"):
        fw.write_report(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    (run / "report.json").write_text("{}")
    (run / "run.json").unlink()
    with pytest.raises(ArtefactError, match="damaged"):
        fw.write_report(run)


def test_three_classes_have_a_report_without_curves(tmp_path):
    rng = np.random.default_rng(0)
    ad = rng.integers(0, 3, 600)
    table = {"ad": [f"ad{number}" for number in ad], "what": [f"c{(number + rng.integers(0, 2)) % 3}" for number in ad]}
    config = fw.Config(
        data=fw.DataConfig(label="what", valid=0.2, cache=str(tmp_path / "cache")), model=fw.ModelConfig(kind="lr")
    )
    fw.train(config, tmp_path / "run", data=table)
    page = fw.write_report(tmp_path / "run").read_text()
    found = content(tmp_path / "run")["figures"]
    assert found["part"] == "valid"
    assert found["curves"] is None
    assert "one label with two classes" in page
    assert "ROC" not in page


def test_a_value_whose_examples_all_weigh_nothing_is_in_the_report_without_auc_and_logloss(tmp_path):
    rng = np.random.default_rng(1)
    ad = rng.integers(0, 3, 600)
    log = pa.table({"ad": ad, "click": rng.integers(0, 2, 600), "w": np.where(ad == 2, 0.0, 1.0)})
    data = fw.DataConfig(label="click", weight="w", valid=0.2, test=0.3, cache=str(tmp_path / "cache"))
    fields = {"ad": fw.FieldConfig(type="category")}
    fw.train(fw.Config(data=data, fields=fields, model=fw.ModelConfig(kind="lr")), tmp_path / "run", data=log)
    fw.write_report(tmp_path / "run")
    [of_field] = content(tmp_path / "run")["figures"]["values"]
    known = {value["name"]: (value["auc"] is None, value["logloss"] is None) for value in of_field["values"]}
    assert known == {"0": (False, False), "1": (False, False), "2": (True, True)}


def test_a_record_goes_on_after_a_stop_and_survives_a_broken_line(tmp_path):
    path = tmp_path / RECORD_NAME
    path.write_text(
        '{"event":"begin","at":"2026-01-01T00:00:00Z"}\n{"seconds":2.0,"event":"train","model":"lr","memory":5}\n{"sec'
        '\n{"event":"begin","at":"2026-01-01T01:00:00Z"}\n{"seconds":3.0,"event":"progress","memory":6}\n'
    )
    assert [each.seconds for each in read_record(path)] == [0.0, 2.0, 2.0, 5.0]
    assert read_record(tmp_path / "none") == []


@needs_browser
@pytest.mark.parametrize(("width", "light"), [(1280, True), (500, False)])
def test_a_browser_shows_all_of_it_at_both_widths_without_an_error(folder, tmp_path, width, light):
    document, found, log = see(folder / "run" / "report.html", tmp_path, width, light)
    assert "CONSOLE" not in log
    assert found["size"] == width
    assert found["wide"] <= width, "nothing is cut off at the side"
    assert found["pictures"] >= 12
    assert found["least"] > 200
    assert found["right"] <= width
    assert (found["ground"] == "rgb(255, 255, 255)") == light
    assert all(f"<h2>{section}</h2>" in document for section in SECTIONS)


def test_texts_in_letters_that_the_font_of_the_pictures_lacks_are_drawn_without_a_word(capfd):
    names = ["\N{CJK UNIFIED IDEOGRAPH-4E2D}", "\N{GRINNING FACE}"]
    picture = intervals("values", "values", names, [Estimate(0.5, 0.4, 0.6)] * 2, "rate")
    assert all(name in picture for name in names)
    assert capfd.readouterr() == ("", "")


def test_the_card_says_which_model_was_saved():
    line = ModelLine(label="LC-DNN", parameters=5, biases=1, valid=None, test=None, note="LR is what was saved")
    nothing = {name: [] for name in ("classes", "reading", "fields", "moments", "warnings")}
    figures = {"rows_read": 9, "rows_rejected": 0, "num_features": 5, "parts": {}, "facts": {}}
    card = model_card(
        ReportContent(
            title="",
            model="LC-DNN",
            label="a`b",
            positive="1",
            models=[line],
            stop_on="auc",
            figures=None,
            config="",
            **nothing,
            **figures,
        )
    )
    assert "- LR is what was saved." in card
    assert "probability of a\\`b = 1." in card


def test_the_curve_is_of_the_metric_that_decides_of_one_of_several_labels_or_ones_own():
    of_label = Metrics.of(9, 9.0, {"auc": 0.75})
    valid = msgspec.structs.replace(
        Metrics.of(9, 9.0, {"auc": 0.5}, own={"profit": -3.0}), labels={"conversion": of_label}
    )
    assert metric_value(valid, "auc:conversion") == 0.75
    assert metric_value(valid, "profit") == -3.0
    assert metric_value(valid, "auc") == 0.5


def test_the_value_of_a_trial_keeps_its_sign(monkeypatch):
    monkeypatch.setitem(OWN, "profit", lambda *_: None)
    trials = [Trial(number=0, values={}, kept=-3.0)]
    valid = Metrics.of(9, 9.0, {})
    read = ReadReport(files=1, rows_read=9, rows_used=9, rows_rejected=0)
    for metric, expected in (("profit", -3.0), ("logloss", 3.0)):
        tuning = Tuning(
            folder="", config="", metric=metric, trials=trials, best=0, valid=valid, test=None, seconds=0.0, read=read
        )
        [line] = trial_lines(tuning)
        assert line.value == expected


def test_the_differences_of_several_labels_are_named_by_label():
    some = [
        DifferenceLine(model="LR", metric=metric, estimate=Estimate(0.1, 0.0, 0.2), p_value=0.5, verdict="worse")
        for metric in ("auc:click", "logloss:click", "auc:conversion")
    ]
    content = ReportContent(
        title="",
        model="LR",
        label="",
        positive=None,
        classes=[],
        parts={},
        rows_read=0,
        rows_rejected=0,
        reading=[],
        fields=[],
        num_features=0,
        models=[],
        stop_on="auc:conversion",
        figures=None,
        moments=[],
        warnings=[],
        config="",
        facts={},
        differences=some,
        against="LC-DNN",
    )
    page = training_page(content)
    for title in ("AUC of click", "logloss of click", "AUC of conversion"):
        assert f"<td class=text>{title}</td>" in page
