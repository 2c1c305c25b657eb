"""What README and docs show is run: ``console`` and ``python`` blocks in order, every other command at least parsed.

Blocks of ``sh`` need what a test has not (a network, a server, a shell of the user), ``python notest`` a run of another
page. docs/extending.md, serving-http.md and sklearn.md have tests of their own.
"""

from __future__ import annotations

import re
import shlex
import tomllib

import click
import pytest
from click.testing import CliRunner
from tests.documentation.pages import PAGES, ROOT, blocks, commands, write_log

from fieldwise.cli import main
from fieldwise.config import find_problems

OTHERS = ("docs/extending.md", "docs/serving-http.md", "docs/sklearn.md")
RUN = [page for page in PAGES if str(page.relative_to(ROOT)) not in OTHERS and "docs/log" not in str(page)]
SLOW = tuple(
    f"docs/{name}.md"
    for name in ("guides/choosing", "guides/lr-to-lc-wd", "guides/tuning", "guides/size", "coming-from")
)
BEFORE = "fieldwise init clicks.parquet --label click --out fieldwise.toml"
OF_A_RUN = ("docs/serving.md",)
QUICK = ("--set", "model.hidden=[8]", "--set", "train.sampler.sweeps=3", "--set", "train.sampler.burn_in=1")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A folder with the log that all pages read, and its configuration; they share the prepared logs."""
    folder = tmp_path_factory.mktemp("documented")
    write_log(folder)
    return folder


def ids(page):
    return str(page.relative_to(ROOT))


def run(words, exit_code=0):
    added = QUICK if words[1] in ("train", "compare", "tune") else ()
    if added and "runs/first" not in words:  # one report is enough
        added = (*added, "--no-report")
    done = CliRunner().invoke(main, [*words[1:], *added])
    assert done.exit_code == exit_code, f"{words}\n{done.output}"
    return done.stdout


def run_page(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run(shlex.split(BEFORE) + ["--overwrite"] * (folder / "fieldwise.toml").exists())
    if ids(page) in OF_A_RUN:
        run(["fieldwise", "train", "fieldwise.toml", "--out", "runs/first"])
    for block in blocks(page):
        if block.language == "console":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    assert words[0] == "fieldwise", f"only commands of fieldwise can be run: {line}"
                    if words[1] == "init" and (folder / words[words.index("--out") + 1]).exists():
                        continue
                    run(words)
        elif block.language == "python" and not block.note:
            exec(compile(block.text, page.name, "exec"), {})


RUNS = [
    page for page in RUN if any(b.language == "console" or (b.language, b.note) == ("python", "") for b in blocks(page))
]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.long] if ids(page) in SLOW else []) for page in RUNS], ids=ids
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_page_shows_runs(page, log, monkeypatch):
    run_page(page, log, monkeypatch)


@pytest.mark.parametrize("page", [page for page in PAGES if "docs/log" not in str(page)], ids=ids)
def test_every_command_of_a_page_is_one_that_there_is(page):
    for program, verb, *words in commands(page):
        if verb == "VERB":
            continue
        assert program == "fieldwise"
        context = click.Context(main, info_name="fieldwise")
        command = main.get_command(context, verb)
        assert command is not None, f"{page.name}: there is no command {verb}"
        while "--import" in words:  # its modules are the reader's own
            del words[words.index("--import") : words.index("--import") + 2]
        try:
            command.make_context(verb, words, parent=context)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {verb} {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("page", RUN, ids=ids)
def test_every_configuration_of_a_page_is_valid(page):
    for block in blocks(page):
        if block.language == "toml":
            text = block.text
            tomllib.loads(text)
            if not re.search(r"^\[data\]", text, re.MULTILINE) and not text.startswith("data"):
                text = 'data = { train = "a", label = "b" }\n' + text
            assert [str(problem) for problem in find_problems(text)] == [], f"{page.name}:\n{block.text}"
