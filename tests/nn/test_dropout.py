"""Dropout: what is silenced, what is learnt through it, and one result for any number of threads."""

from __future__ import annotations

import pytest
import torch

from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.nn.dropout import Dropout


@pytest.fixture(autouse=True)
def threads():
    """Leave the threads of the kernels as they were."""
    before = num_threads()
    yield
    set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_share_is_silenced_and_the_rest_grows_so_that_the_mean_stays(dtype):
    torch.manual_seed(0)
    x = torch.ones(300, 700, dtype=dtype, requires_grad=True)
    y = Dropout(0.25)(x)
    assert y.dtype == dtype
    assert abs((y == 0).double().mean().item() - 0.25) < 0.005
    assert y[y != 0].unique().tolist() == [torch.tensor(4 / 3, dtype=dtype).item()]
    y.backward(torch.full_like(y, 2.0))
    torch.testing.assert_close(x.grad, 2 * y.detach())


def test_evaluation_and_no_dropout_change_nothing():
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_torchs_seed_decides_and_the_number_of_threads_does_not():
    x, seen = torch.randn(500, 400), []
    for seed, count in [(1, 1), (1, 2), (1, 3), (2, 1)]:
        set_num_threads(count)
        torch.manual_seed(seed)
        layer = Dropout(0.5)
        seen.append([layer(x), layer(x)])
    assert all(torch.equal(a, b) for other in seen[1:3] for a, b in zip(seen[0], other, strict=True))
    assert not torch.equal(*seen[0])
    assert not torch.equal(seen[0][0], seen[3][0])


def test_an_input_without_examples_and_one_of_more_axes_pass():
    assert Dropout(0.5)(torch.empty(0, 3)).shape == (0, 3)
    assert Dropout(0.5)(torch.ones(4, 6, 2)[:, ::2]).shape == (4, 3, 2)
