"""A worker, of which number 1 is slow: trains for some steps, and sees what the report says."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Examples
from fieldwise.distributed.group import Workers
from fieldwise.distributed.traffic import find_straggler
from fieldwise.jobs.train.team import stepper_of
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.training.config import TrainConfig

FORMS, ROWS, SIZE, STEPS, SLEEP = ["single", "value", "bag"], [50, 2, 9], 64, 4, 0.5


def report(workers: Workers) -> dict[str, Any]:
    model = build_model(ModelConfig(kind="lc-dnn", units=2, hidden=(8,), unit_dropout=0.0), make_layout(FORMS, ROWS), 2)
    stepper = stepper_of(model, TrainConfig(batch_size=SIZE), workers)
    model.table.draw(0)
    model.train()
    forward = model.member_logits

    def slowly(batch):
        time.sleep(SLEEP)
        return forward(batch)

    rng = np.random.default_rng(0)
    for step in range(STEPS + 2):
        if step == 2:  # what was compiled in the first steps is no worker's fault
            workers.traffic = type(workers.traffic)()
            model.member_logits = slowly if workers.rank == 1 else forward
        batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, SIZE))
        labels = rng.integers(0, 2, SIZE).astype(np.int32)
        stepper.step(Examples(batch, labels, None, None), 1.0)
    found = workers.report()
    return {"workers": msgspec.to_builtins(found), "straggler": find_straggler(found)}
