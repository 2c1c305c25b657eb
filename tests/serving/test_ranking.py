"""Candidates of one context have the probabilities of whole rows, and what the context adds is computed once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.serving.bundles import rows_of, save
from tests.serving.test_answers import VARIANTS

from fieldwise.errors import ArtefactError
from fieldwise.serving.predictor import Predictor
from fieldwise.serving.ranking import _with_constants

TWO_CLASSES = {name: settings for name, settings in VARIANTS.items() if settings.get("num_classes", 2) == 2}
CONTEXTS = [("user", "age", "tags"), ("item",), ("user", "item", "price", "age"), ("tags", "price"), ()]


def asked(names, num_candidates=40):
    """Return a context of some columns, and candidates with the others."""
    columns = rows_of(num_candidates)
    columns.pop("click")
    context = {name: columns.pop(name)[0] for name in names}
    return context, columns


def in_order(found, num_candidates):
    places, probabilities = found
    whole = np.empty(num_candidates)
    whole[places] = probabilities
    return whole


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_candidates_have_the_probabilities_of_whole_rows(tmp_path, name):
    predictor = Predictor(save(tmp_path / "bundle", **TWO_CLASSES[name]))
    for names in CONTEXTS:
        context, columns = asked(names)
        candidates = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        expected = predictor.predict([{**context, **candidate} for candidate in candidates])
        for given in (candidates, columns):
            found = in_order(predictor.rank(context, given), len(candidates))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_candidates_with_columns_of_their_own_take_the_rest_from_the_context(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle"))
    context, columns = asked(("user", "age", "tags"))
    candidates = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    candidates[3]["user"], candidates[4]["tags"] = "u1", "b|c"
    del candidates[5]["price"]
    expected = predictor.predict([{"price": None, **context, **candidate} for candidate in candidates])
    found = in_order(predictor.rank(context, candidates), len(candidates))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_context_is_hashed_and_gathered_once(tmp_path, monkeypatch):
    predictor = Predictor(save(tmp_path / "bundle"))
    context, columns = asked(("user", "age", "tags"))
    seen, graph = [], predictor._network._ranking
    answer = graph.logits

    def looked_at(*given):
        seen.append([len(each) for each in given])
        return answer(*given)

    monkeypatch.setattr(graph, "logits", looked_at)
    predictor.rank(context, columns)
    assert seen == [[1, 40, 3, 40]]  # units of one context, and of 40 candidates: item, price and the cross


def test_the_weights_of_the_network_are_constants_of_the_graph_of_a_context(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle"))
    context, columns = asked(("user", "age", "tags"))
    predictor.rank(context, columns)
    graph = predictor._network._ranking
    session = graph._session(np.array([1, 2], np.int64).tobytes())
    assert not [each.name for each in session.get_inputs() if "@" in each.name]
    model = onnx.load_from_string(
        _with_constants(predictor.bundle.ranking, {"weight@1": np.eye(300, dtype=np.float32)})
    )
    constant = model.graph.initializer[-1]
    np.testing.assert_array_equal(numpy_helper.to_array(constant), np.eye(300))
    assert (constant.name, model.ir_version) == ("weight@1", 3)
    assert model.graph.node


def test_bags_of_candidates_have_room_for_their_own_values_alone(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle"))
    context = {"user": "u1", "price": 1.0, "age": 30}
    candidates = {"item": list(range(2000)), "tags": ["|".join("abcde" * 4)] * 2000}
    predictor.rank(context, {name: cells[:40] for name, cells in candidates.items()})
    tracemalloc.start()
    predictor.rank(context, candidates)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # a row of all values for each candidate: 640 MB


def test_a_graph_for_candidates_of_another_network_is_refused(tmp_path):
    from fieldwise import open_bundle
    from fieldwise.bundle import BundleWriter

    opened = open_bundle(save(tmp_path / "bundle", hidden=(64, 64)))
    writer = BundleWriter(opened.folder, opened.encoder, opened.model, "float32", {})
    small = open_bundle(save(tmp_path / "small", units=4, hidden=(8,))).network
    writer.save(2, np.array(opened.table), opened.dense, small, ranking=opened.ranking)
    with pytest.raises(ArtefactError, match="does not fit the network"):
        Predictor(opened.folder)
