"""The network that is saved beside a model answers as the model does, in another runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

import fieldwise as fw
from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.models import registry
from fieldwise.models.click import build_model
from fieldwise.models.config import LabelHead
from fieldwise.models.network import NotExportable, export_network, refuse_another_answer, refuse_other_logits
from fieldwise.nn.emit import emit_part
from fieldwise.nn.graph import Graph
from fieldwise.tables.config import TableOptimizerConfig

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 40]
LAYOUT = make_layout(FORMS, ROWS)


def batch_of(num_examples):
    return make_batch(FORMS, random_fields(np.random.default_rng(num_examples), FORMS, ROWS, num_examples))


def make(kind, *, num_classes=2, dtype=torch.float32, bags=(), left_out=(), **settings):
    config = fw.ModelConfig(kind=kind, **{"units": 4, "hidden": (6, 5), **settings})
    model = build_model(config, LAYOUT, num_classes, 0, dtype, bags)
    model.table.train_by(TableOptimizerConfig(name="adagrad", learning_rate=0.1))
    rng = np.random.default_rng(1)
    model.table.weights[:] = rng.normal(size=model.table.weights.shape) * 0.5
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and not name.endswith("mask"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    for member in model.members.values():
        if getattr(member, "interactions", None) is not None:
            member.interactions.leave_out(left_out)
    return model.eval()


def bags_of():
    batch = batch_of(60)
    users, items = batch.ids[0], batch.ids[2]
    return [
        Cooccurrence(0, 3, *collect([(users, items)], 7, 100)),
        Cooccurrence(3, 0, *collect([(items, users)], 40, 100)),
    ]


def probabilities(logits):
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def check(model, tolerance=1e-6):
    session = onnxruntime.InferenceSession(export_network(model), providers=["CPUExecutionProvider"])
    for size in (1, 7, 100, 0):
        augmented = model.augmented(batch_of(size)) if size else None
        with torch.inference_mode():
            if size:
                units, full = model.gathered(augmented)
            else:
                units, full = units[:0], full[:0]
            expected = probabilities(model.logits_of(units, full))
            if size:
                torch.testing.assert_close(expected, probabilities(model(batch_of(size))))
        given = {"units": units.numpy(), "full": full.numpy()}
        [found] = session.run(None, {each.name: given[each.name] for each in session.get_inputs()})
        assert found.dtype == expected.numpy().dtype
        np.testing.assert_allclose(probabilities(torch.from_numpy(found)), expected, rtol=0, atol=tolerance)


KINDS = ["lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"]


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_as_torch_does(kind, num_classes):
    check(make(kind, num_classes=num_classes))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_among_others_are_answered_as_torch_does(kind):
    labels = (LabelHead("click"), LabelHead("cart", 0), LabelHead("conversion", 1), LabelHead("late"))
    model = make(kind, labels=labels, units=8)
    assert model.num_outputs == 4
    check(model)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_activation_in_every_type(activation, dtype):
    for kind in ("dnn", "lc-resnet"):
        check(make(kind, activation=activation, dtype=dtype))


@pytest.mark.parametrize(
    "settings",
    [
        {"deep": "cross"},
        {"deep": "residual"},
        {"deep": "none"},
        {"deep": "none", "fm_interactions": False, "skip": False},
        {"units": 1, "fm_interactions": False},
        {"units": 1, "fm_interactions": False, "skip": False, "standardise": False},
        {"auxiliary_loss": False, "deep_units": 0},
        {"hidden": ()},
        {"dropout": 0.5},
        {"linear_fields": (1, 3)},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["lc-dnn", "lc-wide-deep"])
def test_every_setting_of_the_locally_connected_models(kind, settings):
    check(make(kind, **settings))


def test_pairs_that_are_left_out_are_left_out():
    check(make("lc-dnn", left_out=[(0, 1), (1, 3)]))


@pytest.mark.parametrize(
    "kind", ["bayesian-fm", "lc-dnn+bayesian-fm", "lc-wide-deep+bayesian-fm+lr", "lc-dnn+lc-dnn+dnn"]
)
def test_sampled_models_and_stacks(kind):
    check(make(kind, factors=3))


@pytest.mark.parametrize("kind", ["lc-dnn", "lc-dnn+bayesian-fm+lr"])
def test_co_occurrence_bags_are_fields_of_the_graph(kind):
    check(make(kind, bags=bags_of(), factors=3))


class Gated(torch.nn.Module):
    def __init__(self, num_inputs, hidden, num_outputs, activation, dropout):
        super().__init__()
        self.inner, self.gate = torch.nn.Linear(num_inputs, hidden[0]), torch.nn.Linear(num_inputs, hidden[0])
        self.output = torch.nn.Linear(hidden[0], num_outputs)

    def forward(self, x):
        return self.output(torch.sigmoid(self.gate(x)) * torch.relu(self.inner(x)))


class Sorted(Gated):
    """It takes eigenvalues, for which there is no operator."""

    def forward(self, x):
        return self.output(self.inner(x)) + torch.linalg.eigvalsh(x.T @ x).sum()


class Sized(Gated):
    """Traced with two examples, it holds a number that is right for two alone."""

    def forward(self, x):
        return self.output(self.inner(x)) + float(x.shape[0])


class Twice(fw.Member):
    """Logistic regression with a unit for each field and one for all."""

    def __init__(self, config, layout, num_outputs, num_bags=0):
        super().__init__()
        self.num_local, self.num_full = config.options["local"], config.options["full"]
        self.bias = torch.nn.Parameter(torch.zeros(num_outputs))

    def forward(self, units, full):
        return (self.bias + units.sum(dim=(1, 2)).unsqueeze(1) + full.sum(dim=1, keepdim=True)).unsqueeze(1)


@pytest.fixture
def registered(monkeypatch):
    for name, part in {"gated": Gated, "sorted": Sorted, "sized": Sized}.items():
        monkeypatch.setitem(registry._DEEP, name, part)
    monkeypatch.setitem(registry._MODELS, "twice", Twice)
    monkeypatch.setitem(registry._LABELS, "twice", "Twice")


def test_a_part_of_ones_own_is_traced(registered):
    check(make("lc-dnn", deep="gated"))
    for local, full in ((1, 1), (2, 0), (0, 1)):
        check(make("twice", options={"local": local, "full": full}))
    check(make("twice+lc-dnn", options={"local": 1, "full": 1}))


def test_a_part_that_has_no_operators_is_refused_with_the_reason(registered):
    with pytest.raises(NotExportable, match=r"Sorted: .*eigvalsh"):
        export_network(make("lc-dnn", deep="sorted"))


def test_a_part_that_answers_otherwise_is_refused_with_the_reason(registered):
    model = make("lc-dnn", deep="sized")
    network = export_network(model)
    with torch.inference_mode():
        units, full = model.gathered(model.augmented(batch_of(20)))
    with pytest.raises(NotExportable, match="differ from torch's"):
        refuse_another_answer(network, model, units, full)


def test_an_answer_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(NotExportable, match=r"differ from torch's: \(3, 2\), and \(3, 4\)"):
        refuse_other_logits(np.zeros((3, 4)), np.zeros((3, 2), np.float32))


def test_a_gelu_by_its_tanh_is_not_the_exact_one():
    graph = Graph(np.dtype(np.float32))
    part = torch.nn.Sequential(torch.nn.GELU(approximate="tanh"))
    model = graph.finish({"x": ("B", 3)}, {"y": ("B", 3)}, {"y": emit_part(graph, part, "x", 3)})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = torch.linspace(-3, 3, 30).reshape(10, 3)
    [found] = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, part(x), rtol=0, atol=1e-6)
    assert np.abs(found - torch.nn.functional.gelu(x).numpy()).max() > 1e-4


def test_a_graph_that_is_cut_is_refused():
    model = make("lc-dnn")
    with torch.inference_mode():
        units, full = model.gathered(model.augmented(batch_of(20)))
    network = export_network(model)
    refuse_another_answer(network, model, units, full)
    with pytest.raises(NotExportable, match="ONNX Runtime"):
        refuse_another_answer(network[: len(network) // 2], model, units, full)


def test_the_same_model_is_the_same_bytes():
    assert export_network(make("lc-dnn")) == export_network(make("lc-dnn"))
