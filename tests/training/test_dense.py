"""The optimizers of the dense part: torch's own, with rates by width."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.dense import DenseOptimizer, NumberOptimizer, build_dense_optimizer


def rates(config, model):
    groups = build_dense_optimizer(model.parameters(), config).torch.param_groups
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    return [of[id(parameter)]["lr"] for parameter in model.parameters()]


MODEL = nn.Sequential(nn.Linear(158, 2048), nn.Linear(2048, 1024), nn.Linear(1024, 1))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_matrix_with_many_inputs_moves_by_less(name):
    found = rates(DenseOptimizerConfig(name=name, learning_rate=1e-3), MODEL)
    assert found == pytest.approx([1e-3, 1e-3, 1e-3 / 8, 1e-3, 1e-3 / 4, 1e-3])


@pytest.mark.parametrize("name", ["adagrad", "sgd"])
def test_other_rules_have_one_rate(name):
    assert set(rates(DenseOptimizerConfig(name=name, learning_rate=0.1), MODEL)) == {0.1}


def test_weight_decay_is_for_matrices_alone():
    optimizer = build_dense_optimizer(MODEL.parameters(), DenseOptimizerConfig(weight_decay=0.1))
    for group in optimizer.torch.param_groups:
        assert all((group["weight_decay"] == 0.1) == (parameter.dim() > 1) for parameter in group["params"])


def test_a_matrix_moves_as_torch_moves_it_at_that_rate():
    torch.manual_seed(0)
    ours, peer = nn.Linear(512, 3, bias=False), nn.Linear(512, 3, bias=False)
    peer.load_state_dict(ours.state_dict())
    optimizer = build_dense_optimizer(ours.parameters(), DenseOptimizerConfig(learning_rate=1e-2))
    reference = torch.optim.AdamW(peer.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(5):
        inputs = torch.randn(8, 512)
        reference.zero_grad()
        for layer in (ours, peer):
            layer(inputs).square().sum().backward()
        optimizer.step([ours.weight.grad], 1.0)
        reference.step()
    torch.testing.assert_close(ours.weight, peer.weight)


def test_of_nothing_to_move_nothing_moves_and_nothing_is_kept():
    optimizer = build_dense_optimizer([], DenseOptimizerConfig())
    optimizer.step([], 1.0)
    assert optimizer.arrays() == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad"])
def test_a_single_number_moves_as_torch_moves_it_and_goes_on_from_its_state(name, dtype):
    config = DenseOptimizerConfig(name=name, learning_rate=0.03)
    ours, peer, again = (nn.Parameter(torch.tensor([0.7], dtype=dtype)) for _ in range(3))
    optimizer, reference = build_dense_optimizer([ours], config), DenseOptimizer([peer], config)
    assert type(optimizer) is NumberOptimizer
    for step in range(12):
        if step == 5:
            resumed = build_dense_optimizer([again], config)
            resumed.restore(reference.arrays())
            again.data.copy_(ours.data)
        gradient, factor = torch.tensor([math.sin(step) * 10 ** (step % 4 - 2)], dtype=dtype), 1.0 - step / 20
        optimizer.step([gradient], factor)
        reference.step([gradient], factor)
        if step >= 5:
            resumed.step([gradient], factor)
            torch.testing.assert_close(again, peer)
        torch.testing.assert_close(ours, peer)
    found, expected = optimizer.arrays(), reference.arrays()
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert found[key].shape == array.shape
        assert found[key] == pytest.approx(array, rel=1e-5)


_STEPS = """
import sys
import torch
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.dense import build_dense_optimizer
for name in ("adam", "adamw", "adagrad", "sgd"):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = build_dense_optimizer([weight], DenseOptimizerConfig(name=name))
    optimizer.step([torch.ones(3, 2)], 1.0)
    assert (weight < 1).all()
    assert weight.grad is None
    optimizer.restore(optimizer.arrays())
print("torch._dynamo" in sys.modules)
"""


def test_steps_do_not_import_the_compiler_of_torch():
    done = subprocess.run([sys.executable, "-c", _STEPS], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
