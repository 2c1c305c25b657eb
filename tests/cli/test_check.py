"""``fieldwise check``: what it prints, as text, as JSON and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from tests.logs import write
from tests.profile.logs import config_text, planted

from fieldwise.cli import main


def run(*arguments: object):
    return CliRunner().invoke(main, ["check", *map(str, arguments), "--quiet"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write(planted(4000), folder / "log.parquet")
    write(planted(4000), folder / "log.csv")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet"))
    return folder


def test_a_raw_log_needs_no_configuration(folder):
    result = run(folder / "log.csv", "--json")
    assert result.exit_code == 0, result.stderr
    survey = json.loads(result.stdout)
    roles = {column["name"]: column["role"] for column in survey["columns"]}
    assert survey["label"] == "click"
    assert survey["rows_read"] == survey["rows_in_log"] == 4000
    assert {name for name, role in roles.items() if role == "field"} >= {"city", "billed", "size", "price", "tags"}
    assert (roles["row"], roles["country"], roles["time"], roles["split"]) == (
        "left out",
        "left out",
        "field",
        "split",
    )
    assert {(each["kind"], each["where"]) for each in survey["warnings"]} >= {
        ("leak", "[fields.billed]"),
        ("row_number", "column row"),
    }
    assert len(survey["days"]["time"]) == 3
    notes = {column["name"]: column["note"] for column in survey["columns"]}
    assert "row identifier" in notes["row"]
    assert not any("excluded" in (note or "") for note in notes.values())  # by whom?


def test_a_csv_tells_the_same_as_the_parquet_it_was_made_from(folder):
    (folder / "csv.toml").write_text(config_text("log.csv"))
    one, other = (json.loads(run(folder / name, "--json").stdout) for name in ("fieldwise.toml", "csv.toml"))
    assert one["columns"] == other["columns"]
    assert one["warnings"] == other["warnings"]


def test_text_holds_warnings_fields_values_and_days(folder):
    result = run(folder / "fieldwise.toml")
    assert result.exit_code == 0
    for text in (
        "leak: the field alone has an AUC of 0.9",
        "where: [fields.billed]",
        "why: ",
        "exclude = true in [fields.billed]",
        "12 fields; AUC of each field alone on the test rows",
        "Label rate by value",
        "Label rate by day, column time",
        "2023-11-16",
        "The whole log was read: 4,000 rows.",
    ):
        assert text in result.stdout
    rules = [line for line in result.stdout.splitlines() if line.startswith("──")]
    assert len(rules) == 5
    assert max(map(len, rules)) <= 100


def test_a_part_of_the_rows_is_said_to_be_one(folder):
    result = run(folder / "fieldwise.toml", "--rows", 500)
    assert "of 4,000 rows was read (--rows)" in result.stdout


class Page(HTMLParser):
    """Collects the tags of a page, and checks that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_holds_every_field(folder, tmp_path):
    result = run(folder / "fieldwise.toml", "--html", tmp_path / "pages" / "check.html")
    assert result.exit_code == 0
    assert "Report written to" in result.stdout
    text = (tmp_path / "pages" / "check.html").read_text()
    page = Page(text)
    assert page.open == []
    assert {"script", "link", "img", "iframe"}.isdisjoint(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href") or (value and "http" in value)]
    assert all(f"<h3>{name}</h3>" in text for name in ("city", "billed", "tags", "empty"))
    assert "Label rate by day: time" in text
    assert page.tags.count("meter") > 10
    assert len(text) < 200_000


def test_what_comes_from_the_log_cannot_become_a_tag(tmp_path):
    evil = "<script>alert(1)</script>"
    table = planted(500).select(["click", "city"]).rename_columns(["click", f"city{evil}"])
    table = table.set_column(1, table.column_names[1], pc.fill_null(table[1], evil))
    log = write(table, tmp_path / "log.parquet")
    assert run(log, "--label", "click", "--html", tmp_path / "check.html").exit_code == 0
    text = (tmp_path / "check.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_brackets_in_names_are_printed_as_they_are(tmp_path):
    table = pa.table({"click": [0, 1] * 50, "[red]city[/red]": ["a", "b", "b", "a"] * 25})
    result = run(write(table, tmp_path / "log.parquet"))
    assert "[red]city[/red]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.parquet"], "none.parquet"),
        (["none.toml"], "none.toml"),
        (["log.csv", "--label", "clik"], "did you mean click?"),
        (["log.csv", "--label", "price"], "too many values to be a class"),
        (["fieldwise.toml", "--label", "click"], "--set data.KEY=VALUE"),
        (["fieldwise.toml", "log.csv"], "not both"),
        (["fieldwise.toml", "--set", "data.labl=x"], "did you mean label?"),
        (["log.csv", "--rows", "-1"], "--rows"),
        (["log.csv", "--delimiter", "||"], "a single character"),
        (["broken.parquet"], "broken.parquet"),
        (["header.csv", "--label", "click"], "header.csv"),
        ([], "CONFIG|LOG..."),
    ],
)
def test_wrong_input_is_a_message_and_exit_code_2(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more PAR1")
    (folder / "header.csv").write_text("click,city\n")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_crosses_are_named_as_not_looked_at(folder):
    config = folder / "crossed.toml"
    config.write_text(config_text("log.parquet") + '\n[fields.city_x_tags]\ncross = ["city", "tags"]\n')
    assert "only the fields that they combine: city_x_tags (city x tags)" in run(config).stdout
    page = folder / "crossed.html"
    survey = json.loads(run(config, "--json", "--html", page).stdout)
    assert survey["crosses"] == {"city_x_tags": ["city", "tags"]}
    assert "Not profiled: city_x_tags, the cross of city and tags." in page.read_text()
