"""A part that was asked for and has no rows, or cannot say when to stop, is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldwise as fw
from fieldwise.errors import ConfigError, DataError
from fieldwise.events import Warned

FAST = ["model.kind=lr", "pretrain.epochs=1", "train.epochs=1"]


def config_of(folder: Path, data: str, parts: list[str] | None = None, num_rows: int = 20, *more: str) -> fw.Config:
    parts = parts or ["train"] * num_rows
    rows = [f"{i % 2},a{i % 3},{part}\n" for i, part in enumerate(parts)]
    (folder / "log.csv").write_text("click,ad,part\n" + "".join(rows))
    (folder / "bad.csv").write_text("click,ad,part\n" + "1,a,b,c\n" * 7)
    (folder / "ones.csv").write_text("click,ad,part\n" + "1,a1,train\n" * 9)
    text = f'[data]\ntrain = "log.csv"\nlabel = "click"\n{data}\n[fields.ad]\n[fields.part]\nexclude = true\n'
    return fw.parse_config(text, base=folder, overrides=[*FAST, *more])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "valid = 0.0001",
            "there are no validation rows\n  where: data.valid = 0.0001\n(.|\n)*none of 20 rows of the log",
        ),
        ("test = 0.0001", "there are no test rows\n  where: data.test = 0.0001"),
        ('valid = "bad.csv"', "there are no validation rows\n(.|\n)*leave data.valid out: then all epochs are trained"),
        ('valid = "ones.csv"', "the validation rows hold one class only(.|\n)*got: 9 rows of class 1\n(.|\n)*logloss"),
    ],
)
def test_a_part_that_was_asked_for_and_has_no_rows_is_refused(tmp_path, data, message):
    config = config_of(tmp_path, data)
    with pytest.raises(DataError, match=message):
        fw.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a corrected configuration can be run there"
    with pytest.raises(DataError, match=message):
        fw.compare(config, tmp_path / "compared", models=["lr"])
    remarks = fw.prepare(config).read.remarks
    assert bool(remarks) == ("there are no" in message)


def test_without_validation_rows_in_a_split_training_says_that_the_last_epoch_is_kept(tmp_path):
    parts = ["train"] * 20 + ["holdout"] * 5 + ["prod", "", "dev"]
    config = config_of(tmp_path, 'split = "part"', parts)
    events: list[object] = []
    result = fw.train(config, tmp_path / "run", listen=events.append)
    said = [event.text for event in events if isinstance(event, Warned)]
    assert any("there are no validation rows: all epochs are trained" in text for text in said)
    assert (result.read.rows_used, result.read.rows_rejected) == (20, 8)
    [reason] = result.read.reasons
    assert (reason.column, reason.value, reason.rows, reason.row) == ("part", "holdout", 8, 21)
    assert "no row of the log is in valid, by its column part" in result.read.remarks


def test_a_validation_part_of_one_class_is_pointed_out_where_another_metric_stops(tmp_path):
    config = config_of(tmp_path, 'valid = "ones.csv"', None, 20, "train.stop_on=logloss")
    events: list[object] = []
    result = fw.train(config, tmp_path / "run", listen=events.append)
    said = [event.text for event in events if isinstance(event, Warned)]
    assert any("the validation rows (9) hold one class only: 1; their AUC is not defined" in text for text in said)
    assert result.valid.auc is None
    evaluated = fw.evaluate(tmp_path / "run", tmp_path / "ones.csv").metrics
    assert evaluated.auc is None
    assert "1" in evaluated.undefined["auc"]


def test_no_validation_rows_are_a_choice_where_nobody_asks_for_them(tmp_path):
    result = fw.train(config_of(tmp_path, ""), tmp_path / "run")
    assert (result.valid, result.read.remarks) == (None, [])


def test_a_file_that_two_parts_read_is_pointed_out(tmp_path):
    (tmp_path / "link.csv").symlink_to("log.csv")
    read = fw.prepare(config_of(tmp_path, 'valid = "link.csv"')).read
    assert [remark for remark in read.remarks if "log.csv is read for train and valid: " in remark]
    assert not fw.prepare(config_of(tmp_path, 'valid = "ones.csv"')).read.remarks


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('weight = "click"', r"the label cannot be the weight(.|\n)*data.weight"),
        ('group = "click"', "the label cannot be the group"),
        ('split = "click"', "the label cannot be the split"),
        ('id = "probability_1"', "reserved for predictions"),
    ],
)
def test_a_column_has_one_role(tmp_path, data, message):
    config = config_of(tmp_path, data)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    text = "".join(f"{row},{'probability_1' if number == 0 else number}\n" for number, row in enumerate(rows))
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(fw.UserError, match=message):
        fw.prepare(config)


@pytest.mark.parametrize("metric", ["gauc", "ndcg", "mrr", "hit_rate", "recall"])
def test_a_metric_of_groups_without_groups_is_refused_before_training(tmp_path, metric):
    config = config_of(tmp_path, "valid = 0.4", None, 60, f"train.stop_on={metric}")
    with pytest.raises(ConfigError, match="the metric to stop on is not defined") as refused:
        fw.train(config, tmp_path / "run")
    assert "data.group" in str(refused.value)
    grouped = config_of(tmp_path, 'valid = 0.4\ngroup = "ad"', None, 60, f"train.stop_on={metric}")
    assert getattr(fw.train(grouped, tmp_path / "grouped").valid, metric) is not None


@pytest.mark.parametrize(("part", "name"), [("train", "training"), ("valid", "validation"), ("test", "test")])
def test_a_part_whose_rows_all_have_a_weight_of_zero_is_refused(tmp_path, part, name):
    for each in ("train", "valid", "test"):
        weights = [0.0] * 6 if each == part else [0.0, 0.0, 0.5, 0.0, 1.0, 0.0]
        rows = [f"{i % 2},a{i % 3},{weight}\n" for i, weight in enumerate(weights)]
        (tmp_path / f"{each}.csv").write_text("click,ad,w\n" + "".join(rows))
    paths = 'train = "train.csv"\nvalid = "valid.csv"\ntest = "test.csv"\n'
    text = f'[data]\n{paths}label = "click"\nweight = "w"\n[fields.ad]\n'
    config = fw.parse_config(text, base=tmp_path, overrides=FAST)
    with pytest.raises(
        DataError, match=f"all weights of the {name} rows are zero\n(.|\n)*data.weight = w(.|\n)*6 rows"
    ):
        fw.train(config, tmp_path / "run")
