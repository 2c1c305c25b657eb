"""The graph for candidates of one context answers as the model does, whichever fields are the context's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from tests.models.test_network import LAYOUT, bags_of, batch_of, make, probabilities

from fieldwise.models.config import LabelHead
from fieldwise.models.network import NotExportable, export_network
from fieldwise.models.ranking import export_ranking, refuse_another_order
from fieldwise.serving.ranking import RankingGraph

MODELS = {
    "lc-dnn": {},
    "lc-dnn with wide layers": {"hidden": (300, 5)},
    "bags": {"bags": True},
    "linear alone": {"hidden": (), "kind": "lc-wide-deep"},
    "wide-deep of four classes": {"kind": "lc-wide-deep", "num_classes": 4},
    "lc-dnn of four classes": {"num_classes": 4},
    "lc-resnet": {"kind": "lc-resnet", "hidden": (40, 30)},
    "interactions": {"fm_interactions": True},
    "interactions of some pairs": {"fm_interactions": True, "left_out": [(0, 2), (1, 3)], "bags": True},
    "two heads": {"fm_interactions": True, "auxiliary_loss": True},
    "not standardised": {"standardise": False},
    "fields that are linear": {"linear_fields": (0, 3)},
    "factorisation machine": {"kind": "bayesian-fm", "factors": 3, "bags": True},
    "stack": {"kind": "lr+lc-dnn+bayesian-fm+dnn", "factors": 3, "bags": True},
    "labels": {"labels": (LabelHead("click"), LabelHead("cart", 0)), "units": 8, "fm_interactions": True},
    "float64": {"dtype": torch.float64, "activation": "gelu", "fm_interactions": True},
}


def model_of(name):
    settings = {"kind": "lc-dnn", **MODELS[name]}
    return make(settings.pop("kind"), bags=bags_of() if settings.pop("bags", False) else (), **settings)


def gathered(model, num_rows):
    with torch.inference_mode():
        return model.gathered(model.augmented(batch_of(num_rows)))


@pytest.mark.parametrize("name", MODELS)
def test_candidates_have_the_probabilities_of_whole_rows(name):
    model = model_of(name)
    network = export_network(model)
    graph = RankingGraph(export_ranking(model, network), network)
    units, full = gathered(model, 30)
    num_fields = units.shape[1]
    for shared in ([0], [1, 2], [0, 2, 3], [0, 1, 2, 3][: LAYOUT.num_fields]):
        is_own = ~np.isin(np.arange(num_fields), shared)
        fields, context, mixed = np.flatnonzero(is_own), torch.zeros_like(units[:1]), units.clone()
        mixed[:, ~is_own] = context[:, ~is_own] = units[:1, ~is_own]
        with torch.inference_mode():
            expected = probabilities(model.logits_of(mixed, full))
        found = graph.logits(context.numpy(), mixed[:, fields].numpy(), fields, full.numpy())
        np.testing.assert_allclose(probabilities(torch.from_numpy(found)), expected, rtol=0, atol=1e-6)


def test_no_weight_of_the_network_is_saved_again():
    model = make("lc-dnn", hidden=(300, 200))
    network = export_network(model)
    ranking = export_ranking(model, network)
    assert len(ranking) < len(network) / 20
    assert {"weight", "columns"} <= {each.name.split("@")[0] for each in onnx.load_from_string(ranking).graph.input}


@pytest.mark.parametrize("settings", [{"kind": "lr"}, {"kind": "dnn"}, {"kind": "lc-dnn", "deep": "cross"}])
def test_a_model_that_gains_nothing_has_none(settings):
    model = make(settings.pop("kind"), **settings)
    assert export_ranking(model, export_network(model)) is None


def test_a_graph_of_other_weights_is_refused():
    model = make("lc-dnn")
    network = export_network(model)
    ranking = export_ranking(model, network)
    units, full = gathered(model, 20)
    refuse_another_order(ranking, network, model, units, full)
    with torch.no_grad():
        model.members["lc-dnn"].network[0].weight += 1.0
    with pytest.raises(NotExportable, match="differ from torch's"):
        refuse_another_order(ranking, network, model, units, full)
