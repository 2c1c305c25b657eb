"""Seconds per epoch of one process and of W workers, on the log of a configuration; LC-DNN from a random start.

torchrun --nproc-per-node 2 benchmarks/distributed.py CONFIG     W workers (2 here)
OMP_NUM_THREADS=1 python benchmarks/distributed.py CONFIG        one process, one thread
"""

from __future__ import annotations

import os
import sys
import time

import torch

import fieldwise as fw
from fieldwise.data.batches import Batches
from fieldwise.distributed.group import Workers
from fieldwise.distributed.table import ShardedTable
from fieldwise.kernels.threads import set_num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.optim.dense import DenseOptimizerConfig, build_dense_optimizer
from fieldwise.optim.table import TableOptimizer, TableOptimizerConfig
from fieldwise.training.sharded import ShardedStepper, share_statistics
from fieldwise.training.step import Stepper

MODELS = [("lr", 1), ("lc-dnn", 1), ("lc-dnn", 8), ("lc-wide-deep", 1)]
BATCH_SIZE, MAX_STEPS = 4096, 60


def main(config: str) -> None:
    """Print one line for each model."""
    set_num_threads(1)
    torch.set_num_threads(1)
    cache = fw.prepare(fw.load_config(config)).parts["train"]
    workers = Workers.join() if "RANK" in os.environ else None
    rank, count = (0, 1) if workers is None else (workers.rank, workers.size)
    for kind, units in MODELS:
        model = build_model(ModelConfig(kind=kind, units=units), cache.layout, 2)
        rule = TableOptimizerConfig(name="ftrl" if kind == "lr" else "adam")
        if workers is None:
            table = TableOptimizer(model.table, rule, BATCH_SIZE)
            stepper = Stepper(model, table, dense(model))
        else:
            table = ShardedTable(model.table, rule, BATCH_SIZE, workers)
            share_statistics(model, table)
            stepper = ShardedStepper(model, table, dense(model))
        table.draw(0)
        model.train()
        batches = Batches(cache, BATCH_SIZE)
        for number, rows in zip(range(MAX_STEPS + 5), batches.rows(0), strict=False):
            if number == 5:  # compiled and warm
                begun = time.perf_counter()
            loss = stepper.step(cache.gather(rows[len(rows) * rank // count : len(rows) * (rank + 1) // count]), 1.0)
        seconds = (time.perf_counter() - begun) / MAX_STEPS
        if rank == 0:
            name = f"{kind}:{units}".ljust(16)
            print(f"{name} {seconds * 1e3:7.2f} ms a step, {seconds * batches.num_batches:6.2f} s an epoch, {loss:.4f}")
    if workers is not None:
        workers.close()
        workers.end()


def dense(model: torch.nn.Module) -> torch.optim.Optimizer | None:
    """Return the default optimizer of the dense part."""
    return build_dense_optimizer(model.parameters(), DenseOptimizerConfig())


if __name__ == "__main__":
    main(sys.argv[1])
