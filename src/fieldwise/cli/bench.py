"""``fieldwise bench``: training speed against the limits of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, json_option, threads_option
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.jobs.bench import Bench


@click.command(
    name="bench",
    cls=Verb,
    short_help="Benchmark training against the limits of this machine.",
    examples=("fieldwise bench", "fieldwise bench --fields 158 --json"),
)
@click.option(
    "--fields", type=click.IntRange(min=1), default=39, show_default=True, help="Number of fields of the log."
)
@click.option(
    "--features", type=click.IntRange(min=1000), default=8_670_000, show_default=True, help="Number of features."
)
@click.option("--quick", is_flag=True, help="Take a few seconds instead of a minute; less accurate.")
@threads_option
@json_option
def command(fields: int, features: int, quick: bool, threads: int | None, as_json: bool) -> None:
    """Measure the two limits of training click models on this machine, random access to the embedding table and matrix
    products, and how close logistic regression and LC-DNN come to them. Takes about a minute.

    A synthetic log is generated for the benchmark and removed afterwards. LR is compared with a bare loop over ids in
    memory that gathers, accumulates and applies; LC-DNN with its matrix products alone.
    """
    from fieldwise.errors import ConfigError
    from fieldwise.jobs.bench import bench
    from fieldwise.jobs.threads import use_threads

    if features < 4 * fields:
        raise ConfigError(
            "too few features for this number of fields", where="--features", expected=f">= {4 * fields}", got=features
        )
    use_threads(threads)
    measured = bench(fields=fields, features=features, quick=quick)
    if as_json:
        print_json(measured.as_dict())
    else:
        _print(measured)


def _print(measured: Bench) -> None:
    """Print the machine, its limits, and the speed of training relative to them."""
    from fieldwise.cli.output import compact, print_table
    from fieldwise.counted import counted
    from fieldwise.io.memory import readable_bytes

    machine = measured.machine
    threads = counted(machine.threads, "thread")
    click.echo(
        f"{machine.processor}, {counted(machine.cores, 'core')}, {readable_bytes(machine.memory_bytes)}, {threads}"
    )
    if machine.load > 0.5:
        click.echo(f"the machine is busy (load {machine.load:.1f}): ratios are reliable, absolute rates are not")
    limits = [
        [f"random reads, {count} thread{'s' * (count != '1')}", f"{rate:,.0f} M/s"]
        for count, rate in measured.reads.items()
    ]
    limits += [[f"matrix products, {name}", f"{rate:,.0f} GFLOP/s"] for name, rate in measured.products.items()]
    print_table("Limits of this machine", ["limit", "rate"], limits)
    print_table(
        "Training speed relative to the limits",
        ["training", "unit", "measured", "limit", "ratio"],
        [
            [figure.name, figure.unit, compact(figure.ours), compact(figure.limit), f"{figure.ratio:.2f}"]
            for figure in measured.figures
        ],
        num_texts=2,
    )
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in measured.stages.items())
    click.echo(f"Took {measured.seconds:.0f} s: {stages}")
