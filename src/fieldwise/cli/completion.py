"""``fieldwise completion``: the script by which a shell completes verbs, options, keys and files."""

from __future__ import annotations

import click

from fieldwise.cli.options import Verb, json_option
from fieldwise.cli.output import print_json

_PROGRAM, _VARIABLE = "fieldwise", "_FIELDWISE_COMPLETE"  # click reads the variable in every process of the program


@click.command(
    name="completion",
    cls=Verb,
    short_help="Print the completion script of a shell.",
    examples=(
        'eval "$(fieldwise completion bash)"    # in ~/.bashrc',
        'eval "$(fieldwise completion zsh)"     # in ~/.zshrc, after compinit',
        "fieldwise completion fish > ~/.config/fish/completions/fieldwise.fish",
    ),
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the script by which SHELL (bash, zsh or fish) completes verbs, options, their values, files, and after
    --set the keys of the configuration.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)
