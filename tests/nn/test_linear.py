"""The fully connected layer: its function, its gradients, and one result for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import linear as reference
from torch import nn

from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.nn.deep import ACTIVATIONS, Perceptron, Residual
from fieldwise.nn.linear import Linear, owns_products

NAMES = [None, *ACTIVATIONS]
SHAPES = [(0, 3, 2), (1, 5, 1), (513, 7, 300), (1100, 300, 65)]


@pytest.fixture(autouse=True)
def threads():
    """Leave the threads of the kernels and of torch as they were."""
    before = num_threads(), torch.get_num_threads()
    yield
    set_num_threads(before[0])
    torch.set_num_threads(before[1])


def make(shape, dtype=torch.float64, bias=True, reduced=True):
    num_examples, num_inputs, num_outputs = shape
    torch.manual_seed(num_examples)
    layer = Linear(num_inputs, num_outputs, bias, reduced=reduced).to(dtype)
    x = torch.randn(num_examples, num_inputs, dtype=dtype, requires_grad=True)
    return layer, x, torch.randn(num_examples, num_outputs, dtype=dtype)


def run(layer, x, dy, name):
    """Return y, dx, dW and db as arrays."""
    y = layer(x, None if name is None else ACTIVATIONS[name]())
    y.backward(dy.to(y.dtype))
    gradients = [x.grad, layer.weight.grad] + ([] if layer.bias is None else [layer.bias.grad])
    x.grad = None
    layer.zero_grad()
    return [part.detach().float().numpy() if part.dtype == torch.bfloat16 else part.detach().numpy()
            for part in (y, *gradients)]  # fmt: skip


def expected(layer, x, dy, name):
    arrays = [part.detach().double().numpy() for part in (x, layer.weight, layer.bias)]
    return [reference.forward(*arrays, name), *reference.backward(*arrays, name, dy.double().numpy())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_values_and_gradients_are_those_of_the_twin(name, shape, dtype, tolerance):
    layer, x, dy = make(shape, dtype)
    for found, wanted in zip(run(layer, x, dy, name), expected(layer, x, dy, name), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_in_bfloat16_are_near_those_of_the_twin(name):
    layer, x, dy = make((1100, 300, 65), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        found = run(layer, x, dy, name)
    for ours, wanted in zip(found, expected(layer, x, dy, name), strict=True):
        # On the mean: a unit of relu next to zero may be on in one and off in the other.
        assert np.sqrt(np.mean((ours - wanted) ** 2)) < 0.05 * np.sqrt(np.mean(wanted**2))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name):
    layer, x, _ = make((4, 3, 2))
    activation = None if name is None else ACTIVATIONS[name]()
    torch.autograd.gradcheck(lambda x, *_: layer(x, activation), (x, *layer.parameters()))


@pytest.mark.parametrize("kind", ["perceptron", "residual"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_a_deep_part_says_what_plain_torch_says_of_its_weights(kind, activation):
    torch.manual_seed(3)
    x = torch.randn(600, 20, dtype=torch.float64)
    if kind == "perceptron":
        ours = Perceptron(20, [30, 10], 2, activation).double()
        plain = nn.Sequential(*(nn.Linear(layer.in_features, layer.out_features).double()
                                if isinstance(layer, Linear) else layer for layer in ours))  # fmt: skip
    else:
        ours = Residual(20, [30, 10], 2, activation).double()
        plain = PlainResidual(20, [30, 10], 2, activation).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    plain.load_state_dict(ours.state_dict())
    for module in (ours, plain):
        module(x).square().sum().backward()
    torch.testing.assert_close(ours(x), plain(x))
    for own, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


class PlainResidual(nn.Module):
    def __init__(self, num_inputs, hidden, num_outputs, activation):
        super().__init__()
        self.trunk = nn.Linear(num_inputs, hidden[0])
        self.blocks = nn.Sequential(*(nn.Module() for _ in hidden))
        for block, inner in zip(self.blocks, hidden, strict=True):
            block.expand, block.contract = nn.Linear(hidden[0], inner), nn.Linear(inner, hidden[0])
        self.g = ACTIVATIONS[activation]()
        self.output = nn.Linear(hidden[0], num_outputs)

    def forward(self, x):
        x = self.trunk(x)
        for block in self.blocks:
            x = x + block.contract(self.g(block.expand(self.g(x))))
        return self.output(self.g(x))


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(1100, 300, 65), (2048, 158, 600), (513, 600, 1)])
def test_every_number_of_threads_gives_the_same_bits(precision, shape):
    dtype = torch.float64 if precision == "float64" else torch.float32
    layer, x, dy = make(shape, dtype)
    results = []
    for ours, torchs in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (2, 1)]:
        set_num_threads(ours)
        torch.set_num_threads(torchs)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            results.append([part.tobytes() for part in run(layer, x, dy, "relu")])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("torchs", [1, 2])
def test_prediction_says_what_training_said_bit_for_bit(torchs):
    torch.set_num_threads(torchs)
    layer, x, _ = make((1100, 30, 20), torch.float32)
    with torch.inference_mode():
        alone = layer(x.clone(), ACTIVATIONS["gelu"]())
    assert torch.equal(alone, layer(x, ACTIVATIONS["gelu"]()))
    assert not alone.requires_grad


def test_a_layer_without_bias_and_an_input_of_more_axes_are_those_of_torch():
    layer, _, _ = make((1, 6, 4), bias=False)
    plain = nn.Linear(6, 4, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(3, 5, 12, dtype=torch.float64)[:, :, ::2]
    torch.testing.assert_close(layer(x), plain(x))


def test_a_layer_that_ends_in_the_logit_keeps_its_precision_under_autocast():
    layer, x, dy = make((700, 200, 1), torch.float32, reduced=False)
    half = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(half)
    assert y.dtype == torch.float32
    wanted = half.detach().double() @ layer.weight.detach().double().t() + layer.bias.detach().double()
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    y.backward(dy)
    assert half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(
        layer.weight.grad.double(), dy.double().t() @ half.detach().double(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("num_outputs", [1, 30])
def test_a_chain_of_layers_is_its_layers_one_by_one(num_outputs, reduced):
    torch.manual_seed(0)
    network, x = Perceptron(20, [300, 70], num_outputs, "relu"), torch.randn(1100, 20, requires_grad=True)
    nn.init.normal_(network[-1].weight, std=0.1)
    dy, found = torch.randn(1100, num_outputs), []
    for one_by_one in (False, True):
        network.zero_grad()
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            y = x
            for layer in network if one_by_one else [network]:
                y = layer(y)
        y.backward(dy)
        found.append([y, x.grad, *(parameter.grad for parameter in network.parameters())])
    tolerance = 3e-2 if reduced else 1e-5
    for together, apart in zip(*found, strict=True):
        assert together.dtype == apart.dtype
        assert (together - apart).norm() <= tolerance * apart.norm()


def test_the_upper_layers_of_a_chain_learn_alone_where_the_lower_ones_are_frozen():
    network, x = Perceptron(6, [5, 4], 1), torch.randn(40, 6)
    nn.init.normal_(network[-1].weight)
    network(x).sum().backward()
    wanted = network[2].weight.grad
    network.zero_grad()
    network[0].requires_grad_(False)
    network(x).sum().backward()
    assert network[0].weight.grad is None
    assert network[0].bias.grad is None
    assert torch.equal(network[2].weight.grad, wanted)


def test_only_gradients_that_are_asked_for_are_taken():
    layer, x, dy = make((20, 3, 2))
    layer.weight.requires_grad_(False)
    layer(x.detach()).backward(dy)
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, dy.sum(dim=0))


def test_an_exported_network_is_plain_torch():
    network, x = Perceptron(5, [4], 1), torch.randn(3, 5)
    nn.init.normal_(network[-1].weight)
    exported = torch.export.export(network.eval(), (x,))
    assert not any("_Chain" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x), network(x))


def test_an_input_of_another_width_is_refused_with_both():
    with pytest.raises(ValueError, match="x has 4 columns, the layer takes 3"):
        Linear(3, 2)(torch.zeros(1, 4))


def test_a_network_with_a_matrix_of_its_own_is_known():
    assert owns_products(Perceptron(5, [4], 1))
    assert owns_products(Residual(5, [4], 1))
    assert not owns_products(nn.Sequential(Perceptron(5, [4], 4), nn.Linear(4, 1)))


@pytest.mark.parametrize("name", NAMES)
def test_on_another_device_it_is_torchs_own_with_the_activation_after_it(name):
    layer, x, dy = make((9, 5, 4))
    wanted = expected(layer, x, dy, name)
    y = layer.plain(x)
    y = y if name is None else ACTIVATIONS[name]()(y)
    y.backward(dy)
    for found, of in zip((y.detach(), x.grad, layer.weight.grad, layer.bias.grad), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), of, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("reduced", [True, False])
def test_there_too_a_layer_that_ends_in_the_logit_stays_in_float32(reduced):
    layer, x, _ = make((9, 5, 4), torch.float32, reduced=reduced)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer.plain(x.to(torch.bfloat16))
    assert y.dtype == (torch.bfloat16 if reduced else torch.float32)
