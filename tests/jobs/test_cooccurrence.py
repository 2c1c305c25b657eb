"""Users and items with properties of their own get histories, from the configuration to a prediction."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.logs import write

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.errors import ConfigError
from fieldwise.jobs.train.plan import plan
from fieldwise.models.load import load_model

MODEL = """
[model]
units = 4
hidden = [8]
{more}
[train]
epochs = 2
batch_size = 512
threads = 1
[pretrain]
epochs = 1
"""
FIELDS = 'fields.user.type = "category"\nfields.item.type = "category"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 300, 9000), (rng.random(9000) ** 2 * 280).astype(int)
    likes = rng.normal(size=(300, 3)), rng.normal(size=(280, 3))
    logits = (likes[0][users] * likes[1][items]).sum(axis=1)
    write(
        pa.table(
            {
                "user": [f"u{user}" for user in users],
                "age": pa.array((users * 7) % 9).cast(pa.string()),
                "item": [f"i{item}" for item in items],
                "year": pa.array((items * 11) % 30).cast(pa.string()),
                "hour": pa.array(rng.integers(0, 24, 9000)).cast(pa.string()),
                "click": (rng.random(9000) < 1 / (1 + np.exp(-logits))).astype(int),
                "split": rng.choice(["train", "valid", "test"], 9000, p=[0.8, 0.1, 0.1]),
            }
        ),
        folder / "log.parquet",
    )
    return folder


def load(folder, more=""):
    text = f'{FIELDS}[data]\ntrain = ["log.parquet"]\nlabel = "click"\nsplit = "split"\n{MODEL.format(more=more)}'
    (folder / "fieldwise.toml").write_text(text)
    return fw.load_config(folder / "fieldwise.toml")


def test_entities_have_histories_of_each_other_from_the_training_rows_alone(folder):
    config = load(folder)
    result = fw.train(config, folder / "auto")
    model = load_model(open_bundle(folder / "auto"))
    names = [field.name for field in open_bundle(folder / "auto").encoder.schema.fields]
    found = {(names[h.key], names[h.value]) for h in model.cooccurrence.bags}
    assert found == {("user", "item"), ("item", "user")}
    log = pa.parquet.read_table(folder / "log.parquet").to_pydict()
    rows = [row for row, part in enumerate(log["split"]) if part == "train"]
    met = {(log["user"][row], log["item"][row]) for row in rows}
    assert [len(h.ids) for h in model.cooccurrence.bags] == [len(met)] * 2
    assert result.parameters == plan(config).stages[-1].parameters
    raw = write(
        pa.parquet.read_table(folder / "log.parquet", filters=[("split", "=", "test")]), folder / "test.parquet"
    )
    evaluation = fw.evaluate(folder / "auto", raw)
    assert evaluation.metrics.auc == pytest.approx(result.test.auc, abs=1e-6)
    assert evaluation.metrics.logloss == pytest.approx(result.test.logloss, abs=1e-6)


def test_whoever_was_never_met_has_an_empty_history(folder):
    fw.train(load(folder), folder / "auto")
    log = pa.table(
        {"user": ["new", "u3"], "age": ["1", "1"], "item": ["i2", "new"], "year": ["1", "1"], "hour": ["1", "2"]}
    )
    write(log, folder / "new.parquet")
    fw.predict(folder / "auto", folder / "new.parquet", folder / "out.parquet")
    probabilities = pa.parquet.read_table(folder / "out.parquet")["probability"].to_numpy()
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ('cooccurrence = "none"', []),
        ('cooccurrence = [["user", "hour"]]', [("user", "hour")]),
        ("fm_interactions = false", []),
    ],
)
def test_the_configuration_says_which_histories_there_are(folder, more, expected):
    out = folder / f"given-{len(more)}"
    fw.train(load(folder, more), out)
    bundle = open_bundle(out)
    model, names = load_model(bundle), [field.name for field in bundle.encoder.schema.fields]
    found = [] if model.cooccurrence is None else model.cooccurrence.bags
    assert [(names[h.key], names[h.value]) for h in found] == expected


def test_a_field_that_does_not_exist_has_no_history(folder):
    with pytest.raises(ConfigError, match="no such field"):
        fw.train(load(folder, 'cooccurrence = [["usr", "item"]]'), folder / "wrong")
