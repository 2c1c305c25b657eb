"""Comparing: seeds, and differences in pairs."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.logs import FIELDS, QUICK, make_table

import fieldwise as fw
from fieldwise.cli.comparison import print_first
from fieldwise.data.batches import Batches
from fieldwise.events import Outlook, StageStart
from fieldwise.metrics import delong
from fieldwise.models.load import load_model
from fieldwise.training.score import predict_batches

DATA = '[data]\ntrain = "log.parquet"\nvalid = 0.2\ntest = 0.3\nlabel = "click"\n'


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    pa.parquet.write_table(make_table(), folder / "log.parquet")
    text = DATA + 'group = "session"\n' + FIELDS + QUICK
    return fw.parse_config(text, base=folder, overrides=["train.epochs=25", "train.patience=5"])


@pytest.fixture(scope="module")
def compared(config):
    stages = Counter()

    def listen(event):
        if isinstance(event, StageStart) and event.name == "train":
            stages[event.model] += 1

    models = ["lr", "dnn", "lc-dnn"]
    out = config.base + "/runs"
    return out, models, fw.compare(config, out, models=models, seeds=2, listen=listen), stages


def test_every_model_is_trained_once_per_seed_the_start_of_the_others_included(compared):
    _, _, comparison, stages = compared
    assert comparison.seeds == [0, 1]
    assert stages == {"lr": 2, "dnn": 2, "lc-dnn": 2}
    assert [spread.model for spread in comparison.spreads] == ["lr", "dnn", "lc-dnn-2"]
    assert all(spread.deviation["test"]["auc"] >= 0 for spread in comparison.spreads)


def test_what_is_done_is_not_done_again_and_one_more_seed_costs_only_itself(config, compared):
    out, models, comparison, _ = compared
    events = []
    again = fw.compare(config, out, models=models, seeds=2, listen=events.append)
    assert again == comparison
    assert not [event for event in events if isinstance(event, StageStart)]
    more = fw.compare(config, out, models=["lr"], seeds=3, listen=events.append)
    assert [event.model for event in events if isinstance(event, StageStart) and event.name == "train"] == ["lr"]
    assert more.models == comparison.models[:1]


def test_the_differences_are_those_of_saved_models_on_the_test_rows(config, compared):
    out, _, comparison, _ = compared
    cache = fw.prepare(config).parts["test"]
    labels = cache.gather(np.arange(cache.num_examples)).labels
    best = comparison.against
    assert best == max(comparison.spreads, key=lambda spread: spread.mean["valid"]["auc"]).model

    def of_model(name, seed):
        folder = f"{out}/{name}" if seed == 0 else f"{out}/seed-1/{name}"
        batches = (examples.batch for examples in Batches(cache, 100, shuffle=False).epoch(0))
        return np.concatenate(list(predict_batches(load_model(fw.open_bundle(folder)), batches)))

    for found in comparison.differences:
        if found.metric == "auc":
            expected = [delong(labels, of_model(found.model, s), of_model(best, s)) for s in (0, 1)]
            assert found.difference == pytest.approx(np.mean([each.difference for each in expected]))
            assert found.standard_error >= 0.5 * min(each.standard_error for each in expected)
            if found.model == "dnn":  # LC-DNN may have kept the logistic regression that it started from
                assert found.low < found.difference < found.high
            assert found.corrected_p_value >= found.p_value
            assert (found.verdict == "not distinguishable") == (found.corrected_p_value >= 0.05)
    assert {found.metric for found in comparison.differences} == {"auc", "logloss", "gauc"}


def test_more_than_two_classes_and_weights_are_compared_by_resampling(tmp_path):
    pa.parquet.write_table(make_table(1500, classes=("a", "b", "c")), tmp_path / "log.parquet")
    text = DATA + 'weight = "weight"\n' + FIELDS + QUICK
    comparison = fw.compare(
        fw.parse_config(text, base=tmp_path, overrides=["train.epochs=25"]),
        tmp_path / "runs",
        models=["lr", "dnn"],
        against="lr",
    )
    assert {(found.metric, found.method) for found in comparison.differences} == {
        ("auc", "bootstrap"), ("logloss", "bootstrap")
    }  # fmt: skip
    assert comparison.models[1].test.auc > 0.6


@pytest.fixture(scope="module")
def staged(config, tmp_path_factory):
    """A comparison of models with and without pairs, what it said on the way, and its folder."""
    out, said = tmp_path_factory.mktemp("staged"), []
    short = msgspec.structs.replace(
        config,
        train=msgspec.structs.replace(config.train, epochs=1),
        pretrain=msgspec.structs.replace(config.pretrain, epochs=1),
    )
    models = ["lc-dnn", "lr", "lc-dnn:1"]

    def again():
        said.clear()
        fw.compare(
            short, out, models=models, listen=said.append, show=lambda first, waiting: said.append((first, waiting))
        )
        return list(said)

    return fw.compare(short, out, models=models, listen=said.append,
                      show=lambda first, waiting: said.append((first, waiting))), list(said), again  # fmt: skip


def test_models_without_pairs_come_first_and_are_shown_before_the_others_begin(staged):
    comparison, said, _ = staged
    order = [event if isinstance(event, tuple) and not isinstance(event, StageStart) else event.model
             for event in said
             if type(event) is tuple or (isinstance(event, StageStart) and event.name == "train")]  # fmt: skip
    assert order[:2] == ["lr", "lc-dnn"]
    (first, waiting), *rest = order[2:]
    assert rest == ["lc-dnn"]
    assert [(model.model, model.units) for model in first.models] == [("lr", None), ("lc-dnn", 1)]
    assert waiting == ["lc-dnn-2"]
    assert first.differences == []
    # The last table is in the order that was asked for, and says of the first models what was said before.
    assert [(model.model, model.units) for model in comparison.models] == [("lc-dnn", 2), ("lr", None), ("lc-dnn", 1)]
    assert comparison.models[1:] == first.models


def test_what_is_to_come_is_said_with_about_how_long_it_takes(staged):
    _, said, again = staged
    (outlook,) = [event for event in said if isinstance(event, Outlook)]
    assert (outlook.first, outlook.later) == (("lr", "lc-dnn-1"), ("lc-dnn-2",))
    for part, whole in zip(outlook.until_first, outlook.until_all, strict=True):
        assert 0 < part < whole < 600
    assert outlook.until_all.least <= outlook.until_all.most
    assert not [event for event in again() if isinstance(event, Outlook)]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"models": ["lr"], "against": "dnn"}, "add it to --models"),
        ({"models": ["lc-dn"]}, "did you mean lc-dnn"),
        ({"models": ["lr"], "seeds": 0}, "1 seed or more"),
        ({"models": ["lr"], "level": 1.0}, "level"),
    ],
)
def test_what_cannot_be_compared_is_refused(config, tmp_path, asked, says):
    with pytest.raises(fw.ConfigError, match=says):
        fw.compare(config, tmp_path / "runs", **asked)


def test_the_first_table_says_what_is_still_to_come(staged, capsys):
    first, waiting = next(event for event in staged[1] if type(event) is tuple)
    print_first(first, waiting)
    printed = capsys.readouterr().out
    assert printed.startswith("First 2 of 3 models: AUC and logloss")
    assert "LC-DNN, K = 1" in printed
    assert f"{first.models[0].test.auc:.4f}" in printed
    assert "Remaining: lc-dnn-2" in printed
