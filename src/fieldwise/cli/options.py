"""Arguments and options shared by several verbs, and a command class whose help ends with examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fieldwise.config import Config

__all__ = [
    "IMPORTED",
    "Verb",
    "all_of",
    "common_options",
    "config_argument",
    "config_options",
    "csv_options",
    "data_option",
    "folders_option",
    "format_option",
    "json_option",
    "load",
    "overwrite_option",
    "quiet_option",
    "replace_option",
    "report_option",
    "run_argument",
    "set_option",
    "threads_option",
    "write_examples",
]


class Verb(click.Command):
    """A click command whose help ends with `examples`, and which first imports the modules of ``--import``."""

    def __init__(self, *arguments: Any, examples: Sequence[str], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = examples
        self.params.append(
            click.Option(
                ["--import"],
                metavar="MODULE",
                multiple=True,
                is_eager=True,
                expose_value=False,
                callback=_import_modules,
                help="Import a module first that registers field types, models, metrics or callbacks; may be repeated.",
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)


IMPORTED: list[str] = []
"""Modules that ``--import`` named."""


def _import_modules(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> None:
    """Import modules, those of the working directory among them."""
    import sys
    from importlib import import_module

    from fieldwise.errors import ConfigError

    for name in names:
        IMPORTED.append(name)
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigError(
                "a module cannot be imported",
                where="--import",
                got=f"{name}: {error}",
                fix="name it without .py, as Python's import does; it lies in the working directory or is installed",
            ) from None


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write commands under a heading, each on one line, so that it can be copied."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"  {example}\n")


config_argument = click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))

run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))

data_option = click.option(
    "--data",
    metavar="PATH",
    multiple=True,
    required=True,
    help="Input log: file, glob or folder; - for standard input. May be repeated.",
)

format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "tsv", "parquet", "libsvm", "libffm"]),
    help="Format of the log. Default: inferred from the file name.",
)


def folders_option(name: str, said: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return an option that names folders."""
    return click.option(
        name, metavar="FOLDER", multiple=True, type=click.Path(path_type=Path), help=f"{said}; may be repeated."
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print a single JSON value on standard output.")

quiet_option = click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing run folder.")

report_option = click.option(
    "--report/--no-report",
    "with_report",
    default=True,
    envvar="FIELDWISE_REPORT",
    help="Write the report into the folder (update: updates.html). Default: the variable FIELDWISE_REPORT, or yes.",
)

replace_option = click.option("--overwrite", is_flag=True, help="Replace an existing output file.")


def _complete_key(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return what ``--set`` may begin with: all keys, but those of ``[fields.NAME]``, whose names are the log's."""
    from fieldwise.jobs.config.reference import describe_config

    named = [f"{table.path}.{key.name}=" for table in describe_config() for key in table.keys]
    return [name for name in named if name.startswith(incomplete) and ".NAME." not in name]


set_option = click.option(
    "--set",
    "overrides",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    shell_complete=_complete_key,
    help="Override a value of the configuration, e.g. --set train.epochs=3. May be repeated.",
)

preset_option = click.option(
    "--preset",
    type=click.Choice(["fast", "default", "best"]),
    help="How much time to spend on a model: train.preset.",
)

minutes_option = click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Leave out models and members that would take longer, the costliest first: train.minutes.",
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Number of threads. Default: all cores.",
)


def all_of(*options: Callable[[Callable[..., None]], Callable[..., None]]) -> Callable[..., Callable[..., None]]:
    """Return a decorator that adds several options, in the order of the help."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


common_options = all_of(threads_option, quiet_option, json_option)

config_options = all_of(set_option, common_options)


def csv_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `data.csv_dialect.CsvOptions`, as one argument `csv`."""

    @wraps(command)
    def with_csv(
        *, no_header: bool, columns: str | None, delimiter: str | None, quote: str, encoding: str | None, **rest: Any
    ) -> None:
        from fieldwise.data.csv_dialect import CsvOptions, read_delimiter

        delimiter = read_delimiter(delimiter)
        if delimiter is not None and len(delimiter) != 1:
            raise click.BadParameter(
                "must be a single character; convert files with longer delimiters first, "
                "e.g. sed 's/::/\\t/g' ratings.dat > ratings.tsv",
                param_hint="--delimiter",
            )
        quote = "" if quote == "none" else quote
        if len(quote) > 1:
            raise click.BadParameter("must be a single character or none.", param_hint="--quote")
        names = tuple(columns.split(",")) if columns else ()
        header = False if no_header or names else None
        csv = CsvOptions(header=header, columns=names, delimiter=delimiter, quote=quote, encoding=encoding)
        command(csv=csv, **rest)

    return all_of(*_CSV_OPTIONS)(with_csv)


_CSV_OPTIONS = (
    click.option("--no-header", is_flag=True, help="CSV and TSV files have no header line."),
    click.option("--columns", metavar="NAMES", help="Comma-separated column names of files without a header."),
    click.option("--delimiter", metavar="CHARACTER", help="Delimiter of CSV files. Default: detected."),
    click.option(
        "--quote",
        metavar="CHARACTER",
        default='"',
        help="Quote character of CSV files; none: quotes are ordinary characters.",
    ),
    click.option("--encoding", metavar="NAME", help="Encoding of CSV files, e.g. latin-1 or cp1252. Default: UTF-8."),
)


def load(config: Path, overrides: Sequence[str], threads: int | None = None) -> Config:
    """Read a configuration with the overrides of the command line, and set the number of threads."""
    from fieldwise.config import load_config

    if threads is not None:
        overrides = (*overrides, f"train.threads={threads}")
    loaded = load_config(config, overrides)
    limit_threads(loaded)
    return loaded


def limit_threads(config: Config) -> None:
    """Set the number of threads of the kernels; verbs that need torch set torch's as well (`jobs.train.train`)."""
    from fieldwise.kernels.threads import set_num_threads

    if config.train.threads is not None:
        set_num_threads(config.train.threads)


def with_budget(overrides: tuple[str, ...], preset: str | None, minutes: float | None) -> tuple[str, ...]:
    """Return overrides with what ``--preset`` and ``--minutes`` say."""
    given = {"preset": preset and f'"{preset}"', "minutes": minutes}
    return (*overrides, *(f"train.{key}={value}" for key, value in given.items() if value is not None))
