"""The tables printed by ``fieldwise bench``."""

from __future__ import annotations

import click

from fieldwise.cli.names import compact
from fieldwise.cli.output import print_table
from fieldwise.counted import counted
from fieldwise.io.memory import readable_bytes
from fieldwise.jobs.bench import Bench

__all__ = ["print_bench"]


def print_bench(measured: Bench) -> None:
    """Print the machine, its limits, and the speed of training relative to them."""
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
