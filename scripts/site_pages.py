"""mkdocs calls this: pages made from the code (configuration, commands), and those that lie outside `docs`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

from fieldwise.cli import VERBS, main
from fieldwise.jobs.config.reference import describe_config
from fieldwise.reference.keys import KeyTable

_ROOT = Path(__file__).parent.parent
_OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<!!)\[(?P<words>[^\]\[]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_MATHEMATICS = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file under `docs` holds."""
    made = {name: (_ROOT / name).read_text() for name in _OUTSIDE}
    made |= {"reference/configuration.md": configuration(), "reference/commands.md": commands()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of the repository lead within the site; of what is in the repository alone, keep the words."""
    folder = _ROOT / ("" if page.file.src_uri in _OUTSIDE else "docs") / Path(page.file.src_uri).parent
    up = "../" * page.file.src_uri.count("/")

    def followed(found: re.Match[str]) -> str:
        words, target, anchor = found["words"], found["target"], found["anchor"] or ""
        there = Path(os.path.normpath(folder / target))
        if "://" in target or not there.exists():  # mkdocs says so where nothing is there
            return found[0]
        if there.name in _OUTSIDE:
            return f"[{words}]({up}{there.name}{anchor})"
        if not there.is_relative_to(_ROOT / "docs"):
            return words
        return f"[{words}]({up}{there.relative_to(_ROOT / 'docs').as_posix()}{anchor})"

    return _LINK.sub(followed, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw without a script."""
    return _MATHEMATICS.sub(
        lambda found: convert(_unescaped(found[2] or found[3]), display="inline" if found[1] == "span" else "block"),
        html,
    )


def configuration() -> str:
    """Return the reference of the configuration file, from its types."""
    head = (
        "# Configuration\n\nEvery key of the file, made from its types, as `fieldwise config` prints them. "
        "`fieldwise config FILE` checks a file: all mistakes at once, each with its line. For completion and checks in "
        "an editor, write the schema with `fieldwise config --json > fieldwise.schema.json`, and begin the file with "
        "`#:schema ./fieldwise.schema.json` (taplo, Even Better TOML). `--set section.key=value` sets a key on the "
        "command line.\n"
    )
    return head + "\n".join(map(_table, describe_config()))


def commands() -> str:
    """Return the help of all verbs."""
    parts = ["# Commands\n\nWhat `fieldwise VERB --help` prints.\n"]
    for verb in VERBS:
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        context = click.Context(command, info_name=f"fieldwise {verb}", max_content_width=100, terminal_width=100)
        parts.append(f"## {verb}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _table(table: KeyTable) -> str:
    rows = [f"\n## [{table.path}] {{ #{table.path.lower()} }}\n", _markdown(table.summary), ""]
    rows += ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key in table.keys:
        default = "required" if key.required else "" if key.default is None else f"`{key.default}`"
        cells = (f"`{key.name}`", key.takes, default, _markdown(key.meaning))
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
