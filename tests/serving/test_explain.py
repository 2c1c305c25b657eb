"""What each field adds to a logit: it adds up, the exact parts are Shapley values, the deep part is an integral."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.reference.integrated_gradients import mean_gradient
from tests.serving.bundles import rows_of, save

import fieldwise as fw
from fieldwise.nn.cross import Cross
from fieldwise.nn.deep import Perceptron, Residual
from fieldwise.serving.explain import _mean_gradients
from fieldwise.serving.gradients import deep_part
from fieldwise.serving.predictor import Predictor

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)  # of matplotlib, for its plots
    import shap

VARIANTS = {
    "lr": {"kind": "lr"},
    "dnn": {"kind": "dnn"},
    "lc-dnn": {},
    "one unit": {"units": 1},
    "one head": {"auxiliary_loss": False, "skip": False, "standardise": False},
    "with bags": {"with_bags": True},
    "wide": {"kind": "lc-wide-deep", "linear_fields": (1,)},
    "residual": {"kind": "lc-resnet", "activation": "silu"},
    "cross": {"deep": "cross", "activation": "gelu"},
    "no deep part": {"deep": "none"},
    "bayesian": {"kind": "bayesian-fm", "factors": 3},
    "stack": {"kind": "lc-dnn+bayesian-fm+lr", "factors": 3, "with_bags": True},
    "two of a kind": {"kind": "lc-dnn+lc-dnn+lc-resnet+bayesian-fm", "factors": 3},
    "bfloat16 rows": {"narrow": True},
}
EXACT = ("lr", "no deep part", "bayesian")


@pytest.mark.parametrize("name", VARIANTS)
def test_contributions_add_up_to_the_logit_and_nothing_is_shared_out(tmp_path, name):
    predictor = Predictor(save(tmp_path / "bundle", **VARIANTS[name]))
    rows = pa.table(rows_of(20))
    found = predictor.explain(rows)
    assert found.contributions.shape == (20, 7)
    assert found.fields == ("user", "item", "price", "age", "tags", "both")
    batch = predictor.encode_columns(rows.to_pydict())
    logits = predictor._network.logits(*predictor._network.gathered(batch))[:, 0]
    np.testing.assert_allclose(found.logits, logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.contributions.sum(axis=1) + found.residuals, logits, rtol=0, atol=1e-5)
    assert np.abs(found.residuals).max() <= (1e-9 if name in EXACT else 1e-3)
    assert np.ptp(found.contributions[:, -1]) == 0
    assert np.abs(found.contributions[:, :-1]).max() > 0.01
    assert predictor.explain([]).contributions.shape == (0, 7)
    np.testing.assert_allclose(predictor.explain(rows.slice(3, 1)).contributions, found.contributions[3:4], atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_exact_parts_are_the_shapley_values_of_an_independent_implementation(tmp_path, name):
    predictor = Predictor(save(tmp_path / "bundle", dtype="float64", **VARIANTS[name]))
    network = predictor._network
    rows = pa.table(rows_of(3))
    found = predictor.explain(rows)
    encoder, table = predictor.bundle.encoder, predictor.bundle.table
    base = np.zeros((6, table.shape[1]))
    for field, (begin, end) in enumerate(zip(encoder.layout.base, encoder.layout.base[1:], strict=False)):
        counts = encoder.counts[begin:end].astype(float)
        if field == 2:  # a standardised number, whose mean is 0
            base[field] = counts[0] * table[begin] / counts.sum()
        else:
            base[field] = counts @ table[begin:end] / counts.sum()
    of_rows = network.by_field(predictor.encode_columns(rows.to_pydict()))

    def logits(present, row):
        mixed = np.where(np.asarray(present, dtype=bool)[:, :, None], of_rows[row], base)
        units = np.ascontiguousarray(mixed[:, :, : network.num_local])
        return network.logits(units, mixed[:, :, network.num_local :].sum(axis=1))[:, 0]

    for row in range(3):
        explainer = shap.explainers.Exact(lambda present, row=row: logits(present, row), np.zeros((1, 6)))
        told = explainer(np.ones((1, 6)))
        np.testing.assert_allclose(found.contributions[row, :-1], told.values[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.contributions[row, -1], told.base_values[0], rtol=0, atol=1e-6)


def _part(kind, activation, hidden=(4, 3)):
    """Return a module with random weights, and the same deep part."""
    module = kind(5, hidden, 1, activation, 0.5).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    arrays = {f"net.{name}": tensor.numpy() for name, tensor in module.state_dict().items()}
    return module, deep_part(arrays, "net.", activation)


def _random(*shape, seed=2):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "sigmoid"])
@pytest.mark.parametrize("kind", [Perceptron, Residual, Cross])
def test_gradients_are_those_of_torch(kind, activation):
    module, part = _part(kind, activation)
    x = _random(9, 5).requires_grad_()
    expected = module(x)
    expected.sum().backward()
    points = x.detach().numpy()
    start, along = part.line(points[0], points - points[0])
    value, gradient = part.rest(start + along)
    np.testing.assert_allclose(value, expected.detach()[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(part.back(gradient()), x.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "activation", "hidden"),
    [
        (Perceptron, "relu", (4, 3)),
        (Perceptron, "silu", ()),
        (Residual, "tanh", (6, 6)),
        (Cross, "gelu", (4, 3)),
    ],
)
def test_mean_gradients_of_many_lines_are_those_of_each_line_point_by_point(kind, activation, hidden):
    module, part = _part(kind, activation, hidden)
    start, moves = _random(5), 0.3 * _random(4, 5, seed=3)
    moves[2] = 0
    expected = [mean_gradient(lambda x: module(x)[:, 0], start, move).numpy() for move in moves]
    of_first, along = part.line(start.numpy(), moves.numpy())
    found = part.back(_mean_gradients(part, of_first, along))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_a_part_of_ones_own_and_more_classes_are_refused_by_name(tmp_path):
    assert deep_part({"net.gate.weight": np.zeros((1, 1))}, "net.", "relu") is None
    predictor = Predictor(save(tmp_path / "bundle", num_classes=3))
    with pytest.raises(fw.ConfigError, match="two classes"):
        predictor.explain(rows_of(3))
