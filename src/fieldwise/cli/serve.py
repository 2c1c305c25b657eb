"""``fieldwise serve``: answer raw rows over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise import __version__
from fieldwise.cli.options import Verb, json_option


@click.command(
    name="serve",
    cls=Verb,
    short_help="Answer raw rows over HTTP.",
    examples=(
        "fieldwise serve runs/first --name ctr",
        "fieldwise serve models --host 0.0.0.0 --port 80 --token-file /run/secrets/token",
        'curl localhost:8080/v1/models/ctr:predict -d \'{"rows": [{"user": "u7", "item": "i3"}]}\'',
    ),
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--name", help="Name of the model. Default: the name of its folder.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with a token that requests must carry. Default: the variable FIELDWISE_TOKEN, or none.",
)
@click.option(
    "--poll",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.05),
    help="Seconds between checks for new versions.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write what is asked and answered to Parquet files, for training when the labels come.",
)
@click.option("--max-bytes", type=click.IntRange(min=1), help="Largest body of a request. Default: 16 MB.")
@click.option("--max-rows", type=click.IntRange(min=1), help="Most rows of a request. Default: 10,000.")
@click.option("--queue", type=click.IntRange(min=1), help="Most rows that wait for an answer. Default: 20,000.")
@click.option(
    "--deadline", type=click.FloatRange(min=0.1), help="Seconds in which a client must send its request. Default: 20."
)
@json_option
def command(
    path: Path,
    host: str,
    port: int,
    name: str | None,
    token_file: Path | None,
    poll: float,
    log: Path | None,
    max_bytes: int | None,
    max_rows: int | None,
    queue: int | None,
    deadline: float | None,
    as_json: bool,
) -> None:
    """Answer raw rows over HTTP from the models in PATH: a bundle, a run, or a folder of models with versions.

    Protocols: the Open Inference Protocol, version 2 (/v2/models/NAME/infer), and plain JSON
    (/v1/models/NAME:predict); /openapi.json describes both, / shows what is going on, /metrics is for Prometheus. A
    new version in PATH is loaded, verified and warmed before it answers; one that is damaged is refused.
    """
    import httptools  # noqa: F401  (uvicorn would do without these two, slower)
    import uvloop  # noqa: F401

    from fieldwise.cli.output import print_json
    from fieldwise.serving.limits import Limits
    from fieldwise.serving.log import RequestLog
    from fieldwise.serving.models import Models
    from fieldwise.serving.run import run
    from fieldwise.serving.token import read_token

    given = {"body_bytes": max_bytes, "rows": max_rows, "queued_rows": queue, "receive_seconds": deadline}
    limits = Limits(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    token = read_token(token_file)

    def say(text: str) -> None:
        click.echo(text, err=True)

    if token is None and host not in ("127.0.0.1", "localhost", "::1"):
        say("note: others can reach this address and no token is required; see --token-file")
    models = Models(path, name, limits, say)
    request_log = RequestLog(log, say) if log is not None else None

    def ready(url: str, answering: dict[str, str]) -> None:
        if as_json:
            print_json({"url": url, "models": answering})
        else:
            click.echo(f"ready: {url} {', '.join(f'{model} (version {of})' for model, of in answering.items())}")

    run(models, host, port, limits=limits, version=__version__, token=token, poll=poll, log=request_log, ready=ready)
