"""What earlier versions' configurations and models had: refused by name, or read."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldwise as fw
from fieldwise.models.former import read_former
from fieldwise.models.load import load_model

LOG = 'data = { train = "log.csv", label = "click" }'
FIXTURE = Path(__file__).parent.parent / "fixtures" / "3" / "run"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.kind=lr-network", 'kind = "lr" is the same function'),
        ("model.gate=false", "it is gone"),
        ('model.widths="cardinality"', "the deep part reads all units"),
        ("model.deep=ensemble", "perceptron, residual and cross are left"),
        ("model.pairs=weighted", 'pairs = "plain"'),
        ("model.deep_units=all", "leave it out"),
    ],
)
def test_what_is_gone_is_refused_with_what_stands_in_its_place(override, says):
    with pytest.raises(fw.ConfigError, match=r"of an earlier version") as caught:
        fw.parse_config(LOG, overrides=[override])
    assert says in str(caught.value)
    assert "[model]" in str(caught.value)


def test_a_saved_model_is_read_where_what_is_gone_said_nothing():
    assert read_former({"kind": "lr", "gate": False, "widths": "uniform"}) == {"kind": "lr"}


def test_a_saved_model_with_what_is_gone_is_refused_by_name():
    bundle = fw.open_bundle(FIXTURE)
    bundle.model["gate"] = True
    with pytest.raises(fw.ArtefactError, match="gate = True") as caught:
        load_model(bundle)
    assert "train it anew" in str(caught.value)
