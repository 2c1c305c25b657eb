"""What is read of the units, in one: what the equations say, what the modules one by one say, on any threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import units as reference
from torch import nn

from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.nn.dropout import Dropout
from fieldwise.nn.standardise import Standardise
from fieldwise.nn.units import UnitColumns, read_units

NUM_FIELDS, EACH = 5, 6
EVERYTHING = np.arange(NUM_FIELDS * EACH)
SOME = np.array([0, 3, 4, 13, 20, 29])


@pytest.fixture(autouse=True)
def threads():
    """Leave the threads of the kernels as they were."""
    before = num_threads()
    yield
    set_num_threads(before)


def drawn(num_examples, dtype=torch.float64, seed=0):
    """Return units of different means and scales, and one that never changes."""
    generator = torch.Generator().manual_seed(seed)
    units = torch.randn(num_examples, NUM_FIELDS * EACH, generator=generator, dtype=torch.float64)
    units = units * torch.logspace(-2, 1, NUM_FIELDS * EACH) + torch.linspace(-2, 2, NUM_FIELDS * EACH)
    units[:, 4] = 1.5
    return units.to(dtype).requires_grad_()


def learnt(units, reading, num_inputs, p=0.0, standardise=None):
    """Return what is read, its gradient for random ones behind it, and the statistics."""
    standardise = standardise or Standardise(num_inputs).to(units.dtype)
    torch.manual_seed(7)
    skip, x = read_units(units, reading, standardise, p)
    of_skip, of_x = torch.randn(len(units), dtype=units.dtype), torch.randn(len(units), num_inputs, dtype=units.dtype)
    torch.autograd.backward([skip, x], [of_skip, of_x])
    return skip.detach(), x.detach(), units.grad, standardise, of_skip.numpy(), of_x.numpy()


@pytest.mark.parametrize("num_examples", [2, 3, 256, 700])
@pytest.mark.parametrize("columns", [None, SOME], ids=["all", "some"])
@pytest.mark.parametrize("skip", [None, (1, EACH)], ids=["no skip", "skip"])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_it_is_its_equations(num_examples, columns, skip, p):
    units = drawn(num_examples)
    at = EVERYTHING if columns is None else columns
    moves = np.arange(len(at)) % 3 > 0
    read_skip, x, gradient, standardise, of_skip, of_x = learnt(units, UnitColumns(skip, columns, moves), len(at), p)
    numbers = units.detach().numpy()
    of_all, everything, mean, variance = reference.read(numbers, skip, at, np.ones(x.shape))
    np.testing.assert_allclose(read_skip.numpy(), of_all, rtol=1e-12, atol=1e-12)
    factors = np.where((x.numpy() == 0) & (everything != 0), 0.0, 1 / (1 - p))
    np.testing.assert_allclose(x.numpy(), everything * factors, rtol=1e-7, atol=1e-7)
    assert num_examples < 200 or abs((factors == 0).mean() - p) < 0.1
    # Of the unit that never changes dropout's zeros are not to be told from its own.
    told = np.ones(numbers.shape[1], dtype=np.bool_) if p == 0 else numbers.std(axis=0) > 0
    wanted = reference.gradient(numbers, skip, at, factors, moves, of_skip, of_x)
    np.testing.assert_allclose(gradient.numpy()[:, told], wanted[:, told], rtol=1e-7, atol=1e-7)
    seen = variance * num_examples / (num_examples - 1)
    np.testing.assert_allclose(standardise.running_mean.numpy(), 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(standardise.running_var.numpy(), 0.9 + 0.1 * seen, rtol=1e-7)


@pytest.mark.parametrize("p", [0.0, 0.25])
def test_it_is_what_the_modules_say_one_by_one(p):
    units, num = drawn(600, torch.float32), NUM_FIELDS * EACH
    reading = UnitColumns((0, EACH), None, np.ones(num, dtype=np.bool_))
    skip, x, gradient, standardise, of_skip, of_x = learnt(units, reading, num, p)
    plain, dropout = nn.BatchNorm1d(num, affine=False), Dropout(p)
    again = units.detach().clone().requires_grad_()
    torch.manual_seed(7)
    wanted = again[:, ::EACH].sum(dim=1), dropout(plain(again))
    torch.autograd.backward(wanted, [torch.from_numpy(of_skip), torch.from_numpy(of_x)])
    torch.testing.assert_close((skip, x), tuple(each.detach() for each in wanted), rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(gradient, again.grad, rtol=1e-3, atol=2e-3)
    for name, found in standardise.state_dict().items():
        torch.testing.assert_close(found, plain.state_dict()[name], rtol=1e-5, atol=1e-5)


def test_the_number_of_threads_changes_no_bit():
    reading, found = UnitColumns((1, EACH), SOME, np.ones(len(SOME), dtype=np.bool_)), []
    for count in (1, 2, 3):
        set_num_threads(count)
        found.append(learnt(drawn(1000, torch.float32), reading, len(SOME), 0.2)[:3])
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("num_examples", [0, 1])
def test_without_two_examples_what_was_seen_before_standardises(num_examples):
    standardise = Standardise(len(SOME)).double()
    standardise.running_mean += 3
    standardise.running_var += 1
    before = {name: tensor.clone() for name, tensor in standardise.state_dict().items()}
    units, moves = drawn(num_examples), np.ones(len(SOME), dtype=np.bool_)
    _, x, gradient, _, _, of_x = learnt(units, UnitColumns(None, SOME, moves), len(SOME), standardise=standardise)
    scale = 1 / np.sqrt(2 + 1e-5)
    np.testing.assert_allclose(x.numpy(), (units.detach().numpy()[:, SOME] - 3) * scale)
    np.testing.assert_allclose(gradient.numpy()[:, SOME], of_x * scale)
    assert all(torch.equal(before[name], tensor) for name, tensor in standardise.state_dict().items())


def test_what_is_no_number_goes_on():
    units = drawn(50)
    with torch.no_grad():
        units[3, 7] = float("nan")
    _, x, gradient, *_ = learnt(units, UnitColumns(None, None, np.ones(units.shape[1], dtype=np.bool_)), units.shape[1])
    assert x[:, 7].isnan().all()
    assert gradient[:, 7].isnan().all()
    assert x[:, 8].isfinite().all()
