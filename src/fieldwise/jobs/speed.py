"""What training speed is measured with: synthetic logs, models, bare loops and products, and clocks."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.batches import Batches
from fieldwise.data.cache import Cache, Examples
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.datasets.truth import draw_features, feature_counts
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.limits import bare_reads, bare_sums, bare_update
from fieldwise.kernels.threads import num_threads, run_each
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.nn.blocks import cut, run_blocks, single_threaded_torch
from fieldwise.nn.product import product
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.make import make_stepper
from fieldwise.training.step import Stepper

__all__ = [
    "BATCH",
    "bare_rate",
    "drawn_batch",
    "drawn_cache",
    "drawn_layout",
    "epoch_rate",
    "lr_stepper",
    "network_products",
    "network_stepper",
    "products_seconds",
    "reads_rate",
]

_SKEW = 1.1
BATCH = 4096
"""Examples in a batch."""
_FEW_BATCHES = 3

Products = list[tuple[int, int, int]]


def drawn_layout(num_fields: int, num_features: int) -> Layout:
    """Return the layout of a synthetic log: many small fields, and a few fields with most of the features."""
    counts = feature_counts(num_fields, num_features, np.random.default_rng(0))
    return Layout.of([SINGLE] * num_fields, counts.tolist())


def drawn_batch(layout: Layout, num_examples: int, rng: np.random.Generator, skew: float = _SKEW) -> Batch:
    """Return a batch of B examples with random, skewed ids."""
    sizes = np.diff(layout.base).tolist()
    ids = np.empty((layout.num_fields, num_examples), dtype=np.uint32)
    for f, size in enumerate(sizes):
        ids[f] = draw_features(rng.random(num_examples), size, skew)
    none = np.empty(0, dtype=np.float32)
    return Batch(
        ids,
        none.reshape(0, num_examples),
        np.empty((0, num_examples + 1), dtype=np.int64),
        none.astype(np.uint32),
        none,
    )


def drawn_cache(folder: Path, layout: Layout, num_examples: int, seed: int = 1) -> Cache:
    """Write a cache of skewed ids whose clicks follow a logistic regression, the same for every seed."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    weights = [truth.normal(size=min(size, 1000)).astype(np.float32) for size in np.diff(layout.base).tolist()]
    with CacheWriter(folder, layout, num_classes=2) as writer:
        for first in range(0, num_examples, 1 << 16):
            batch = drawn_batch(layout, min(1 << 16, num_examples - first), rng)
            logits = np.full(batch.num_examples, -1.0, dtype=np.float32)
            for ids, of in zip(batch.ids, weights, strict=True):
                logits += of[ids % len(of)] / np.float32(np.sqrt(layout.num_fields))
            labels = (rng.random(batch.num_examples) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int32)
            writer.add(Examples(batch, labels, None, None))
    return Cache.open(folder)


def lr_stepper(layout: Layout, optimizer: str = "adagrad") -> Stepper:
    """Return what trains logistic regression."""
    model = build_model(ModelConfig(kind="lr"), layout, 2)
    table = TableOptimizerConfig(name=optimizer)  # type: ignore[arg-type]
    return make_stepper(model, table, DenseOptimizerConfig(), BATCH)


def network_stepper(
    layout: Layout,
    hidden: tuple[int, ...],
    precision: str,
    kind: str = "lc-dnn",
    units: int = 1,
    optimizer: TableOptimizerConfig | None = None,
) -> Stepper:
    """Return what trains a network, by default one unit per field."""
    model = build_model(ModelConfig(kind=kind, units=units, hidden=hidden), layout, 2)
    table = optimizer or TableOptimizerConfig()
    stepper = make_stepper(model, table, DenseOptimizerConfig(), BATCH, precision=precision)
    model.table.draw(0)
    return stepper


