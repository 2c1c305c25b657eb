"""Completion in the shells themselves, as far as they are installed; and hints for mistyped words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldwise.cli import main

ASKED = {
    "bash": 'eval "$(fieldwise completion bash)"\n{setup}'
    '_fieldwise_completion fieldwise\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n',
    "fish": "fieldwise completion fish | source\ncomplete -C '{line}'\n",
    # zsh completes on a terminal alone: stand in for what prints the candidates there.
    "zsh": 'autoload -U compinit; compinit -D\neval "$(fieldwise completion zsh)"\n'
    "compadd() {{ while [[ $1 == -* ]]; do [[ $1 == -V ]] && shift; "
    "[[ $1 == -a ]] && print -l -- ${{(P)2}}; shift; done }}\n"
    "_describe() {{ print -l -- ${{(P)3}} }}\n_path_files() {{ print files }}\n{setup}_fieldwise_completion\n",
}


def candidates(shell: str, line: str, folder: Path) -> list[str]:
    """Ask a shell what it offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    setup = {
        "bash": f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n",
        "zsh": f"words=({quoted}); CURRENT={len(words)}\n",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", ASKED[shell].format(setup=setup.get(shell, ""), line=line)],
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return [offered.split("\t")[0].split(":")[0] for offered in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ASKED)
def test_a_shell_completes_verbs_options_values_and_keys(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert candidates(shell, "fieldwise comp", tmp_path) == ["compare", "completion"]
    assert "--dry-run" in candidates(shell, "fieldwise train --d", tmp_path)
    assert set(candidates(shell, "fieldwise completion ", tmp_path)) == set(ASKED)
    assert candidates(shell, "fieldwise train --set train.ep", tmp_path) == ["train.epochs="]


def test_the_script_is_printed_as_json_too():
    plain = CliRunner().invoke(main, ["completion", "zsh"]).stdout
    assert json.loads(CliRunner().invoke(main, ["completion", "zsh", "--json"]).stdout)["script"] == plain
    assert plain.startswith("#compdef fieldwise")


def test_a_mistyped_verb_or_option_is_answered_with_the_nearest():
    for words, hint in ((["trian"], "did you mean train?"), (["train", "--ouf", "x"], "Did you mean '--out'?")):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2
        assert hint in done.stderr
