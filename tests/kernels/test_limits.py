"""The bare loops that speed is held against mean what our kernels mean."""

from __future__ import annotations

import numpy as np
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.kernels.limits import bare_reads, bare_sums, bare_update
from fieldwise.kernels.numbering import WHOLE
from fieldwise.kernels.optimizers import adagrad
from fieldwise.kernels.work import new_work, split_fields

FORMS, ROWS = ["single"] * 3, [7, 90, 5]


def test_a_bare_step_is_logistic_regression_by_adagrad():
    rng = np.random.default_rng(0)
    batch, layout = make_batch(FORMS, random_fields(rng, FORMS, ROWS, 200)), make_layout(FORMS, ROWS)
    start = rng.normal(size=sum(ROWS)).astype(np.float32)
    labels = rng.integers(0, 2, 200).astype(np.uint32)
    bare = np.zeros((sum(ROWS), 3), dtype=np.float32)
    bare[:, 0] = start
    errors = np.full(200, np.nan, dtype=np.float32)
    for begin, end in ((0, 120), (120, 200)):
        bare_sums(bare, batch.ids, layout.base, labels, errors, begin, end)
    dense = sum(start[layout.base[f] + batch.ids[f].astype(int)] for f in range(3))
    np.testing.assert_allclose(errors, (1 / (1 + np.exp(-dense)) - labels) / 200, rtol=1e-4, atol=1e-7)
    for begin, end in ((0, 1), (1, 3)):
        bare_update(bare, batch.ids, layout.base, errors, 0.1, 1e-3, begin, end)
    ours = np.zeros((sum(ROWS), 2), dtype=np.float32)
    ours[:, 0] = start
    work = new_work(200, layout, 1, np.float32)
    local = np.empty((200, 0), dtype=np.float32)
    tickets = np.zeros(1, dtype=np.int64)
    tail = (np.uint64(0), WHOLE, 0.1, 1e-3, 0.0)
    adagrad(ours, batch, layout, local, errors[:, None], split_fields(layout, 1), tickets, work, *tail)
    np.testing.assert_allclose(bare[:, [0, 2]], ours, rtol=1e-5, atol=1e-9)
    assert (bare[:, 1] == 0).all()


def test_bare_reads_read_every_place():
    table = np.arange(100, dtype=np.float32)
    assert bare_reads(table, np.array([3, 3, 99], dtype=np.uint64)) == 105.0
