"""Every deep part is what its equation says, starts at nothing, and can be named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import deep as reference
from torch import nn

from fieldwise.errors import ConfigError
from fieldwise.models import registry
from fieldwise.nn.cross import Cross, CrossLayers
from fieldwise.nn.deep import Perceptron
from fieldwise.nn.fm_interactions import FMInteractions

NUM_INPUTS, HIDDEN = 6, (8, 4)


def shaken(module, seed=0):
    """Return the module with random weights in float64, and these by name."""
    module = module.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.6)
    return module, {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}


def examples(width=NUM_INPUTS, num=7):
    return np.random.default_rng(3).normal(size=(num, width))


def check(module, x, expected):
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), np.array(expected), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_a_perceptron_is_its_equation(num_outputs):
    module, weights = shaken(Perceptron(NUM_INPUTS, HIDDEN, num_outputs, "tanh"))
    x = examples()
    check(module, x, [reference.perceptron(weights, "", row, [0, 2, 4]) for row in x])


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_a_cross_network_is_its_equation(num_outputs):
    module, weights = shaken(Cross(NUM_INPUTS, HIDDEN, num_outputs, "tanh"))
    x = examples()
    check(module, x, [reference.cross(weights, row, [0, 2, 4]) for row in x])


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("num_fields", [2, 5])
def test_pairs_are_their_equation(num_outputs, num_fields):
    units = np.random.default_rng(0).normal(size=(7, num_fields, 3))
    ones = np.ones((num_outputs, num_fields * (num_fields - 1) // 2))
    check(FMInteractions(num_fields, num_outputs).double(), units, [reference.pairs(ones, row) for row in units])


def test_pairs_that_are_left_out_count_for_nothing():
    units = np.random.default_rng(0).normal(size=(7, 4, 3))
    module, weight = FMInteractions(4, 2).double(), np.ones((2, 6))
    module.leave_out([(0, 2), (2, 3)])
    weight[:, [1, 5]] = 0
    check(module, units, [reference.pairs(weight, row) for row in units])
    restored = FMInteractions(4, 2).double()
    restored.load_state_dict(module.state_dict())
    check(restored, units, [reference.pairs(weight, row) for row in units])
    module.leave_out([])
    check(module, units, [reference.pairs(np.ones((2, 6)), row) for row in units])


@pytest.mark.parametrize("name", ["perceptron", "residual", "cross"])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_every_part_starts_at_nothing_and_can_leave_it(name, num_outputs):
    part = build(name, NUM_INPUTS, num_outputs)
    output = part(torch.randn(5, NUM_INPUTS))
    assert output.shape == (5, num_outputs)
    assert (output == 0).all()
    output.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in part.parameters())


def build(name, num_inputs=4, num_outputs=1, hidden=(8, 4)):
    return registry.build_deep(name, num_inputs, hidden, num_outputs, "relu", 0.0)


def test_a_part_without_layers_or_an_unknown_one_is_refused():
    with pytest.raises(ConfigError, match=r"did you mean residual\?"):
        build("residal")
    with pytest.raises(ConfigError, match=r"one block or more"):
        build("residual", hidden=())
    with pytest.raises(ValueError, match=r"num_layers \(=0\)"):
        CrossLayers(4, num_layers=0)
    assert build("none") is None


def test_a_part_of_ones_own_has_a_name(monkeypatch):
    monkeypatch.setattr(registry, "_DEEP", dict(registry._DEEP))

    def mine(num_inputs, hidden, num_outputs, activation, dropout):
        return nn.Linear(num_inputs, num_outputs)

    registry.register_deep("mine", mine)
    registry.register_deep("mine", mine)
    assert isinstance(build("mine"), nn.Linear)
    for name in ("cross", "none", "my part"):
        with pytest.raises(ConfigError, match=r"is taken|invalid name"):
            registry.register_deep(name, mine)
