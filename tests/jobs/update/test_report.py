"""The page of a run that learns from days."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.browser import needs_browser, see
from tests.jobs.update.runs import day_of, train

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.errors import ArtefactError
from fieldwise.jobs.report.updates import write_updates_report


def call(*words):
    done = CliRunner().invoke(main, [*map(str, words), "--quiet"])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned from two days, and refused a third."""
    folder = tmp_path_factory.mktemp("days")
    run = train(folder, "lr")
    with pytest.raises(ArtefactError, match="not been updated yet"):
        write_updates_report(run)
    for number in (1, 2):
        fw.update(run, day_of(number, 400), gate=False)
    twice = pa.concat_tables([day_of(3, 40)] * 10)  # refused for its repetitions
    pq.write_table(twice, folder / "day.parquet")
    said = call("update", run, "--data", folder / "day.parquet", "--report")
    assert "refused:" in said
    assert f"Report: {run / 'updates.html'}" in said
    return run


def test_its_figures_are_those_of_the_history(run):
    days = json.loads(CliRunner().invoke(main, ["history", str(run), "--json"]).stdout)["days"]
    found = json.loads((run / "updates.json").read_text())
    assert [day["version"] for day in found["days"]] == [2, 3, None]
    for shown, known in zip(found["days"][:2], days, strict=False):
        assert {name: known["progressive"][name] for name in shown["progressive"]} == shown["progressive"]
        assert 0.5 < shown["progressive"]["auc"] < 1
    assert found["days"][2]["progressive"] is None
    assert found["days"][2]["notes"] == days[2]["reasons"] + days[2]["warnings"]


def test_the_page_shows_curves_days_and_reasons(run):
    page = (run / "updates.html").read_text()
    assert len(page) < 1_000_000
    assert not re.search(r"<script|<link|<img|@import|\son\w+=", page)
    assert {"AUC by day", "logloss by day", "calibration by day", "rows by day"} <= {
        *re.findall(r'aria-label="([^"]+)"', page)
    }
    known = json.loads((run / "updates.json").read_text())["days"]
    assert f"<td>{known[0]['progressive']['auc']:.4f}</td>" in page
    assert known[2]["notes"][0].split(":")[0] in page


def test_without_a_report_none_is_drawn_and_one_that_fails_is_a_warning(run, monkeypatch):
    page = run / "updates.html"
    before = page.stat().st_mtime_ns
    data = run.parent / "day.parquet"
    call("update", run, "--data", data, "--no-report")
    assert page.stat().st_mtime_ns == before
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    done = CliRunner().invoke(main, ["update", str(run), "--data", str(data), "--report"])
    assert done.exit_code == 0
    assert "no report was drawn" in done.output


@pytest.mark.long
@needs_browser
@pytest.mark.parametrize(("width", "light"), [(1280, True), (500, False)])
def test_a_browser_shows_all_of_it_at_both_widths_without_an_error(run, tmp_path, width, light):
    _, found, log = see(run / "updates.html", tmp_path, width, light)
    assert "CONSOLE" not in log
    assert (found["size"], found["wide"] <= width, found["right"] <= width) == (width, True, True)
