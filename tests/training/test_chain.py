"""When a chain of Gibbs sampling ends."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss
from tests.logs import make_table, write

import fieldwise as fw
from fieldwise.training.chain import LOOKS, SWEEPS_BETWEEN, has_settled, read_chain, run_chain
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import SamplerConfig
from fieldwise.training.interrupt import Interrupt, Interrupted

BURN_IN = 5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    write(make_table(2000), folder / "log.csv")
    text = '[data]\ntrain = "log.csv"\nlabel = "click"\nsplit = "split"\n'
    (folder / "log.toml").write_text(text)
    return fw.prepare(fw.load_config(folder / "log.toml"))


def run(prepared, folder, tolerance, sweeps=120, interrupt=None, listen=None):
    seen = []

    def note(event):
        seen.append(event)
        if listen is not None:
            listen(event)

    checkpoints = Checkpoints(folder)
    settings = SamplerConfig(sweeps=sweeps, burn_in=BURN_IN, tolerance=tolerance)
    run_chain(
        prepared.parts["train"], prepared.parts["valid"], [], 3, settings, 0, checkpoints,
        interrupt=interrupt, listen=note,
    )  # fmt: skip
    return read_chain(checkpoints), seen


def test_it_ends_where_the_validation_rows_gain_little(prepared, tmp_path):
    means, seen = run(prepared, tmp_path / "a", tolerance=0.5)
    assert means.num_sweeps == len(seen) == BURN_IN + (LOOKS + 1) * SWEEPS_BETWEEN
    assert seen[BURN_IN + SWEEPS_BETWEEN - 2].logloss is None
    assert seen[BURN_IN + SWEEPS_BETWEEN - 1].logloss is not None


def test_without_a_tolerance_all_sweeps_are_done(prepared, tmp_path):
    means, _ = run(prepared, tmp_path / "a", tolerance=0.0, sweeps=80)
    assert means.num_sweeps == 80


def test_the_loss_that_is_told_is_that_of_the_mean(prepared, tmp_path):
    means, seen = run(prepared, tmp_path / "a", tolerance=0.0, sweeps=BURN_IN + SWEEPS_BETWEEN)
    valid = prepared.parts["valid"]
    rows = valid.gather(np.arange(valid.num_examples))
    layout = valid.layout
    bag = rows.batch.offsets
    weights = 1.0 * means.sampled
    z = np.full(valid.num_examples, means.sampled_bias)
    sums, squares = np.zeros((2, valid.num_examples, 3))
    for field in range(layout.num_fields):
        own = np.zeros((valid.num_examples, 4))
        if layout.bag[field] >= 0:
            at = bag[layout.bag[field]]
            for example in range(valid.num_examples):
                for i in range(at[example], at[example + 1]):
                    own[example] += rows.batch.bag_weights[i] * weights[layout.base[field] + rows.batch.bag_ids[i]]
        else:
            own = weights[layout.base[field] + rows.batch.ids[layout.single[field]]]
            if layout.value[field] >= 0:
                own = own * rows.batch.values[layout.value[field]][:, None]
        z += own[:, 0]
        sums += own[:, 1:]
        squares += own[:, 1:] ** 2
    z += 0.5 * (sums**2 - squares).sum(axis=1)
    expected = log_loss(rows.labels, 1.0 / (1.0 + np.exp(-1.6 * z)))
    assert seen[-1].logloss == pytest.approx(expected, rel=1e-5)


def test_a_chain_that_was_stopped_ends_at_the_same_sweep(prepared, tmp_path):
    whole, seen = run(prepared, tmp_path / "whole", tolerance=0.5)
    interrupt = Interrupt()

    def stop(event):
        interrupt.requested = event.sweep == BURN_IN + 3 * SWEEPS_BETWEEN + 2

    with pytest.raises(Interrupted):
        run(prepared, tmp_path / "stopped", 0.5, interrupt=interrupt, listen=stop)
    rest, more = run(prepared, tmp_path / "stopped", 0.5)
    assert (rest.sampled == whole.sampled).all()
    assert rest.num_sweeps == whole.num_sweeps
    assert more[-1].logloss == seen[-1].logloss
    _, none = run(prepared, tmp_path / "stopped", 0.5)
    assert not none


@pytest.mark.parametrize(
    ("losses", "tolerance", "settled"),
    [
        ([], 0.1, False),
        ([0.3] * LOOKS, 0.1, False),
        ([0.3] * (LOOKS + 1), 0.1, True),
        ([0.3] * (LOOKS + 1), 0.0, False),
        ([9.0, 0.300, 0.299, 0.298, 0.297, 0.296], 0.01, False),
        ([9.0, 0.300, 0.299, 0.299, 0.299, 0.298], 0.01, True),
        ([0.300, 0.310, 0.310, 0.310, 0.310], 0.001, True),
    ],
)
def test_what_settled_means(losses, tolerance, settled):
    assert has_settled(losses, tolerance) is settled
