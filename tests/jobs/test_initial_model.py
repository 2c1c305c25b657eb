"""A model that starts from logistic regression never ends below it on valid, and says where it is kept."""

import json

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.data.batches import Batches
from fieldwise.datasets import SynthOptions, make_synth
from fieldwise.training.loop import looks

TOO_FAST = """
[model]
kind = "lc-dnn"
units = 8
hidden = [64]
[train]
epochs = 3
table = { learning_rate = 0.7 }
dense = { learning_rate = 0.3 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("initial")
    write(make_table(1500), folder / "log.parquet")
    (folder / "log.toml").write_text(config_text("log.parquet", more=TOO_FAST))
    return folder


def test_where_logistic_regression_is_best_it_is_kept_and_that_is_said(folder, tmp_path):
    config, run = folder / "log.toml", tmp_path / "run"
    heard = []
    result = fw.train(fw.load_config(config), run, listen=heard.append)
    alone = fw.train(fw.load_config(config, ["model.kind=lr"]), tmp_path / "lr")
    assert (result.model, result.kept, result.best_epoch) == ("lc-dnn", "lr", 0)
    assert (result.valid, result.test, result.l2) == (alone.valid, alone.test, alone.l2)
    assert fw.open_bundle(run).model["kind"] == "lr"
    assert sum("LR is kept" in getattr(event, "text", "") for event in heard) == 1
    again = fw.evaluate(run, folder / "log.parquet").metrics
    assert again == fw.evaluate(tmp_path / "lr", folder / "log.parquet").metrics
    shown = CliRunner().invoke(main, ["train", str(config), "--out", str(run), "--quiet"], catch_exceptions=False)
    saved = f"LR ({alone.parameters} parameters) was saved: nothing was better on valid beyond noise"
    assert saved in shown.output
    assert shown.output.count("parameters") == 1, "those of the network, which was not saved, are not among them"
    plain = CliRunner().invoke(main, ["train", str(config), "--out", str(run), "--quiet", "--json"])
    assert json.loads(plain.stdout)["kept"] == "lr"


def test_a_network_that_is_better_is_kept(tmp_path):
    """Of a truth that no sum over features can tell."""
    path = make_synth(tmp_path, SynthOptions(rows=8_000, fields=4, features=40, best_auc=0.9, seed=2))
    config = fw.load_config(path, ["model.kind=lc-dnn", "model.units=4", "train.epochs=8", "train.batch_size=128"])
    result = fw.train(config, tmp_path / "run")
    lr = fw.train(msgspec.structs.replace(config, model=fw.ModelConfig(kind="lr")), tmp_path / "lr")
    assert result.valid.auc > lr.valid.auc
    assert result.kept is None
    assert result.best_epoch > 0
    assert fw.open_bundle(tmp_path / "run").model["kind"] == "lc-dnn"


@given(st.integers(1, 10_000), st.integers(1, 100), st.integers(1, 2000), st.integers(1, 9))
def test_looks_take_a_twentieth_of_the_time_at_most(train_batches, size, num_valid, patience):
    class Counted(Batches):
        def __init__(self, num_examples, num_batches):
            self.num_examples, self.num_batches = num_examples, num_batches

    train, valid = Counted(train_batches * size, train_batches), Counted(num_valid, 1)
    found = looks(train, valid, patience)
    assert found == sorted(set(found))
    assert all(0 < position < train_batches for position in found)
    assert len(found) * num_valid / 3 <= 0.05 * (patience + 1) * train.num_examples
