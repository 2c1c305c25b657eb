"""The sizes of models: the paper's figures, and those of the models that are built."""

from __future__ import annotations

import pytest
from tests.helpers import make_layout
from torch import nn

from fieldwise.errors import ConfigError
from fieldwise.models.click import build_model
from fieldwise.models.config import KINDS, ModelConfig
from fieldwise.models.parts import DEEP_PARTS
from fieldwise.models.sizes import count_parameters, num_outputs
from fieldwise.nn.deep import count_weights

PAPER = [2048, 1024]
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
    assert count_parameters(kind, *data, 1, PAPER).parameters == expected


@pytest.mark.parametrize(("data", "rounded"), [(APP_DATA, "1.78e+10"), (FEEDS_DATA, "1.75e+10")])
def test_the_dnn_has_the_papers_size_within_its_rounding(data, rounded):
    assert f"{count_parameters('dnn', *data, 1, PAPER).parameters:.2e}" == rounded


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
    size = count_parameters(kind, 54, 4, units, hidden, num_outputs(num_classes))
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("hidden", [(5,), (8, 6), (6, 8, 9)])
@pytest.mark.parametrize("deep", [*DEEP_PARTS, "none"])
@pytest.mark.parametrize(
    ("gate", "pairs", "units"), [(False, "plain", 3), (True, "weighted", 3), (True, "weighted", 1)]
)
def test_every_deep_part_has_the_size_that_was_counted(deep, gate, pairs, units, hidden, num_classes):
    layout = make_layout(["single", "value", "bag", "single"], [7, 2, 5, 40])
    config = ModelConfig(units=units, hidden=hidden, deep=deep, gate=gate, pairs=pairs)
    model = build_model(config, layout, num_classes)
    weights, biases = count_weights(model)
    size = count_parameters("lc-dnn", 54, 4, units, hidden, num_outputs(num_classes), config)
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)


@pytest.mark.parametrize("kind", ["lc-dnn", "lc-wide-deep", "lc-resnet"])
@pytest.mark.parametrize("units", [1, 3, 9])
def test_width_by_cardinality_is_counted(kind, units):
    rows = [7, 2, 5, 40]
    config = ModelConfig(kind=kind, units=units, hidden=(5,), gate=True, widths="cardinality", pairs="none")
    model = build_model(config, make_layout(["single", "value", "bag", "single"], rows), 2)
    weights, biases = count_weights(model)
    size = count_parameters(kind, 54, 4, units, (5,), 1, config, rows)
    assert (size.parameters, size.biases) == (model.table.num_parameters + weights, biases)
    assert model.standardise.num_features == sum(min(units, bits) for bits in (3, 1, 3, 6))


def test_a_registered_part_is_counted_by_building_it(monkeypatch):
    monkeypatch.setitem(DEEP_PARTS, "mine", lambda num_inputs, hidden, num_outputs, *_: nn.Linear(num_inputs, 7))
    size = count_parameters("lc-dnn", 54, 4, 2, [5], 1, ModelConfig(deep="mine", pairs="none"))
    assert (size.parameters, size.biases) == (54 * 2 + 8 * 7, 1 + 7)


def test_only_locally_connected_models_have_units():
    assert {kind: count_parameters(kind, 10, 2, 3, [4]).units for kind in KINDS} == {
        "lr": None,
        "lr-network": None,
        "dnn": None,
        "lc-dnn": 3,
        "lc-wide-deep": 3,
        "lc-resnet": 3,
    }


@pytest.mark.parametrize("kind", NEED_HIDDEN)
def test_a_model_that_needs_a_hidden_layer_is_refused_without(kind):
    with pytest.raises(ConfigError, match="one hidden layer or more"):
        count_parameters(kind, 10, 2, 1, [])
