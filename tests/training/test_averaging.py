"""The average of the weights: the mean at first, exponential later; applied and taken back; saved and restored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import make_layout

from fieldwise.errors import ResourceError
from fieldwise.kernels.storage import decode_weights, encode_weights
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.averaging import Average


def make():
    model = build_model(ModelConfig(units=2, hidden=(3,)), make_layout(["single", "bag"], [5, 9]), 2, 0, torch.float64)
    model.table.train_by(TableOptimizerConfig())
    return model


def shake(model, rng):
    """Give every weight and statistic another value, and return them all in one line."""
    model.table.weights[:] = rng.normal(size=model.table.weights.shape)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(rng.normal(size=tuple(tensor.shape))))
    return flat(model)


def flat(model):
    dense = [tensor.detach().numpy().ravel() for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return np.concatenate([model.table.weights.ravel(), *dense])


@pytest.mark.parametrize(
    ("epochs", "batches_per_epoch", "every", "least"), [(1.0, 40, 4, 0.1), (2.0, 40, 4, 0.05), (0.5, 7, 1, 2 / 7)]
)
def test_the_average_is_a_mean_that_turns_exponential(epochs, batches_per_epoch, every, least):
    model, rng = make(), np.random.default_rng(0)
    average, expected, num_snapshots = Average(model, epochs, batches_per_epoch), 0.0, 0
    for step in range(1, 3 * batches_per_epoch + 1):
        weights = shake(model, rng)
        average.after(step)
        if step % every == 0:
            num_snapshots += 1
            share = max(1 / num_snapshots, least)
            expected = (1 - share) * expected + share * weights
    own = flat(model)
    with average.applied():
        assert flat(model) == pytest.approx(expected, abs=1e-12)
    assert (flat(model) == own).all()


def test_an_average_that_looks_back_on_less_than_a_snapshot_is_the_last_one():
    model, rng = make(), np.random.default_rng(0)
    average = Average(model, 0.001, 100)
    for step in range(1, 31):
        last = shake(model, rng)
        average.after(step)
    with average.applied():
        assert flat(model) == pytest.approx(last, abs=1e-12)


def test_before_the_first_snapshot_the_model_keeps_its_weights():
    model = make()
    own = shake(model, np.random.default_rng(0))
    with Average(model, 1.0, 100).applied():
        assert (flat(model) == own).all()


def test_weights_come_back_where_validation_fails():
    model, rng = make(), np.random.default_rng(0)
    average = Average(model, 1.0, 10)
    shake(model, rng)
    average.after(1)
    own = shake(model, rng)
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError
    assert (flat(model) == own).all()


def test_an_average_that_was_saved_goes_on_as_if_nothing_had_happened():
    values = np.random.default_rng(0)
    model = make()
    average = Average(model, 0.5, 20)
    for step in range(1, 31):
        shake(model, values)
        average.after(step)
    rows = model.table.rows.copy()
    joined = np.concatenate(list(average.beside(model.table.rows).parts))
    saved = {name: array.copy() for name, array in average.arrays().items()}
    other = make()
    shake(other, np.random.default_rng(9))
    resumed = Average(other, 0.5, 20)
    assert (resumed.restore(other.table.rows, joined, saved) == rows).all()
    rest = [np.random.default_rng(5), np.random.default_rng(5)]
    for step in range(31, 41):
        for one, its_average, rng in ((model, average, rest[0]), (other, resumed, rest[1])):
            shake(one, rng)
            its_average.after(step)
    with average.applied(), resumed.applied():
        assert (flat(model) == flat(other)).all()


def test_what_cannot_be_is_refused(monkeypatch):
    model = make()
    with pytest.raises(ValueError, match=r"epochs \(=0\) must be above 0"):
        Average(model, 0, 10)
    monkeypatch.setattr("fieldwise.io.memory.available_bytes", lambda: 10, raising=True)
    with pytest.raises(ResourceError, match="average of the table's weights"):
        Average(model, 1.0, 10)


def test_weights_stored_as_bfloat16_are_averaged_in_float32_and_come_back_as_they_were():
    model = build_model(ModelConfig(units=2, hidden=(3,)), make_layout(["single", "bag"], [5, 9]), 2)
    model.table.train_by(TableOptimizerConfig(storage="bfloat16"))
    rng, average, sum_of_weights = np.random.default_rng(0), Average(model, 1.0, 10), 0.0
    for step in range(1, 6):
        for unit in range(2):
            encode_weights(model.table.weights, unit, rng.normal(size=14))
        sum_of_weights += decode_weights(model.table.weights).astype(float)
        average.after(step)
    own = model.table.weights.copy()
    with average.applied():
        assert decode_weights(model.table.weights) == pytest.approx(sum_of_weights / 5, rel=2**-8, abs=1e-6)
    assert (model.table.weights == own).all()
