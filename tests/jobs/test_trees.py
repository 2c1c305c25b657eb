"""Trees stacked with a model, for comparison."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fieldwise as fw
from fieldwise.cli.result import print_result
from fieldwise.distributed.world import ALONE
from fieldwise.errors import ConfigError
from fieldwise.jobs.train import trees

SETTINGS = """
[data]
train = ["log.parquet"]
label = "click"
split = "split"
[model]
kind = "lc-dnn"
units = 4
hidden = [8]
[train]
epochs = 2
threads = 1
trees = "lightgbm"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log whose labels follow two of its fields."""
    folder = tmp_path_factory.mktemp("trees")
    rng = np.random.default_rng(0)
    count = 2000
    one, two, three = (rng.integers(0, size, count) for size in (6, 6, 40))
    click = (rng.random(count) < np.where((one < 2) | (two < 2), 0.85, 0.15)).astype(int)
    split = rng.choice(["train", "valid", "test"], count, p=[0.6, 0.2, 0.2])
    columns = {name: [f"{value}" for value in each] for name, each in zip("abc", (one, two, three), strict=True)}
    pq.write_table(pa.table({**columns, "click": click, "split": split}), folder / "log.parquet")
    (folder / "c.toml").write_text(SETTINGS)
    return folder


def test_a_stack_with_trees_is_told_and_not_saved(folder, capsys):
    pytest.importorskip("lightgbm")
    config = fw.load_config(folder / "c.toml", ['fields.a.type="category"', 'fields.b.type="category"'])
    result = fw.train(config, folder / "with")
    stack = result.with_trees
    assert stack.model.endswith("+lightgbm")
    assert [each.model for each in stack.members][-1] == "lightgbm"
    of_trees = stack.members[-1]
    assert of_trees.test.auc > 0.7
    assert stack.valid.logloss <= min(each.valid.logloss for each in stack.members) + 1e-3
    assert stack.valid.auc - of_trees.auc_lost == pytest.approx(result.valid.auc, abs=5e-3)
    without = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, trees="none"))
    plain = fw.train(without, folder / "without")
    assert plain.with_trees is None
    assert (plain.test.auc, plain.test.logloss) == (result.test.auc, result.test.logloss)
    again = fw.train(config, folder / "with")
    assert again.with_trees.test.auc == stack.test.auc
    print_result(result, folder / "c.toml", config)
    assert "cannot be served or updated" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("override", "says"),
    [("data.split=", "no validation rows"), ("train.negative_rate=0.5", "negative_rate leaves examples out")],
)
def test_what_has_no_stack_with_trees_says_why(folder, override, says, monkeypatch):
    monkeypatch.setattr(trees, "find_spec", lambda name: name)
    config = fw.load_config(folder / "c.toml", [override] if "=0" in override else [])
    if override == "data.split=":
        config = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, split=None, valid=None))
    with pytest.raises(ConfigError, match=says):
        fw.train(config, folder / "refused")


def test_a_missing_library_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(trees, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"(?s)LightGBM is not installed.*fieldwise\[trees\]"):
        fw.train(fw.load_config(folder / "c.toml"), folder / "refused")


def test_a_comparison_has_no_trees(folder):
    with pytest.raises(ConfigError, match="compare has no stack with trees"):
        fw.compare(fw.load_config(folder / "c.toml"), folder / "compared")


@pytest.mark.parametrize(("preset", "count"), [("best", 1), ("default", 0)])
def test_the_preset_best_names_the_trees_that_it_does_not_train(folder, preset, count):
    config = fw.load_config(folder / "c.toml", ['train.trees="none"', f'train.preset="{preset}"'])
    heard = []
    trees.check_trees(config, fw.prepare(config), ALONE, heard.append)
    assert sum("train.trees" in event.text for event in heard) == count
