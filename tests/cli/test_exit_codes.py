"""Every exception ends in a message and an exit code, in one place."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fieldwise import cli
from fieldwise.cli import main
from fieldwise.errors import DataError, Stopped


@pytest.fixture
def run_raising(monkeypatch):
    """Run a verb that raises what is given."""

    def run(error: BaseException):
        @click.command()
        def verb():
            click.echo("working", err=True)
            raise error

        monkeypatch.setattr(cli.Verbs, "get_command", lambda self, ctx, name: verb)
        return CliRunner().invoke(cli.main, ["verb"])

    return run


def test_a_users_mistake_is_a_message_and_exit_code_2(run_raising):
    result = run_raising(DataError("the label is not a class", where="a.csv, row 7", got="yes", fix="correct it"))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error: the label is not a class\n  where: a.csv, row 7\n  got: yes\n  hint: correct it" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped("stopped after epoch 2; run the same command again")])
def test_work_that_was_stopped_says_how_to_go_on_and_exits_with_3(run_raising, error):
    result = run_raising(error)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "run the same command again" in result.stderr


def test_any_other_exception_is_our_fault_with_its_traceback(run_raising):
    result = run_raising(ZeroDivisionError("0 / 0"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: 0 / 0" in result.stderr
    assert "a bug in fieldwise" in result.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_system_refuses_is_no_fault_of_ours(run_raising, code):
    result = run_raising(OSError(code, os.strerror(code), "/full/disk"))
    assert result.exit_code == 2
    assert os.strerror(code) in result.stderr
    assert "/full/disk" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_vanished_is_our_fault(run_raising):
    assert run_raising(FileNotFoundError(errno.ENOENT, "No such file or directory", "cache")).exit_code == 1


def test_memory_that_ran_out_is_a_message(run_raising):
    result = run_raising(MemoryError("Unable to allocate 71.0 GiB"))
    assert result.exit_code == 2
    assert "out of memory: Unable to allocate 71.0 GiB" in result.stderr


def test_a_reader_that_went_away_is_no_reason_for_words():
    # Thrice as much as a pipe holds, so that the reader is gone for certain.
    program = (
        "import click\n"
        "from fieldwise import cli\n"
        "verb = click.command()(lambda: [click.echo('x' * 1000) for _ in range(200)])\n"
        "cli.Verbs.get_command = lambda self, ctx, name: verb\n"
        "cli.main(['verb'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 3)
    process.stderr.close()


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["params", "--hidden", "wide"], ["params", "--fields", "0"], ["params"]]
)
def test_a_command_that_is_not_understood_exits_with_2(arguments):
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage:")


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    config = tmp_path / "fieldwise.toml"
    config.write_text('[data]\ntrain = "log.csv"\nlabel = "click"\n[train]\nepoch = 3\n')
    done = subprocess.run(
        [sys.executable, "-m", "fieldwise", "train", config, "--out", tmp_path / "run", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    where = f"{config}, line 5, [train]"
    assert done.stderr == f"error: unknown key: epoch\n  where: {where}\n  hint: did you mean epochs?\n"


def test_an_override_that_is_not_understood_is_refused(tmp_path):
    config = tmp_path / "fieldwise.toml"
    config.write_text('[data]\ntrain = "log.csv"\nlabel = "click"\n')
    result = CliRunner().invoke(cli.main, ["prepare", str(config), "--set", "train.epoch=3"])
    assert result.exit_code == 2
    assert "did you mean epochs?" in result.stderr


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    result = CliRunner().invoke(cli.main, ["train", str(tmp_path / "none.toml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert str(tmp_path / "none.toml") in result.stderr


def test_a_verb_leaves_the_signals_of_the_process_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert signal.getsignal(signal.SIGTERM) is before
