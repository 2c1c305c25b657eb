"""``fieldwise config``: print the reference of the configuration file, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, json_option, set_option
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.reference.keys import KeyTable


@click.command(
    name="config",
    cls=Verb,
    short_help="Explain every key of the configuration file; check a file.",
    examples=(
        "fieldwise config",
        "fieldwise config --key train.table",
        "fieldwise config fieldwise.toml",
        "fieldwise config --json > fieldwise.schema.json",
    ),
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--key", metavar="KEY", help="Explain one table or key, e.g. train.table or epochs.")
@set_option
@json_option
def command(file: Path | None, key: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print every key of the configuration file: its meaning, what it takes, and its default.

    With FILE, check it instead, without reading its log: all mistakes are listed, each with its line, what was expected
    and what was found; the exit code is then 2.

    --json prints a JSON Schema, by which editors complete and check the file; with FILE, the mistakes.
    """
    if file is not None and key is not None:
        raise click.UsageError("--key explains a key; leave it out to check FILE.")
    if file is None:
        from fieldwise.jobs.config.reference import describe_config, schema_of_config

        if overrides:
            raise click.UsageError("--set overrides a value of FILE, which is missing.")
        if as_json and key is None:
            print_json(schema_of_config())
        elif as_json:
            print_json([{"table": each.path, **one._asdict()} for each in describe_config(key) for one in each.keys])
        else:
            click.echo("\n\n".join(map(_page, describe_config(key))))
        return
    from fieldwise.jobs.config.check import check_file

    problems = check_file(file, overrides)
    if as_json:
        details = ("what", "where", "expected", "got", "fix")
        told = [{name: _text(getattr(problem, name)) for name in details} for problem in problems]
        print_json({"file": str(file), "valid": not problems, "problems": told})
    elif problems:
        click.echo("\n".join(f"error: {problem}" for problem in problems), err=True)
    else:
        click.echo(f"{file} is valid.")
    if problems:
        click.get_current_context().exit(2)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _page(table: KeyTable) -> str:
    """Return a table and its keys as text of 100 columns."""
    lines = [f"[{table.path}]", _wrapped(table.summary, "")]
    for key in table.keys:
        value = f" = {key.default}" if key.default is not None else " (required)" if key.required else ""
        lines += ["", f"  {key.name}{value}"]
        lines += [_wrapped(f"{key.takes[:1].upper()}{key.takes[1:]}."), _wrapped(key.meaning)]
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "    ") -> str:
    return click.wrap_text(text.replace("``", ""), 100, indent, indent)
