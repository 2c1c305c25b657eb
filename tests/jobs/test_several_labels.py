"""Click and conversion: one network from a raw log to a probability of each."""

import json

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from tests.logs import make_table

import fieldwise as fw
from fieldwise.jobs.presets import with_preset

CONFIG = """
[data]
train = "log.parquet"
valid = 0.2
test = 0.2
weight = "weight"
labels = ["click", {{ label = "conversion", among = "click", weight = 2.0 }}]
{more}
[model]
kind = "{kind}"
units = 4
hidden = [8]
[train]
epochs = 2
batch_size = 256
threads = 1
patience = 5
stop_on = "auc:conversion"
[pretrain]
epochs = 2
"""


def make_log(folder, num_rows=2000):
    """Write a log whose conversions are clicks of some users; one cell in ten is empty."""
    table = make_table(num_rows)
    rng = np.random.default_rng(5)
    clicks = table["click"].to_numpy()
    users = np.array([int(user[1:]) for user in table["user"].to_pylist()])
    bought = (clicks == 1) & (rng.random(num_rows) < np.where(users % 3 == 0, 0.7, 0.2))
    cells = pa.array(bought.astype(int), mask=rng.random(num_rows) < 0.1)
    log = table.append_column("conversion", cells)
    pq.write_table(log, folder / "log.parquet")
    return log


