"""How unsure a model is of an answer."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.logs import make_table, write
from tests.reference import gibbs, variational
from tests.training.test_gibbs import SIZES, planted, sampler

import fieldwise as fw
from fieldwise.bundle import BundleWriter, open_bundle
from fieldwise.cli import main
from fieldwise.errors import ArtefactError, ConfigError
from fieldwise.training.gibbs import FactorMeans

TEXT = """
[data]
train = "log.csv"
label = "click"
split = "split"
[model]
hidden = [4]
factors = 3
[train]
epochs = 1
batch_size = 256
sampler = { sweeps = 30, burn_in = 10, passes = 4 }
[pretrain]
epochs = 2
"""
ROWS = make_table(40).drop_columns(["click", "split"]).to_pylist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    write(make_table(1500), folder / "log.csv")
    (folder / "log.toml").write_text(TEXT)
    kinds = {"gibbs": "lc-dnn+bayesian-fm", "variational": "bayesian-fm"}
    for method, kind in kinds.items():
        overrides = [f"model.kind={kind}", f"train.sampler.method={method}"]
        fw.train(fw.load_config(folder / "log.toml", overrides), folder / method)
    fw.train(fw.load_config(folder / "log.toml", ["model.kind=lr"]), folder / "lr")
    return folder


@pytest.mark.parametrize("method", ["gibbs", "variational"])
def test_it_is_that_of_the_posterior(folder, method):
    bundle = open_bundle(folder / method)
    predictor = fw.Predictor(folder / method)
    log = make_table(40)
    probabilities, std = predictor.predict_with_std(log)
    np.testing.assert_array_equal(probabilities, predictor.predict(log))
    batch = bundle.encoder.transform(log).batch
    layout, posterior = bundle.encoder.layout, bundle.posterior()
    mask = bundle.dense["members.bayesian-fm.interactions.mask"]
    pairs = [(f, g) for f in range(layout.num_fields) for g in range(f + 1, layout.num_fields) if mask[f, g]]
    weights = bundle.dense.get("stacker.weight", np.array([0.0, 1.0]))[1:]
    for e in range(40):
        example = []
        for f in range(layout.num_fields):
            if layout.bag[f] >= 0:
                offsets = batch.offsets[layout.bag[f]]
                inside = range(offsets[e], offsets[e + 1])
                example += [(f, layout.base[f] + batch.bag_ids[i], float(batch.bag_weights[i])) for i in inside]
            else:
                x = float(batch.values[layout.value[f], e]) if layout.value[f] >= 0 else 1.0
                example.append((f, layout.base[f] + batch.ids[layout.single[f], e], x))
        mean = np.asarray(bundle.table, np.float64)[:, :4]
        a, s = variational.fields_of(example, mean, posterior["variance"].astype(np.float64), layout.num_fields)
        _, var = variational.of_logit(a, s, 0.0, float(posterior["bias"][0]), pairs)
        assert std[e] == pytest.approx(abs(weights.sum()) * np.sqrt(var), rel=1e-4)


@pytest.mark.parametrize("method", ["gibbs", "variational"])
def test_what_was_never_seen_is_less_sure(folder, method):
    predictor = fw.Predictor(folder / method)
    _, known = predictor.predict_with_std(ROWS)
    _, unknown = predictor.predict_with_std([{**row, "user": "never", "item": "never"} for row in ROWS])
    assert (unknown > known).all()
    assert unknown.mean() > 1.2 * known.mean()


def test_draws_are_as_far_apart_as_the_kept_moments_say():
    chain = sampler()
    _, _, layout, ids = planted(300, seed=7)
    drawn = []
    for sweep in range(130):
        chain.sweep(keep=sweep >= 30)
        if sweep >= 30:
            z = gibbs.prediction(chain.bias, chain.weights.astype(np.float64), ids, layout.base[:-1], {(0, 2)})
            drawn.append(1.6 * z)
    means = FactorMeans(chain.mean, chain.mean_bias, chain.num_sweeps, chain.variance, chain.variance_bias)
    mean = np.stack([means.numbers(number) for number in range(means.num_numbers)], axis=1)
    variance = means.spread(layout.base.tolist()).astype(np.float64)
    found = []
    for rows in ids + layout.base[:-1]:
        a, s = variational.fields_of([(f, row, 1.0) for f, row in enumerate(rows)], mean, variance, len(SIZES))
        found.append(variational.of_logit(a, s, 0.0, means.logit_bias_variance, [(0, 1), (1, 2)])[1])
    ratio = np.sqrt(np.array(found)) / np.std(drawn, axis=0)
    # Numbers that say the same in part are taken as independent: too wide, by half here, and in the right order.
    assert 0.8 < np.median(ratio) < 1.8
    assert np.corrcoef(np.sqrt(found), np.std(drawn, axis=0))[0, 1] > 0.7


def test_the_command_writes_a_column_and_refuses_a_model_without_a_posterior(folder, tmp_path):
    write(make_table(20).drop_columns(["click", "split"]), folder / "new.csv")
    words = ["predict", str(folder / "gibbs"), "--data", str(folder / "new.csv"), "--out", str(tmp_path / "p.parquet")]
    assert CliRunner().invoke(main, [*words, "--std"]).exit_code == 0
    found = pq.read_table(tmp_path / "p.parquet")
    assert found.column_names == ["row", "probability", "logit_std"]
    _, expected = fw.Predictor(folder / "gibbs").predict_with_std(make_table(20))
    np.testing.assert_allclose(found["logit_std"].to_numpy(), expected, rtol=1e-5)
    words[1] = str(folder / "lr")
    refused = CliRunner().invoke(main, [*words, "--std"])
    assert refused.exit_code == 2
    assert "no posterior" in refused.output


def test_a_copy_has_it_and_damage_is_found(folder, tmp_path):
    fw.Predictor(folder / "gibbs").save(tmp_path / "copy")
    fw.Predictor(tmp_path / "copy").predict_with_std(ROWS)
    (path,) = (tmp_path / "copy").glob("posterior-*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="posterior"):
        fw.Predictor(tmp_path / "copy").predict_with_std(ROWS)
    assert fw.Predictor(tmp_path / "copy").predict(ROWS).shape == (40,)
    with pytest.raises(ArtefactError, match="posterior"):
        open_bundle(tmp_path / "copy").verify()


def test_a_model_whose_posterior_was_not_kept_says_so(folder, tmp_path):
    bundle = open_bundle(folder / "gibbs")
    writer = BundleWriter(tmp_path / "other", bundle.encoder, bundle.model, bundle.dtype, bundle.csv)
    writer.save(1, bundle.table, bundle.dense, bundle.network)
    predictor = fw.Predictor(tmp_path / "other")
    np.testing.assert_array_equal(predictor.predict(ROWS), fw.Predictor(folder / "gibbs").predict(ROWS))
    with pytest.raises(ConfigError, match="was not kept"):
        predictor.predict_with_std(ROWS)
    with pytest.raises(ConfigError, match="no posterior"):
        fw.Predictor(folder / "lr").predict_with_std(ROWS)
