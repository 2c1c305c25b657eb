"""Benchmark: the speed of training relative to the limits of this machine.

Training is limited by random access to the table and by matrix products. Both limits are measured with bare loops and
bare products, then compared with whole epochs and whole steps of the training code on a synthetic log of skewed ids.
Both sides of a ratio are measured in the same run, so ratios also hold on a busy machine with constant load.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import msgspec

from fieldwise.io.memory import require_memory
from fieldwise.jobs.machine import Machine, describe_machine
from fieldwise.jobs.speed import (
    BATCH,
    bare_rate,
    drawn_cache,
    drawn_layout,
    epoch_rate,
    lr_stepper,
    network_products,
    network_stepper,
    products_seconds,
    reads_rate,
)
from fieldwise.kernels.threads import num_threads
from fieldwise.outcome import Outcome
from fieldwise.training.precision import has_bfloat16

__all__ = ["Bench", "Measured", "bench"]

_SECONDS, _QUICK_SECONDS = 60.0, 15.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The measured speed of training, the limit, both in `unit`, and their ratio."""

    name: str
    unit: str
    ours: float
    limit: float
    ratio: float


class Bench(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """The result of a benchmark.

    Attributes
    ----------
    machine
        The machine.
    reads
        Random reads from a table of at least 256 MB, in millions per second, by number of threads.
    products
        Matrix products of the paper's network, in GFLOP/s, by precision.
    figures
        Training speeds relative to the limits.
    stages
        Seconds that each stage of the benchmark took.
    seconds
        Seconds in total.
    """

    machine: Machine
    reads: dict[str, float]
    products: dict[str, float]
    figures: list[Measured]
    stages: dict[str, float]
    seconds: float


def bench(
    *, fields: int = 39, features: int = 8_670_000, hidden: tuple[int, ...] = (2048, 1024), quick: bool = False
) -> Bench:
    """Measure this machine and the speed of training on it, in about a minute.

    On a busy machine there are fewer repetitions, but at least one of each measurement.

    Parameters
    ----------
    fields, features
        Number of fields, >= 1, and of features, >= 4 per field, of the synthetic log.
    hidden
        Widths of the hidden layers of LC-DNN.
    quick
        Take a few seconds only, with less accurate results.

    Raises
    ------
    ResourceError
        There is not enough memory for the tables.
    """
    started = time.perf_counter()
    machine = describe_machine()
    require_memory(features * 40 + (1 << 30), "the tables of the benchmark", "use fewer features")
    num_examples = 16 * BATCH if quick else 512 * BATCH // max(fields // 39, 1)
    layout = drawn_layout(fields, features)
    figures = []
    stages: dict[str, float] = {}

    def done(stage: str) -> None:
        stages[stage] = time.perf_counter() - started - sum(stages.values())

    def share(of: float) -> float:
        return started + of * (_QUICK_SECONDS if quick else _SECONDS)

    with tempfile.TemporaryDirectory(prefix="fieldwise-bench-") as folder:
        cache = drawn_cache(Path(folder) / "cache", layout, num_examples)
        done("drawing a log")
        bare = bare_rate(layout, num_batches=4 if quick else 48)
        ours = epoch_rate(lr_stepper(layout), cache, num_epochs=1 if quick else 3, until=share(0.3))
        figures.append(_measured("LR, whole epoch", "features/s", ours * fields, bare))
        done("LR")
        flops = 2.0 * sum(a * b * c for a, b, c in network_products(fields, hidden))
        products = {}
        precisions = ["float32", *(["bfloat16"] if has_bfloat16() else [])]
        for number, precision in enumerate(precisions):
            begin, each = 0.3 + 0.6 * number / len(precisions), 0.6 / len(precisions)
            repeats = 1 if quick else 5
            products_of = network_products(fields, hidden)
            seconds = products_seconds(products_of, precision, repeats, until=share(begin + each / 2))
            products[precision] = flops / seconds / 1e9
            stepper = network_stepper(layout, hidden, precision)
            num_batches = 3 if quick else 16
            rate = epoch_rate(stepper, cache, num_epochs=1, max_batches=num_batches, until=share(begin + each))
            name = f"LC-DNN {[fields, *hidden, 1]}, {precision}, whole step"
            figures.append(_measured(name, "examples/s", rate, BATCH / seconds))
            done(f"LC-DNN, {precision}")
    reads = {str(count): reads_rate(count, quick) / 1e6 for count in sorted({1, num_threads()})}
    done("random reads")
    return Bench(
        machine=machine,
        reads=reads,
        products=products,
        figures=figures,
        stages=stages,
        seconds=time.perf_counter() - started,
    )


def _measured(name: str, unit: str, ours: float, limit: float) -> Measured:
    return Measured(name=name, unit=unit, ours=ours, limit=limit, ratio=ours / limit)


# What is measured on.


# Measuring.