def epoch_rate(
    stepper: Stepper,
    cache: Cache,
    *,
    num_epochs: int,
    max_batches: int | None = None,
    cpu: bool = False,
    until: float = math.inf,
) -> float:
    """Return the examples per second of training, including reading and shuffling; the median over epochs or batches.

    Parameters
    ----------
    cpu
        Count CPU seconds of all threads instead of wall-clock seconds.
    until
        Stop after this time of `time.perf_counter`, but not before a few batches.
    """
    clock = time.process_time if cpu else time.perf_counter
    batches = Batches(cache, BATCH, seed=0)
    stepper.model.train()
    with stepper.at_work(), stepper.reading(batches, 0, 0) as first:
        for _, examples in zip(range(2), first, strict=False):
            stepper.step(examples, 1.0)  # compiles kernels, touches pages
    rates = []
    for epoch in range(1, num_epochs + 1):
        started, done, times = clock(), 0, [clock()]
        with stepper.at_work(), stepper.reading(batches, epoch, 0) as coming:
            for number, examples in enumerate(coming):
                if number == max_batches or (number >= _FEW_BATCHES and time.perf_counter() > until):
                    break
                stepper.step(examples, 1.0)
                done += examples.batch.num_examples
                times.append(clock())
        if max_batches is None:
            rates.append(done / (clock() - started))
        else:
            rates.append(BATCH / statistics.median(np.diff(times).tolist()))
        if time.perf_counter() > until:
            break
    return statistics.median(rates)


def bare_rate(
    layout: Layout, *, num_batches: int, repeats: int = 3, batch_size: int = BATCH, cpu: bool = False
) -> float:
    """Return the features per second of a bare loop over ids in memory: gather, accumulate, apply.

    With `cpu`, CPU seconds of all threads are counted.
    """
    rng = np.random.default_rng(2)
    batches = [drawn_batch(layout, batch_size, rng).ids for _ in range(num_batches)]
    rows = np.zeros((layout.num_features, 3), dtype=np.float32)
    labels = (rng.random(batch_size) < 0.25).astype(np.uint32)
    errors = np.empty(batch_size, dtype=np.float32)
    threads = num_threads()

    def cuts(count: int) -> Iterator[tuple[int, int]]:
        for part in range(threads):
            yield count * part // threads, count * (part + 1) // threads

    def step(ids: npt.NDArray[np.uint32]) -> None:
        run_each(bare_sums, [(rows, ids, layout.base, labels, errors, *cut) for cut in cuts(batch_size)])
        tail = (0.05, 1.0 / batch_size)
        run_each(bare_update, [(rows, ids, layout.base, errors, *tail, *cut) for cut in cuts(layout.num_fields)])

    def epoch() -> None:
        for ids in batches:
            step(ids)

    epoch()
    clock = time.process_time if cpu else time.perf_counter
    seconds = [_seconds(epoch, clock) for _ in range(repeats)]
    return num_batches * batch_size * layout.num_fields / statistics.median(seconds)


def network_products(num_inputs: int, hidden: tuple[int, ...], batch_size: int = BATCH) -> Products:
    """Return (m, k, n) of the matrix products of a training step: forward, weight and input gradients of every layer.

    Examples
    --------
    >>> network_products(158, (2048, 1024))[:3]
    [(4096, 158, 2048), (158, 4096, 2048), (4096, 2048, 158)]
    """
    widths = [num_inputs, *hidden]
    return [
        shape for a, b in pairwise(widths) for shape in ((batch_size, a, b), (a, batch_size, b), (batch_size, b, a))
    ]


def products_seconds(products: Products, precision: str, repeats: int, until: float = math.inf) -> float:
    """Return the seconds that matrix products take at the best rate measured; after `until`, each is timed once."""
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    total = 0.0
    with torch.inference_mode():
        for m, k, n in products:
            a, b = torch.rand(m, k).to(dtype), torch.rand(n, k).to(dtype)
            parts = cut(m, -(-m // num_threads()))
            ways: list[Callable[[], object]] = [partial(torch.mm, a, b.t()), partial(_in_parts, a, b, parts)]
            for way in ways:
                way()
            tried = [_seconds(way) for way in ways]
            for _ in range(repeats - 1):
                if time.perf_counter() < until:
                    tried += [_seconds(way) for way in ways]
            total += min(tried)
    return total


def _in_parts(a: torch.Tensor, b: torch.Tensor, parts: list[slice]) -> None:
    run_blocks(lambda of: product(a[of], b), parts)


def reads_rate(threads: int, quick: bool) -> float:
    """Return random reads per second from a table that no cache holds."""
    table = np.ones(1 << (24 if quick else 27), dtype=np.float32)
    rng = np.random.default_rng(3)
    places = [rng.integers(0, len(table), 1 << 22, dtype=np.uint64) for _ in range(threads)]
    with single_threaded_torch():  # its threads stay asleep meanwhile
        work = [(table, part) for part in places]
        run_each(bare_reads, work)
        seconds = min(_seconds(lambda: run_each(bare_reads, work)) for _ in range(3))
    return threads * len(places[0]) / seconds


def _seconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    action()
    return clock() - started
