"""``fieldwise params``: the paper's figures, and where sizes may come from."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from fieldwise.cli import main

APP_DATA = ["--fields", "158", "--features", "8672633", "--hidden", "2048,1024"]
FEEDS_DATA = ["--fields", "2311", "--features", "8522742", "--hidden", "2048,1024"]


def run(*arguments: str):
    return CliRunner().invoke(main, ["params", *arguments])


@pytest.mark.parametrize(
    ("data", "lr", "dnn", "lc_dnn", "lc_wide_deep"),
    [
        (APP_DATA, 8_672_633, "1.78e+10", 11_094_393, 19_767_026),
        (FEEDS_DATA, 8_522_742, "1.75e+10", 15_353_846, 23_876_588),
    ],
)
def test_the_papers_figures_come_as_json(data, lr, dnn, lc_dnn, lc_wide_deep):
    sizes = {size["model"]: size["parameters"] for size in json.loads(run(*data, "--json").stdout)}
    assert list(sizes) == ["lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"]
    assert (sizes["lr"], sizes["lc-dnn"], sizes["lc-wide-deep"]) == (lr, lc_dnn, lc_wide_deep)
    assert f"{sizes['dnn']:.2e}" == dnn


def test_biases_are_listed_apart():
    sizes = {size["model"]: size["biases"] for size in json.loads(run(*APP_DATA, "--json").stdout)}
    assert sizes["lr"] == 1
    assert sizes["lc-dnn"] == 2048 + 1024 + 1 + 1


def test_units_and_classes_widen_what_they_should():
    one, more = (
        {size["model"]: size for size in json.loads(run(*APP_DATA, *options, "--json").stdout)}
        for options in ((), ("--units", "8", "--classes", "3"))
    )
    assert more["lr"]["parameters"] == 3 * one["lr"]["parameters"]
    assert more["lc-dnn"]["parameters"] - one["lc-dnn"]["parameters"] == 7 * (8672633 + 158 * 2048) + 2 * 1024
    assert (one["lc-dnn"]["units"], more["lc-dnn"]["units"], more["lr"]["units"]) == (1, 8, None)


def test_the_table_shows_the_same_figures():
    printed = run(*APP_DATA).stdout
    for text in ("158 fields", "8,672,633 features", "LC-W&D, K = 1", "19,767,026", "71.05 GB"):
        assert text in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Pass a configuration, a run, or all of"),
        (["--fields", "3", "--features", "9"], "Pass a configuration, a run, or all of"),
        ([*APP_DATA, "--set", "model.units=2"], "--set requires a configuration"),
        (["fieldwise.toml", "--fields", "3"], "are not allowed with"),
        (["--fields", "3", "--features", "9", "--hidden", "a,b"], "is not a comma-separated list of widths"),
        (["--fields", "3", "--features", "9", "--hidden", "4,"], "is not a comma-separated list of widths"),
        (["--fields", "3", "--features", "9", "--hidden", "0"], "is not a comma-separated list of widths"),
        ([*APP_DATA, "--units", "65"], "--units"),
        ([*APP_DATA, "--classes", "1"], "--classes"),
    ],
)
def test_sizes_that_say_too_little_or_too_much_are_refused(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_configuration_without_averaging_has_no_average_in_its_memory(tmp_path):
    rows = "".join(f"{row % 2},u{row % 7},i{row % 5}\n" for row in range(200))
    (tmp_path / "log.csv").write_text("click,user,item\n" + rows)
    config = tmp_path / "c.toml"
    config.write_text('[data]\ntrain = "log.csv"\nlabel = "click"\n[model]\nkind = "lc-dnn"\nhidden = [4]\n')
    usual, without = (
        {size["model"]: size for size in json.loads(run(str(config), "--json", "--set", epochs).stdout)}
        for epochs in ("train.average_epochs=1", "train.average_epochs=0")
    )
    itemsize, columns = 4, usual["lc-dnn"]["units"]
    saved = usual["lc-dnn"]["training_bytes"] - without["lc-dnn"]["training_bytes"]
    assert saved >= itemsize * columns * (7 + 5)
