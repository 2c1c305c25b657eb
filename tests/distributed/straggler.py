"""A worker, of which number 1 is slow: trains for some steps, and worker 0 prints what the report says.

python straggler.py     with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import numpy as np
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Examples
from fieldwise.distributed.group import Workers
from fieldwise.distributed.traffic import find_straggler
from fieldwise.jobs.train.team import Team
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.training.config import TrainConfig

FORMS, ROWS, SIZE, STEPS, SLEEP = ["single", "value", "bag"], [50, 2, 9], 64, 4, 0.5


def main() -> None:
    torch.set_num_threads(1)
    workers = Workers.join()
    model = build_model(ModelConfig(kind="lc-dnn", units=2, hidden=(8,), unit_dropout=0.0), make_layout(FORMS, ROWS), 2)
    stepper = Team(workers).stepper(model, TrainConfig(batch_size=SIZE))
    stepper.table_rows.draw(0)
    model.train()
    forward = model.members

    def slowly(batch):
        time.sleep(SLEEP)
        return forward(batch)

    rng = np.random.default_rng(0)
    for step in range(STEPS + 2):
        if step == 2:  # what was compiled in the first steps is no worker's fault
            workers.traffic = type(workers.traffic)()
            model.members = slowly if workers.rank == 1 else forward
        batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, SIZE))
        labels = rng.integers(0, 2, SIZE).astype(np.int32)
        stepper.step(Examples(batch, labels, None, None), 1.0)
    report = workers.report()
    if workers.rank == 0:
        print(msgspec.json.encode({"workers": report, "straggler": find_straggler(report)}).decode())  # noqa: T201
    workers.close()
    workers.end()


if __name__ == "__main__":
    main()
