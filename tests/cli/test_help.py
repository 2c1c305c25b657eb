"""Help: at once, without what the work needs, and with an example for each verb."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fieldwise import __version__
from fieldwise.cli import VERBS, main

HEAVY = ("numpy", "numba", "torch", "pyarrow", "rich", "msgspec", "safetensors")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_loads_nothing_that_the_work_needs(arguments):
    program = (
        "import sys\n"
        "from fieldwise.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_preparing_and_checking_load_no_torch(tmp_path):
    log, config = tmp_path / "log.csv", tmp_path / "fieldwise.toml"
    log.write_text("click,ad\n" + "0,a\n1,b\n" * 50)
    config.write_text('data = { train = "log.csv", label = "click" }')
    for arguments in (["prepare", str(config)], ["prepare", str(config), "--dry-run"], ["check", str(log)]):
        program = f"import sys\nfrom fieldwise.cli import main\nmain({arguments!r}, standalone_mode=False)\n"
        command = [sys.executable, "-c", program + "print('torch' in sys.modules)"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False", arguments


def test_help_takes_less_than_a_third_of_a_second():
    def seconds() -> float:
        # Of the processor: on a busy machine the clock on the wall measures the others' work.
        before = os.times()
        subprocess.run([sys.executable, "-m", "fieldwise", "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.3


def test_help_lists_every_verb_with_a_word_about_it():
    result = CliRunner().invoke(main, ["--help"])
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert all(len(lines[verb]) >= 4 for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_shows_an_example_and_fits_100_columns(verb):
    result = CliRunner().invoke(main, [verb, "--help"], terminal_width=100)
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"  fieldwise {verb}" in result.stdout
    assert "--json" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_the_version_is_that_of_the_package():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"fieldwise {__version__}\n"


def test_a_mistyped_key_is_refused_before_torch_is_loaded(tmp_path):
    config = tmp_path / "fieldwise.toml"
    config.write_text('data = { train = "log.csv", label = "click" }')
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from fieldwise.cli import main\n"
        "for verb in ('train', 'compare', 'tune', 'prepare', 'params'):\n"
        "    out = ['--out', 'run'] if verb == 'train' else []\n"
        f"    done = CliRunner().invoke(main, [verb, {str(config)!r}, *out, '--set', 'train.epoch=3'])\n"
        "    print(done.exit_code, 'did you mean epochs?' in done.output, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2 True False"] * 5
