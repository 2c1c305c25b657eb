"""``fieldwise train``: train, evaluate and save one model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import (
    IMPORTED,
    Verb,
    config_argument,
    config_options,
    load,
    minutes_option,
    overwrite_option,
    preset_option,
    report_option,
    with_budget,
)
from fieldwise.cli.output import print_json
from fieldwise.cli.workers import ray_option, run_with_workers, worker_options

if TYPE_CHECKING:
    from fieldwise.distributed.group import Workers
    from fieldwise.events import Listener


@click.command(
    name="train",
    cls=Verb,
    short_help="Train, evaluate and save one model.",
    examples=(
        "fieldwise train fieldwise.toml --out runs/first",
        "fieldwise train fieldwise.toml --out runs/first --dry-run",
        "fieldwise train fieldwise.toml --out runs/wide --set model.kind=lc-wide-deep --set model.units=16",
        "fieldwise train fieldwise.toml --out runs/best --preset best --minutes 20",
        "fieldwise train fieldwise.toml --out runs/first --workers 4",
    ),
)
@config_argument
@click.option("--out", metavar="RUN", type=click.Path(path_type=Path), required=True, help="Run folder to write.")
@preset_option
@minutes_option
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Estimate features, memory and disk; train nothing.")
@report_option
@worker_options
@ray_option
@config_options
def command(
    config: Path,
    out: Path,
    preset: str | None,
    minutes: float | None,
    overwrite: bool,
    dry_run: bool,
    with_report: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    workers: int | None,
    hosts: str | None,
    rendezvous: str | None,
    timeout: float | None,
    ray: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the model of CONFIG on its log, and save it with its metrics in the run folder RUN.

    The log is prepared first if necessary. Locally connected models are initialized from a logistic regression, which
    is trained first, and kept unless later weights are better on the validation rows by more than noise. The weights
    of the epoch with the best validation metric are kept. A finished run is not repeated; an interrupted run is
    resumed.
    """
    loaded = load(config, with_budget(overrides, preset, minutes), threads)  # before torch, which takes seconds
    if dry_run:
        from fieldwise.jobs.train.plan import plan

        expected = plan(loaded)
        if as_json:
            print_json(expected.as_dict())
        else:
            from fieldwise.cli.tables import print_plan

            print_plan(expected)
        return

    def work(team: Workers | None, listen: Listener) -> Callable[[], None]:
        from fieldwise.jobs.train.train import train

        if ray is None:
            result = train(loaded, out, overwrite=overwrite, listen=listen, workers=team)
        else:
            from fieldwise.events import Warned
            from fieldwise.jobs.train.on_ray import train_on_ray

            address, count = None if ray == "local" else ray, workers or 1
            result = train_on_ray(
                loaded,
                out,
                count,
                address=address,
                overwrite=overwrite,
                timeout=timeout,
                imports=IMPORTED,
                say=lambda text: listen(Warned(text)),
            )

        def show() -> None:
            if as_json:
                print_json(result.as_dict())
            else:
                from fieldwise.cli.result import print_result

                print_result(result, config, loaded)
            if with_report:
                from fieldwise.cli.report import show_report

                show_report(out, quiet, as_json)

        return show

    run_with_workers(work, workers if ray is None else None, hosts, rendezvous, timeout, quiet)
