"""The Dockerfile by its parts, for tests have no Docker: its form, its sources, and its commands of ours."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldwise.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stages():
    """Return the instructions of every stage, as pairs of word and argument."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    instructions = [tuple(line.split(" ", 1)) for line in lines]
    known = "FROM ARG WORKDIR COPY RUN ENV USER EXPOSE HEALTHCHECK ENTRYPOINT CMD"
    assert {word for word, _ in instructions} <= {*known.split(" ")}
    starts = [place for place, (word, _) in enumerate(instructions) if word == "FROM"]
    return [instructions[begin:end] for begin, end in zip(starts, [*starts[1:], None], strict=True)]


def test_the_image_has_no_sources_and_its_user_is_not_root(stages):
    build, final = stages
    assert build[0][1].endswith(" AS build")
    assert all(argument.startswith("--from=build ") for word, argument in final if word == "COPY")
    [user] = [argument for word, argument in final if word == "USER"]
    assert any(word == "RUN" and "useradd" in argument and user in argument for word, argument in final)
    words = [word for word, _ in final]
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_what_is_copied_is_there_and_not_ignored(stages):
    ignored = (ROOT / ".dockerignore").read_text().split()
    for argument in (argument for word, argument in stages[0] if word == "COPY"):
        for name in shlex.split(argument)[:-1]:
            assert (ROOT / name).exists()
    assert ignored[0] == "*"
    kept = {line.removeprefix("!") for line in ignored[1:] if line.startswith("!")}
    copied = {name for word, argument in stages[0] if word == "COPY" for name in shlex.split(argument)[:-1]}
    assert kept == {name.removeprefix("./") for name in copied}


def test_commands_of_ours_are_understood(stages):
    final = dict(stages[1])
    serve = json.loads(final["ENTRYPOINT"]) + json.loads(final["CMD"])
    compile_ = next(argument for word, argument in stages[0] if word == "RUN" and "doctor" in argument)
    for program, *words in (serve, shlex.split(compile_)):
        assert program.endswith("fieldwise")
        done = CliRunner().invoke(main, [*words, "--help"])
        assert done.exit_code == 0, done.output
    compile(json.loads(final["HEALTHCHECK"].removeprefix("CMD "))[2], "HEALTHCHECK", "exec")


def test_the_kernels_are_compiled_for_the_processor_that_they_are_looked_for(stages):
    of_stage = [" ".join(argument for word, argument in stage if word == "ENV") for stage in stages]
    assert "NUMBA_CPU_NAME=generic" in of_stage[0]
    assert "NUMBA_CPU_NAME=generic" in of_stage[1]


def test_the_environment_that_serves_compiles_its_own_kernels_and_is_copied_whole(stages):
    [compile_] = [argument for word, argument in stages[0] if word == "RUN" and "doctor" in argument]
    folder = compile_.removesuffix("/bin/fieldwise doctor --compile")
    assert (f"--from=build {folder} {folder}") in [argument for word, argument in stages[1] if word == "COPY"]
    [installed] = [
        argument for word, argument in stages[0] if word == "RUN" and argument.startswith(f"{folder}/bin/python")
    ]
    assert installed.endswith('[serve]"')  # without torch
    assert stages[0][stages[0].index(("RUN", compile_)) - 1] == ("ENV", "NUMBA_CPU_NAME=generic")
