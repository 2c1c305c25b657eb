"""What the checks for numbers that are not finite cost: the same steps with and without them, in turn.

python benchmarks/guards.py
"""

from __future__ import annotations

import time

import numpy as np
import torch

from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.threads import set_num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training import step
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.guard import Divergence, sum_all
from fieldwise.training.make import make_stepper

NUM_FIELDS, BATCH_SIZE, ROWS, STEPS = 26, 4096, 20_000, 60


def make_batches(rng: np.random.Generator) -> list[Examples]:
    """Return batches whose ids are skewed as those of logs are."""
    none = np.empty(0, np.float32)
    batches = []
    for _ in range(4):
        ids = (rng.random((NUM_FIELDS, BATCH_SIZE)) ** 3 * ROWS).astype(np.uint32)
        batch = Batch(
            ids, none.reshape(0, BATCH_SIZE), np.empty((0, BATCH_SIZE + 1), np.int64), np.empty(0, np.uint32), none
        )
        batches.append(Examples(batch, rng.integers(0, 2, BATCH_SIZE).astype(np.int32), None, None))
    return batches


def main() -> None:
    """Print the median of a step for a small, a usual and a large model."""
    set_num_threads(1)
    torch.set_num_threads(1)
    batches = make_batches(np.random.default_rng(0))
    for kind, units, hidden in (("lr", 1, (256, 128)), ("lc-dnn", 8, (256, 128)), ("lc-wide-deep", 16, (2048, 1024))):
        config = ModelConfig(kind=kind, units=units, hidden=hidden)
        model = build_model(config, Layout.of([SINGLE] * NUM_FIELDS, [ROWS] * NUM_FIELDS), 2).train()
        stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), BATCH_SIZE)
        model.table.draw(0)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        divergence = Divergence.of(2)
        num_steps = STEPS if hidden[0] < 1000 else STEPS // 4
        for number in range(2 * num_steps):
            checked = (number + number // 2) % 2 == 0  # who comes second finds the rows in the processor's cache
            step.sum_all = sum_all if checked else lambda tensors: 0.0
            examples = batches[number // 2 % len(batches)]
            started = time.perf_counter()
            loss = stepper.step(examples, 1.0)
            if checked:
                divergence.add(loss, BATCH_SIZE, stepper.class_weights)
            seconds[checked].append(time.perf_counter() - started)
        with_, without = (float(np.median(seconds[checked][2:])) for checked in (True, False))
        print(f"{kind:13} K={units:<2} {hidden}: {without * 1e3:7.2f} ms without, {with_ * 1e3:7.2f} ms with "
              f"({with_ / without - 1:+.1%})")  # fmt: skip


if __name__ == "__main__":
    main()
