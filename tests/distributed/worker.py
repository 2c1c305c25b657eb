"""A worker: trains every case for a few steps on its share of the batches."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Examples
from fieldwise.distributed.group import Workers
from fieldwise.distributed.world import ALONE
from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.kernels.storage import decode_weights
from fieldwise.kernels.threads import set_num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.make import make_stepper

FORMS = ["single", "value", "bag", "single"]
ROWS = [7, 2, 5, 60]
SIZES = [40, 40, 17, 2, 1]  # the last two leave workers without examples
KINDS = [("lr", 1), ("dnn", 1), ("lc-dnn", 1), ("lc-dnn", 8), ("lc-wide-deep", 1), ("lc-wide-deep", 8)]
RULES = {"lr": "ftrl", "dnn": "adagrad", "lc-dnn": "adam", "lc-wide-deep": "rowwise-adagrad"}
STORAGE = {torch.float64: "float32", torch.float32: "float32", torch.bfloat16: "bfloat16"}
CASES = [
    *itertools.product(KINDS, [torch.float64, torch.float32], [False, True]),
    *itertools.product(KINDS, [torch.bfloat16], [False]),
]
ROUNDING_SEED = 11
WITH_HISTORIES = ("lc-wide-deep", 8)


def train_all(workers: Workers | None, device: str = "") -> dict[str, np.ndarray]:
    """Return what came out of every case; `device`: with rows where a GPU's would be."""
    set_num_threads(1)
    found = {}
    for (kind, units), dtype, weighted in CASES:
        losses, classes, table, dense = train(workers, kind, units, dtype, weighted, device)
        name = f"{kind}:{units} {str(dtype).removeprefix('torch.')}{' weighted' if weighted else ''}"
        found |= {f"{name}/loss": losses, f"{name}/classes": classes, f"{name}/table": table, f"{name}/dense": dense}
    return {name: np.array(array) for name, array in found.items() if array is not None}


def train(workers, kind, units, stored, weighted, device):
    config = ModelConfig(kind=kind, units=units, hidden=(6, 5), unit_dropout=0.0)
    histories = make_histories() if (kind, units) == WITH_HISTORIES else []
    dtype = torch.float32 if stored == torch.bfloat16 else stored
    model = build_model(config, make_layout(FORMS, ROWS), 2, 0, dtype, histories)
    table_config = TableOptimizerConfig(name=RULES[kind], learning_rate=0.05, storage=STORAGE[stored])
    if device:
        for member in model.members.values():
            member.reading = None  # a GPU's units are read by torch
    world = ALONE if workers is None else workers
    stepper = make_stepper(
        model,
        table_config,
        DenseOptimizerConfig(learning_rate=0.01),
        SIZES[0],
        world=world,
        device=torch.device(device) if device else None,
        seed=ROUNDING_SEED,
    )
    table = model.table
    table.draw(3)
    # The last matrix starts at zero, which would keep all gradients of the table there at first.
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype))
    model.train()
    rng, losses, classes = np.random.default_rng(1), [], []
    for size in SIZES:
        fields = random_fields(rng, FORMS, ROWS, size)
        labels = rng.integers(0, 2, size).astype(np.int32)
        weights = rng.uniform(0.5, 2, size).astype(np.float32)
        own = slice(size * world.rank // world.size, size * (world.rank + 1) // world.size)
        batch = make_batch(FORMS, [field[own] for field in fields])
        examples = Examples(batch, labels[own], weights[own] if weighted else None, None)
        losses.append(stepper.step(examples, 1.0))
        classes.append(stepper.class_weights)
    dense = np.concatenate([part.detach().numpy().ravel() for part in model.state_dict().values()])
    pieces = list(table.stream(40))
    return losses, classes, decode_weights(np.concatenate(pieces)) if pieces else None, dense


def make_histories():
    rng = np.random.default_rng(8)
    one, other = (rng.integers(0, size, 150).astype(np.uint32) for size in (7, 60))
    return [Cooccurrence(0, 3, *collect([(one, other)], 7, 100)), Cooccurrence(3, 0, *collect([(other, one)], 60, 100))]
