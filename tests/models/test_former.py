"""What earlier versions' configurations and models had: refused by name, or read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fieldwise as fw
from fieldwise.models.former import read_former, read_former_arrays
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
        ("model.pairs=weighted", "model.fm_interactions = true, false or auto"),
        ("model.histories=none", "model.cooccurrence"),
        ("model.history_limit=9", "model.cooccurrence_limit"),
        ("model.losses=joint", "model.auxiliary_loss"),
        ("model.start=posterior", 'kind = "lc-dnn+bayesian-fm" is a stack of both'),
        ("model.posterior_units=13", "model.factors, one less"),
        ("pretrain.sweeps=100", "train.sampler.sweeps"),
        ("train.wire=bfloat16", "train.comm_dtype"),
        ("model.deep_units=all", "leave it out"),
    ],
)
def test_what_is_gone_is_refused_with_what_stands_in_its_place(override, says):
    with pytest.raises(fw.ConfigError, match=r"of an earlier version") as caught:
        fw.parse_config(LOG, overrides=[override])
    assert says in str(caught.value)
    assert f"[{override.split('.')[0]}]" in str(caught.value)


def test_a_saved_model_is_read_where_what_is_gone_said_nothing():
    assert read_former({"kind": "lr", "gate": False, "widths": "uniform"}) == {"kind": "lr"}


@pytest.mark.parametrize(
    ("saved", "now"),
    [
        ({"start": "posterior", "kind": "lc-wide-deep"}, {"initial_model": "lr", "kind": "lc-wide-deep+bayesian-fm"}),
        ({"start": "random", "kind": "lc-dnn"}, {"initial_model": "random", "kind": "lc-dnn"}),
        ({"losses": "joint", "posterior_units": 9}, {"auxiliary_loss": False, "factors": 8}),
        ({"pairs": "none", "histories": [["a", "b"]]}, {"fm_interactions": False, "cooccurrence": [["a", "b"]]}),
    ],
)
def test_a_saved_model_says_the_same_in_todays_keys(saved, now):
    assert read_former(saved) == now


def test_the_dense_weights_of_a_saved_stack_have_todays_names_and_order():
    names = ["bias", "network.0.weight", "standardise.running_mean", "pairs.mask", "posterior.bias"]
    arrays = {name: np.zeros(1) for name in [*names, "posterior.pairs.mask", "histories.0_ids"]}
    arrays["blend.weight"] = np.array([0.1, 0.5, 0.2, 0.3])  # an offset, the sampled machine, two heads of LC-DNN
    found = read_former_arrays("lc-dnn+bayesian-fm", arrays)
    assert set(found) == {
        *(f"members.lc-dnn.{name}" for name in (*names[:3], "interactions.mask")),
        "members.bayesian-fm.bias",
        "members.bayesian-fm.interactions.mask",
        "cooccurrence.0_ids",
        "stacker.weight",
    }
    assert found["stacker.weight"].tolist() == [0.1, 0.2, 0.3, 0.5]
    assert read_former_arrays("lc-dnn+bayesian-fm", found) == found


def test_a_saved_model_with_what_is_gone_is_refused_by_name():
    bundle = fw.open_bundle(FIXTURE)
    bundle.model["gate"] = True
    with pytest.raises(fw.ArtefactError, match="gate = True") as caught:
        load_model(bundle)
    assert "train it again" in str(caught.value)
