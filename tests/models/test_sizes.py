"""The sizes of models: the paper's figures, and those of the models that are built."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import make_layout
from torch import nn

from fieldwise.errors import ConfigError
from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.models import registry
from fieldwise.models.click import build_model
from fieldwise.models.config import KINDS as ALL_KINDS
from fieldwise.models.config import ModelConfig
from fieldwise.models.memory import training_memory
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.nn.deep import count_weights
from fieldwise.tables.config import TableOptimizerConfig

KINDS = [kind for kind in ALL_KINDS if kind != "bayesian-fm"]  # those that steps train

PAPER = (2048, 1024)
APP_DATA = (8_672_633, 158)
FEEDS_DATA = (8_522_742, 2311)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("lr", APP_DATA, 8_672_633),
        ("lr", FEEDS_DATA, 8_522_742),
        ("lc-dnn", APP_DATA, 11_094_393),
        ("lc-dnn", FEEDS_DATA, 15_353_846),
        ("lc-wide-deep", APP_DATA, 19_767_026),
        ("lc-wide-deep", FEEDS_DATA, 23_876_588),
    ],
)
def test_the_tables_of_the_paper_are_reproduced(kind, data, expected):
    assert count_parameters(ModelConfig(kind=kind, units=1, hidden=PAPER), *data).parameters == expected


@pytest.mark.parametrize(("data", "rounded"), [(APP_DATA, "1.78e+10"), (FEEDS_DATA, "1.75e+10")])
def test_the_dnn_has_the_papers_size_within_its_rounding(data, rounded):
    assert f"{count_parameters(ModelConfig(kind='dnn', hidden=PAPER), *data).parameters:.2e}" == rounded


NEED_HIDDEN = ("dnn", "lc-resnet")
WIDTHS = [(), (5,), (6, 5), (4, 7, 3)]


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize(
    ("kind", "hidden"), [(kind, hidden) for kind in KINDS for hidden in WIDTHS if hidden or kind not in NEED_HIDDEN]
)
def test_a_model_has_the_size_that_was_counted(kind, units, hidden, num_classes):
    layout = make_layout(["single", "value", "bag", "single"], [7, 2, 5, 40])
    model = build_model(ModelConfig(kind=kind, units=units, hidden=hidden), layout, num_classes)
    weights, biases = count_weights(model)
    size = count_parameters(model.config, 54, 4, num_outputs(num_classes))
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("hidden", [(5,), (8, 6), (6, 8, 9)])
@pytest.mark.parametrize("deep", ["perceptron", "residual", "cross", "none"])
@pytest.mark.parametrize(("interactions", "units"), [(True, 3), (False, 3), (True, 1)])
def test_every_deep_part_has_the_size_that_was_counted(deep, interactions, units, hidden, num_classes):
    layout = make_layout(["single", "value", "bag", "single"], [7, 2, 5, 40])
    config = ModelConfig(units=units, hidden=hidden, deep=deep, fm_interactions=interactions)
    model = build_model(config, layout, num_classes)
    weights, biases = count_weights(model)
    size = count_parameters(config, 54, 4, num_outputs(num_classes))
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)


def test_a_registered_part_is_counted_by_building_it(monkeypatch):
    monkeypatch.setitem(registry._DEEP, "mine", lambda num_inputs, hidden, num_outputs, *_: nn.Linear(num_inputs, 7))
    size = count_parameters(ModelConfig(deep="mine", units=2, fm_interactions=False), 54, 4)
    assert (size.parameters, size.biases) == (54 * 2 + 8 * 7, 1 + 7)


def test_only_locally_connected_models_have_units():
    assert {kind: count_parameters(ModelConfig(kind=kind, units=3, hidden=(4,)), 10, 2).units for kind in KINDS} == {
        "lr": None,
        "dnn": None,
        "lc-dnn": 3,
        "lc-wide-deep": 3,
        "lc-resnet": 3,
    }


@pytest.mark.parametrize("kind", NEED_HIDDEN)
def test_a_model_that_needs_a_hidden_layer_is_refused_without(kind):
    with pytest.raises(ConfigError, match=r"one hidden layer or more|one block or more"):
        count_parameters(ModelConfig(kind=kind, hidden=()), 10, 2)


@pytest.mark.parametrize("kind", ["dnn", "lc-dnn"])
def test_a_matrix_that_cannot_be_addressed_is_refused(kind):
    with pytest.raises(ConfigError, match="is unknown"):
        count_parameters(ModelConfig(kind=kind, hidden=(1 << 30, 1 << 30, 1 << 30)), 10, 2, 1 << 62)


@st.composite
def described(draw):
    """A configuration, and the log that it is for: the rows of its fields, its histories, its classes."""
    num_fields = draw(st.sampled_from([1, 2, 3, 5, 63, 64, 65]))
    rows = draw(st.lists(st.integers(3, 9), min_size=num_fields, max_size=num_fields))
    kind = draw(st.sampled_from([*KINDS, "lc-wide-deep+bayesian-fm", "lr+dnn"]))
    hidden = tuple(draw(st.lists(st.integers(1, 6), min_size=any(each in kind for each in NEED_HIDDEN), max_size=2)))
    config = ModelConfig(
        kind=kind,
        hidden=hidden,
        units=draw(st.sampled_from([0, 1, 2, 5])),
        deep_units=draw(st.sampled_from([0, None])),
        deep=draw(st.sampled_from(["none", "perceptron", "cross"])),
        fm_interactions=draw(st.sampled_from(["auto", False, True])),
        factors=draw(st.integers(1, 3)),
    )
    keys = st.tuples(st.integers(0, num_fields - 1), st.integers(0, num_fields - 1))
    pairs = draw(st.lists(keys, max_size=2)) if config.has_interactions(num_fields) else []
    return config, rows, pairs, 2 if config.is_sampled else draw(st.sampled_from([2, 3]))


@settings(max_examples=120)
@given(described())
def test_whatever_the_configuration_a_model_has_the_size_and_the_rows_that_were_counted(drawn):
    config, rows, pairs, num_classes = drawn
    histories = [
        Cooccurrence(key, value, np.zeros(rows[key] + 1, np.int64), np.empty(0, np.uint32)) for key, value in pairs
    ]
    model = build_model(config, make_layout(["single"] * len(rows), rows), num_classes, bags=histories)
    weights, biases = count_weights(model)
    outputs, of_bags = num_outputs(num_classes), [rows[value] for _, value in pairs]
    log = sum(rows), len(rows)
    size = count_parameters(config, *log, outputs, of_bags)
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)
    memory = training_memory(config, size, len(rows), TableOptimizerConfig(name="adagrad"))
    assert memory.table == 8 * model.table.num_parameters