def config(folder, kind="lc-dnn", more="", overrides=()):
    return fw.parse_config(CONFIG.format(kind=kind, more=more), base=folder, overrides=overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    log = make_log(folder)
    return folder, log, fw.train(config(folder), folder / "run")


def test_results_have_the_metrics_of_each_label_over_the_rows_that_say_something_of_it(trained):
    folder, log, result = trained
    assert result.labels == ["click", "conversion"]
    fw.predict(result.folder, folder / "log.parquet", folder / "p.parquet")
    predicted = pq.read_table(folder / "p.parquet")
    assert predicted.column_names == ["row", "probability_click", "probability_conversion"]
    assert json.loads(predicted.schema.metadata[b"fieldwise.labels"]) == ["click", "conversion"]
    evaluated = fw.evaluate(result.folder, folder / "log.parquet")
    weights = log["weight"].to_numpy()
    clicks = log["click"].to_numpy()
    for name in result.labels:
        y = log[name].to_numpy(zero_copy_only=False)
        if name == "conversion":
            y = np.where(np.isnan(y) & (clicks == 0), 0, y)  # what was not clicked has not been bought
        known, p = ~np.isnan(y), predicted[f"probability_{name}"].to_numpy()
        found = evaluated.metrics.labels[name]
        assert found.num_examples == known.sum()
        assert found.auc == pytest.approx(roc_auc_score(y[known], p[known], sample_weight=weights[known]), abs=1e-9)
        assert found.logloss == pytest.approx(log_loss(y[known], p[known], sample_weight=weights[known]), rel=1e-6)
        assert result.test.labels[name].auc > 0.6
    assert (predicted["probability_conversion"].to_numpy() <= predicted["probability_click"].to_numpy()).all()
    assert evaluated.as_dict()["labels"]["conversion"]["auc"] == evaluated.metrics.labels["conversion"].auc
    assert any("conversion: " in note for note in fw.prepare(config(folder)).summary["notes"])


def test_the_epoch_that_is_kept_is_the_best_of_the_label_that_is_named(trained):
    folder, _, _ = trained
    epochs = []
    clicks = fw.train(
        config(folder, overrides=["train.stop_on=logloss:click"]),
        folder / "clicks",
        listen=lambda event: epochs.append(event) if isinstance(event, fw.events.EpochEnd) else None,
    )
    own = [each.valid.labels["click"].logloss for each in epochs if each.l2 is None][-clicks.epochs :]
    assert clicks.valid.labels["click"].logloss <= min(own)


@pytest.mark.parametrize(
    ("stop_on", "weight"), [("auc", ""), ("auc", 'weight = "weight"'), ("logloss:conversion", 'weight = "weight"')]
)
def test_the_label_to_stop_on_decides_whether_weights_are_better_than_the_initial_ones(
    tmp_path, monkeypatch, stop_on, weight
):
    from fieldwise.jobs.train import initial

    log, compared = make_log(tmp_path), []

    def noted(metric, labels, *rest):
        compared.append((metric, labels, rest[1]))
        return exceeds(metric, labels, *rest)

    exceeds = initial.exceeds_noise
    monkeypatch.setattr(initial, "exceeds_noise", noted)
    text = CONFIG.format(kind="lc-dnn", more="").replace('weight = "weight"', weight, 1)
    overrides = [f"train.stop_on={stop_on}", "train.epochs=4", "data.valid=log.parquet", "data.test=0.5"]
    result = fw.train(fw.parse_config(text, base=tmp_path, overrides=overrides), tmp_path / "run")
    assert compared
    assert result.test.labels["click"].auc > 0.6
    metric, _, label = stop_on.partition(":")
    rows = log.to_pandas()
    truth = rows["conversion"].where(rows["click"] == 1, 0) if label else rows["click"]  # without a click, none
    weights = rows["weight"][truth.notna()] if weight else None
    # The initial logits are those of this label, over all rows: their loss is the one that the initial model reports.
    own = json.loads((tmp_path / "run" / "pretrain" / "run.json").read_text())["content"]["result"]["valid"]["labels"]
    for found, labels, logits in compared:
        assert found == metric
        np.testing.assert_array_equal(labels, truth.dropna())
        loss = log_loss(labels, 1 / (1 + np.exp(-logits)), sample_weight=weights)
        assert loss == pytest.approx(own[label or "click"]["logloss"], rel=1e-5)


def test_a_predictor_and_the_network_answer_with_a_column_for_each_label(trained):
    folder, log, result = trained
    predictor = fw.Predictor(result.folder)
    assert predictor.outputs == ("click", "conversion")
    found = predictor.predict(log.slice(0, 50))
    expected = pq.read_table(folder / "p.parquet").slice(0, 50)
    for number, name in enumerate(predictor.outputs):
        np.testing.assert_allclose(found[:, number], expected[f"probability_{name}"].to_numpy(), atol=1e-6)
    session = onnxruntime.InferenceSession(predictor.bundle.network)
    assert session.get_outputs()[0].shape == ["B", 2]
    with pytest.raises(fw.ConfigError, match="ranked by one probability"):
        predictor.rank({}, {"user": ["u1"]})
    with pytest.raises(fw.ConfigError, match="one label of two classes"):
        predictor.explain(log.slice(0, 1))


@pytest.mark.parametrize("kind", ["lr", "dnn", "lc-wide-deep"])
def test_other_kinds_learn_several_labels(trained, kind):
    folder, _, _ = trained
    result = fw.train(config(folder, kind, overrides=["train.epochs=1", "pretrain.epochs=1"]), folder / kind)
    assert all(result.test.labels[name].auc is not None for name in ("click", "conversion"))


def test_models_are_compared_label_by_label(trained):
    folder, _, _ = trained
    quick = config(folder, overrides=["train.epochs=1", "pretrain.epochs=1"])
    found = fw.compare(quick, folder / "compared", models=["lr", "lc-dnn:2"])
    assert [each.metric for each in found.differences] == [
        f"{metric}:{label}" for label in ("click", "conversion") for metric in ("auc", "logloss")
    ]
    for each in found.differences:
        metric, _, label = each.metric.partition(":")
        [own, against] = [
            getattr(next(run for run in found.models if run.model == kind).test.labels[label], metric)
            for kind in (each.model.partition("-2")[0], each.against.partition("-2")[0])
        ]
        assert each.difference == pytest.approx(own - against, abs=1e-6)


def test_one_label_in_a_list_is_that_label(tmp_path):
    one = fw.parse_config('data = { train = "log.csv", labels = ["click"] }', base=tmp_path)
    assert one == fw.parse_config('data = { train = "log.csv", label = "click" }', base=tmp_path)


@pytest.mark.parametrize(
    "override",
    [
        "model.kind=bayesian-fm",
        "model.kind=lc-dnn+bayesian-fm",
        "train.calibration=isotonic",
        "train.calibration=temperature",
        "train.negative_rate=0.5",
        "pretrain.solver=newton",
        "data.crosses=auto",
        "data.positive=1",
        "data.classes=[0, 1]",
    ],
)
def test_what_several_labels_cannot_have_is_refused_when_the_configuration_is_read(tmp_path, override):
    key = override.partition("=")[0]
    with pytest.raises(fw.ConfigError, match=f"is not available with several labels\n(.|\n)*{key}"):
        config(tmp_path, overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stop_on=auc:convresion", "conversion"),
        ("train.stop_on=acu:conversion", "unknown metric"),
        ('data.labels=["click", { label = "conversion", amnog = "click" }]', "amnog"),
        ("data.label=other", "remove label"),
    ],
)
def test_a_mistake_in_the_labels_is_named(tmp_path, override, message):
    with pytest.raises(fw.ConfigError, match=message):
        config(tmp_path, overrides=[override])


def test_a_label_that_the_log_has_not_is_named(tmp_path):
    make_log(tmp_path, 300)
    with pytest.raises(fw.DataError, match=r"no such column(.|\n)*sale"):
        fw.prepare(config(tmp_path, overrides=['data.labels=["click", "sale"]', "train.stop_on=auc"]))


def test_a_network_that_is_better_than_logistic_regression_by_the_first_label_replaces_it(trained):
    folder, _, _ = trained
    text = CONFIG.format(kind="lc-dnn", more="").replace('weight = "weight"\n', "")
    found = fw.train(fw.parse_config(text, base=folder, overrides=["train.stop_on=auc"]), folder / "unweighted")
    assert found.kept is None
    assert found.valid.auc == found.valid.labels["click"].auc


def test_the_preset_best_looks_for_no_crosses_of_several_labels(tmp_path):
    assert with_preset(config(tmp_path, overrides=["train.preset=best"])).data.crosses == "none"
