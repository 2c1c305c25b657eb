"""What every model promises: its function, its gradients, its start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.errors import ConfigError, ResourceError
from fieldwise.kernels.joint_labels import join_labels
from fieldwise.models.click import build_model
from fieldwise.models.config import KINDS as ALL_KINDS
from fieldwise.models.config import LabelHead, ModelConfig
from fieldwise.nn.deep import count_weights
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.initial import LrWeights, warm_start
from fieldwise.training.loss import logloss

KINDS = [kind for kind in ALL_KINDS if kind != "bayesian-fm"]  # those that steps train

FORMS = ["single", "value", "bag", "single"]
ROWS = [7, 2, 5, 40]
LAYOUT = make_layout(FORMS, ROWS)


def make(kind, *, units=1, num_classes=2, optimizer="adagrad", seed=0, **settings):
    settings = {"fm_interactions": False, "unit_l2": 0.0, "unit_dropout": 0.0, **settings}
    config = ModelConfig(kind=kind, units=units, hidden=(6, 5), **settings)
    model = build_model(config, LAYOUT, num_classes, seed, torch.float64)
    model.table.train_by(TableOptimizerConfig(name=optimizer, learning_rate=0.1)).draw(seed)
    return model


def random_batch(seed=0, num_examples=30, num_classes=2):
    rng = np.random.default_rng(seed)
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    return fields, make_batch(FORMS, fields), torch.from_numpy(rng.integers(0, num_classes, num_examples))


def wake(model, seed=1):
    """Give every weight a random value of size one, so that nothing hides behind zeros or a strong curvature."""
    rng = torch.Generator().manual_seed(seed)
    model.table.weights[:] = np.random.default_rng(seed).normal(size=model.table.weights.shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype) * 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("units", [1, 3])
def test_gradients_are_finite_differences(kind, num_classes, units):
    if units == 3 and not kind.startswith("lc-"):
        pytest.skip("one width")
    model = make(kind, units=units, num_classes=num_classes, activation="tanh")
    wake(model)
    fields, batch, labels = random_batch(num_classes=num_classes)
    # In training the pass uses the batch's own mean and variance, so repeated passes are one function.
    model.train()

    check_gradients(model, fields, batch, labels)


@pytest.mark.parametrize("among", [None, 0])
@pytest.mark.parametrize(
    "settings", [{"kind": kind} for kind in KINDS] + [{"kind": "lc-dnn", "fm_interactions": True, "deep": "none"}]
)
def test_gradients_of_several_labels_are_finite_differences(settings, among):
    labels = (LabelHead("click"), LabelHead("conversion", among, 2.0), LabelHead("late"))
    model = make(units=6, labels=labels, activation="tanh", deep_units=1, unit_l2=0.1, **settings)
    wake(model)
    states = np.random.default_rng(2).integers(0, 3, (3, 30))
    fields, batch, _ = random_batch()
    model.train()

    check_gradients(model, fields, batch, torch.from_numpy(join_labels(list(states))))


VARIANTS = [
    {"deep": "cross"},
    {"deep": "residual"},
    {"deep": "none", "fm_interactions": True},
    {"deep": "none", "fm_interactions": True, "unit_l2": 0.3},
]


def test_the_deep_part_moves_its_own_units_alone():
    model = make("lc-dnn", units=5, fm_interactions=True, deep_units=2)
    wake(model)
    _, batch, _ = random_batch()
    local, _ = model.table(batch)
    member = model.members["lc-dnn"]
    # Squared, for what is standardised has a sum that nothing moves.
    member.network(member.deep_input(local.view(30, 4, 5))).square().sum().backward()
    moved = local.grad.view(30, 4, 5).abs().amax(dim=(0, 1))
    assert (moved[:3] == 0).all()
    assert (moved[3:] > 0).all()
    with pytest.raises(ConfigError, match="leave none for interactions"):
        make("lc-dnn", units=3, fm_interactions=True, deep_units=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"units": 1},
        {"units": 1, "skip": False},
        {"units": 4, "fm_interactions": True, "deep_units": 2, "unit_l2": 0.1},
        {"units": 4, "kind": "lc-dnn+bayesian-fm", "factors": 2},
    ],
    ids=str,
)
def test_units_are_read_at_once_as_one_by_one(settings):
    found = []
    for at_once in (True, False):
        model = make(
            settings.get("kind", "lc-dnn"), unit_dropout=0.25, **{k: v for k, v in settings.items() if k != "kind"}
        )
        wake(model)
        member = model.members["lc-dnn"]
        member.reading = member.reading if at_once else None
        model.train()
        _, batch, labels = random_batch(num_examples=300)
        torch.manual_seed(3)
        members = model.member_logits(model.augmented(batch))
        logloss(members, labels).backward()
        [record] = model.table.records
        statistics = {name: each for name, each in member.standardise.named_buffers() if each.is_floating_point()}
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        found.append({"members": members.detach(), "units": record.local.grad, **statistics, **gradients})
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["lc-dnn", "lc-wide-deep"])
@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_gradients_of_every_deep_part_are_finite_differences(settings, num_classes, kind):
    model = make(kind, units=3, num_classes=num_classes, activation="tanh", **settings)
    wake(model)
    fields, batch, labels = random_batch(num_classes=num_classes)
    model.train()
    check_gradients(model, fields, batch, labels)


def check_gradients(model, fields, batch, labels):
    """Compare the gradients of the training loss, penalty included, with finite differences, at random places."""

    def loss_of(logits):
        loss = logloss(logits, labels, heads=model.labels)
        return loss if model.penalty is None else loss + model.penalty.mean()

    def loss() -> float:
        with torch.no_grad():
            return loss_of(model.member_logits(model.augmented(batch))).item()

    loss_of(model.member_logits(model.augmented(batch))).backward()
    record = model.table.records[-1]
    matrices = reference.encode(fields, ROWS)
    local, full = (part.numpy() for part in record.gradients())
    of_table = reference.gradients(matrices, local, full, model.table.num_local)
    rng = np.random.default_rng(0)
    for _ in range(12):
        row, unit = rng.integers(sum(ROWS)), rng.integers(model.table.num_weights)
        before, difference = model.table.rows[row, unit], 1e-6
        model.table.rows[row, unit] = before + difference
        above = loss()
        model.table.rows[row, unit] = before - difference
        below = loss()
        model.table.rows[row, unit] = before
        assert of_table[row, unit] == pytest.approx((above - below) / (2 * difference), rel=1e-5, abs=1e-8)
    for parameter in model.parameters():
        flat, gradient = parameter.detach().view(-1), parameter.grad.view(-1)
        i = int(rng.integers(len(flat)))
        before = flat[i].item()
        flat[i] = before + 1e-6
        above = loss()
        flat[i] = before - 1e-6
        below = loss()
        flat[i] = before
        assert gradient[i].item() == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-8)


def test_the_penalty_is_half_the_sum_of_squares_of_all_units_but_the_first_of_each_field():
    model = make("lc-dnn", units=2, fm_interactions=True, unit_l2=0.1)
    wake(model)
    fields, batch, _ = random_batch()
    local, _ = reference.gather(reference.encode(fields, ROWS), model.table.weights, 2)
    model.train()
    model(batch)
    assert model.penalty.tolist() == pytest.approx((0.05 * (local[:, 1::2] ** 2).sum(axis=1)).tolist(), rel=1e-12)
    model.eval()
    model(batch)
    assert model.penalty is None


def test_members_have_the_loss_of_each_and_the_logit_of_their_mean():
    model = make("lc-dnn", units=3, fm_interactions=True)
    wake(model)
    _, batch, labels = random_batch()
    model.eval()
    members = model.member_logits(model.augmented(batch))
    assert members.shape == (30, 2, 1)
    torch.testing.assert_close(model(batch), members.mean(dim=1))
    weights = torch.rand(30, dtype=torch.float64)
    for given in (None, weights):
        each = [logloss(members[:, m], labels, given) for m in range(2)]
        torch.testing.assert_close(logloss(members, labels, given), sum(each) / 2)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("kind", ["lr", "lc-wide-deep", "lc-dnn", "lc-resnet"])
def test_a_model_with_a_linear_path_starts_with_the_logits_of_lr(kind, num_classes):
    outputs = 1 if num_classes == 2 else num_classes
    if outputs > 1 and kind in ("lc-dnn", "lc-resnet"):
        pytest.skip("the skip serves two classes")
    rng = np.random.default_rng(2)
    start = LrWeights(rng.normal(size=(sum(ROWS), outputs)), rng.normal(size=outputs))
    fields, batch, _ = random_batch()
    _, expected = reference.gather(reference.encode(fields, ROWS), start.weights, 0)
    for optimizer in ("adagrad", "ftrl"):
        model = make(kind, units=4, num_classes=num_classes, optimizer=optimizer)
        warm_start(model, start)
        model.eval()
        with torch.no_grad():
            np.testing.assert_allclose(model(batch).numpy(), expected + start.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_example_alone_has_the_logit_it_has_in_a_batch(kind):
    model = make(kind, units=2)
    wake(model)
    fields, batch, _ = random_batch()
    model.train()
    model(batch)
    model.eval()
    with torch.no_grad():
        together = model(batch)
        for b in (0, 7, 29):
            alone = model(make_batch(FORMS, [[field[b]] for field in fields]))
            torch.testing.assert_close(alone[0], together[b], rtol=1e-12, atol=1e-12)
        assert model(make_batch(FORMS, [[] for _ in fields])).shape == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_example_can_be_trained_on(kind):
    model = make(kind, units=2)
    wake(model)
    _, batch, labels = random_batch(num_examples=1)
    before = model.table.weights.copy()
    logloss(model(batch), labels).backward()
    model.table.push()(1.0)
    assert np.isfinite(model.table.weights).all()
    assert (model.table.weights != before).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_weights_and_another_seed_others(kind):
    first, again, other = (make(kind, seed=seed) for seed in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    np.testing.assert_array_equal(first.table.weights, again.table.weights)
    if kind != "lr":
        assert not np.array_equal(first.table.weights, other.table.weights) or any(
            not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
        )


def test_the_paper_s_parameter_counts_are_those_of_the_modules():
    num_fields, d, k1, k2 = 4, sum(ROWS), 6, 5
    dense = num_fields * k1 + k1 * k2 + k2
    expected = {"lr": d, "dnn": d * k1 + k1 * k2 + k2, "lc-dnn": d + dense, "lc-wide-deep": 2 * d + dense}
    for kind, parameters in expected.items():
        model = make(kind)
        assert model.table.num_parameters + count_weights(model)[0] == parameters


def test_a_table_that_cannot_fit_is_refused_with_the_sizes(monkeypatch):
    monkeypatch.setattr("fieldwise.io.memory.available_bytes", lambda: 10_000)
    model = build_model(ModelConfig(kind="dnn", hidden=(2048,)), LAYOUT, 2)
    with pytest.raises(ResourceError, match=r"(?s)54 features with 2,048 weights .*10.00 kB.*1.33 MB"):
        model.table.train_by(TableOptimizerConfig())


def test_a_dnn_without_a_hidden_layer_is_refused():
    with pytest.raises(ConfigError, match="hidden"):
        build_model(ModelConfig(kind="dnn", hidden=()), LAYOUT, 2)
