"""From a raw log to probabilities, through the functions that the command line calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from tests.logs import QUICK, config_text, make_table, write

import fieldwise as fw


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return make_table()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table) -> Path:
    """A folder with the log, its test rows apart, a configuration and a finished run."""
    folder = tmp_path_factory.mktemp("log")
    write(table, folder / "log.parquet")
    write(rows_of(table, "test"), folder / "test.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet"))
    fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    return folder


def rows_of(table: pa.Table, part: str) -> pa.Table:
    return table.filter(pa.compute.equal(table["split"], part))


def train_on(folder: Path, text: str, name: str = "run") -> fw.Result:
    (folder / f"{name}.toml").write_text(text)
    return fw.train(fw.load_config(folder / f"{name}.toml"), folder / name)


def test_a_trained_model_beats_chance_by_far_on_rows_it_never_saw(folder):
    result = fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    assert result.test.auc > 0.75
    assert result.test.num_examples == pa.parquet.read_table(folder / "test.parquet").num_rows
    assert result.parameters > 0
    assert result.pretrain_seconds > 0


def test_the_saved_model_says_of_raw_rows_what_training_said_of_the_cache(folder):
    result = fw.train(fw.load_config(folder / "fieldwise.toml"), folder / "run")
    evaluation = fw.evaluate(folder / "run", folder / "test.parquet")
    assert evaluation.metrics.auc == pytest.approx(result.test.auc, abs=1e-6)
    assert evaluation.metrics.logloss == pytest.approx(result.test.logloss, abs=1e-6)
    assert evaluation.rejected_rows == 0


def test_predictions_carry_the_row_and_are_what_evaluate_measures(folder, table):
    summary = fw.predict(folder / "run", folder / "test.parquet", folder / "out" / "p.parquet")
    predicted = pa.parquet.read_table(folder / "out" / "p.parquet")
    labels = rows_of(table, "test")["click"].to_numpy()
    assert predicted.column_names == ["row", "probability"]
    assert predicted["row"].to_pylist() == list(range(1, len(labels) + 1))
    assert summary.examples == len(labels)
    metrics = fw.evaluate(folder / "run", folder / "test.parquet").metrics
    p = predicted["probability"].to_numpy().astype(float)
    assert metrics.auc == pytest.approx(roc_auc_score(labels, p), abs=1e-9)
    assert metrics.logloss == pytest.approx(log_loss(labels, p), abs=1e-9)


def test_a_fresh_process_gives_the_same_probabilities_bit_for_bit(folder):
    fw.predict(folder / "run", folder / "test.parquet", folder / "here.parquet")
    code = "import sys, fieldwise as fw; fw.predict(*sys.argv[1:])"
    arguments = [str(folder / name) for name in ("run", "test.parquet", "there.parquet")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    here, there = (pa.parquet.read_table(folder / f"{name}.parquet")["probability"] for name in ("here", "there"))
    assert here.to_numpy().tobytes() == there.to_numpy().tobytes()
    predictor = fw.Predictor(folder / "run")
    rows = pa.parquet.read_table(folder / "test.parquet")
    np.testing.assert_allclose(predictor.predict(rows), here.to_numpy(), rtol=0, atol=1e-6)


def test_a_bundle_copied_elsewhere_predicts_alike(folder):
    fw.Predictor(folder / "run").save(folder / "copy")
    rows = pa.parquet.read_table(folder / "test.parquet")
    here, there = (fw.Predictor(folder / name).predict(rows) for name in ("run", "copy"))
    assert here.tobytes() == there.tobytes()


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv"])
def test_a_model_trained_on_parquet_reads_the_same_rows_from_text(folder, ending):
    rows = pa.parquet.read_table(folder / "test.parquet")
    path = folder / f"test.{ending}"
    if ending == "tsv":
        pa.csv.write_csv(rows, path, pa.csv.WriteOptions(delimiter="\t"))
    else:
        with pa.output_stream(path) as stream:
            pa.csv.write_csv(rows, stream)
    for name in ("parquet", ending):
        fw.predict(folder / "run", folder / f"test.{name}", folder / f"from-{name}.csv")
    assert (folder / "from-parquet.csv").read_bytes() == (folder / f"from-{ending}.csv").read_bytes()


def test_training_on_text_gives_the_model_that_training_on_parquet_gives(tmp_path, table):
    results = []
    for ending in ("parquet", "csv"):
        write(table, tmp_path / f"log.{ending}")
        results.append(train_on(tmp_path, config_text(f"log.{ending}"), ending))
    assert results[0].test == results[1].test


def test_values_never_seen_and_missing_ones_have_a_probability(folder):
    rows = pa.table(
        {
            "user": ["never seen", None],
            "item": [10**9, None],
            "price": [1e12, None],
            "age": [200, None],
            "tags": ["x|y", None],
        }
    )
    p = fw.Predictor(folder / "run").predict(rows)
    assert np.isfinite(p).all()
    assert ((p > 0) & (p < 1)).all()


def test_a_row_that_cannot_be_read_is_reported_and_no_other_is_lost(folder):
    (folder / "bad.csv").write_text("user,item,price,age,tags\nu1,3,cheap,30,t1\nu2,4,1.5,31,t2\nu3,4\n")
    summary = fw.predict(folder / "run", folder / "bad.csv", folder / "bad-out.csv")
    assert (summary.examples, summary.rejected_rows) == (1, 2)
    assert (folder / "bad-out.csv").read_text().splitlines()[1].startswith("2,")
    rejects = [json.loads(line) for line in Path(summary.rejects).read_text().splitlines()]
    assert sorted((line["row"], line["column"]) for line in rejects if line["column"]) == [(1, "price")]
    assert 3 in [line["row"] for line in rejects]


def test_more_than_two_classes_have_a_probability_each(tmp_path):
    classes = ("buy", "leave", "wait")
    write(make_table(classes=classes), tmp_path / "log.parquet")
    for kind in ("lr", "dnn", "lc-dnn", "lc-wide-deep", "lc-resnet"):
        config = fw.parse_config(config_text("log.parquet"), base=tmp_path, overrides=[f"model.kind={kind}"])
        result = fw.train(config, tmp_path / kind)
        assert result.test.auc > 0.65, kind
        assert result.test.accuracy > 0.36, kind
    p = fw.Predictor(tmp_path / "lc-dnn").predict(make_table(50, classes=classes))
    assert p.shape == (50, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    fw.predict(tmp_path / "lc-dnn", make_table(50, classes=classes), tmp_path / "p.parquet")
    written = pa.parquet.read_table(tmp_path / "p.parquet")
    assert written.column_names == ["row", "probability_buy", "probability_leave", "probability_wait"]
    np.testing.assert_allclose(np.stack(written.columns[1:], axis=1), p, rtol=0, atol=1e-6)


def test_weights_groups_and_identifiers_travel_from_the_log_to_the_results(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    data = 'split = "split"\nweight = "weight"\ngroup = "session"\nid = "impression"'
    text = config_text("log.parquet", data).replace('exclude = ["weight", "session", "impression"]\n', "")
    result = train_on(tmp_path, text)
    test = rows_of(table, "test")
    assert result.test.sum_weights == pytest.approx(np.float32(test["weight"].to_numpy()).sum(dtype=float), rel=1e-6)
    assert 0.5 < result.test.gauc < 1
    fw.predict(tmp_path / "run", test, tmp_path / "p.parquet")
    written = pa.parquet.read_table(tmp_path / "p.parquet")
    assert written["impression"].to_pylist() == test["impression"].to_pylist()
    p = fw.Predictor(tmp_path / "run").predict(test)
    np.testing.assert_allclose(written["probability"], p, rtol=0, atol=1e-6)
    expected = roc_auc_score(test["click"].to_numpy(), p, sample_weight=np.float32(test["weight"].to_numpy()))
    assert result.test.auc == pytest.approx(expected, abs=1e-6)


def test_a_share_of_the_rows_is_set_aside(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    text = config_text("log.parquet", "valid = 0.2\ntest = 0.1").replace('"impression"]', '"impression", "split"]')
    config = fw.parse_config(text, base=tmp_path)
    prepared = fw.prepare(config)
    sizes = {part: cache.num_examples for part, cache in prepared.parts.items()}
    assert sum(sizes.values()) == table.num_rows
    assert abs(sizes["valid"] / table.num_rows - 0.2) < 0.03
    assert abs(sizes["test"] / table.num_rows - 0.1) < 0.03


def test_parts_can_be_files_of_their_own(tmp_path, table):
    for part in ("train", "valid", "test"):
        write(rows_of(table, part), tmp_path / f"{part}.parquet")
    data = 'valid = ["valid.parquet"]\ntest = "test.parquet"'
    text = config_text("train.parquet", data).replace('"impression"]', '"impression", "split"]')
    by_path = train_on(tmp_path, text)
    write(table, tmp_path / "log.parquet")
    by_column = train_on(tmp_path, config_text("log.parquet"), "column")
    assert by_path.test == by_column.test


def test_libsvm_logs_are_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(2000):
        ids = sorted(set(rng.integers(1, 60, 6).tolist()))
        label = int(rng.random() < 1 / (1 + np.exp(-(sum(i % 7 - 3 for i in ids)))))
        lines.append(f"{label} " + " ".join(f"{i}:1" for i in ids))
    (tmp_path / "log.libsvm").write_text("\n".join(lines) + "\n")
    text = f'[data]\ntrain = "log.libsvm"\nlabel = "label"\nvalid = 0.2\ntest = 0.2\n{QUICK}'
    assert train_on(tmp_path, text).test.auc > 0.8


def test_a_finished_run_is_left_alone_and_another_configuration_refused(folder):
    config = fw.load_config(folder / "fieldwise.toml")
    first = (folder / "run" / "run.json").read_bytes()
    assert fw.train(config, folder / "run").epochs == 3
    assert (folder / "run" / "run.json").read_bytes() == first
    other = fw.load_config(folder / "fieldwise.toml", ["train.epochs=2"])
    with pytest.raises(fw.ConfigError, match=r"train.epochs: 3 there, 2 now"):
        fw.train(other, folder / "run")
    assert fw.train(other, folder / "again").epochs == 2
    assert fw.train(config, folder / "again", overwrite=True).epochs == 3


def test_an_unchanged_log_is_prepared_once_and_a_changed_one_anew(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet"), base=tmp_path)
    first = fw.prepare(config)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    again = fw.prepare(config)
    assert {path: path.stat().st_mtime_ns for path in again.folder.rglob("*")} == before
    write(table.slice(100), tmp_path / "log.parquet")
    assert fw.prepare(config).folder != first.folder


def test_columns_that_tell_nothing_are_left_out_and_reported(tmp_path, table):
    num_rows = len(table)
    useless = {"constant": ["x"] * num_rows, "empty": pa.nulls(num_rows), "row": pa.array(range(num_rows))}
    for name, values in useless.items():
        table = table.append_column(name, pa.array(values))
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet"), base=tmp_path)
    for _ in range(2):  # when it is made, and when it is found
        summary = fw.prepare(config).summary
        assert {name: summary["left_out"][name] for name in useless} == {
            "constant": "the same in every row: 'x'",
            "empty": "no value in any row",
            "row": "a different value in every row: a row identifier",
        }
        assert not set(useless) & {field["name"] for field in summary["fields"]}


def test_times_defaults_and_weights_beside_reach_the_predictions_alike(tmp_path, table):
    num_rows = len(table)
    rng = np.random.default_rng(0)
    seconds = 1_700_000_000 + rng.integers(0, 10**6, num_rows)
    tags = [cell.split("|") if cell else [] for cell in table["tags"].to_pylist()]
    table = table.set_column(table.column_names.index("tags"), "tags", [tags])
    table = table.append_column("time", pa.array(seconds, pa.timestamp("s")))
    table = table.append_column("joined", pa.array(seconds - rng.integers(0, 10**7, num_rows), pa.timestamp("s")))
    table = table.append_column("tag_weights", pa.array([[len(tag) / 2 for tag in cell] for cell in tags]))
    text = config_text("log.parquet").replace("[fields.age]", "[fields.age]\ndefault = 30")
    text = text.replace("[fields.tags]", '[fields.tags]\nweights = "tag_weights"\nmax_length = 2')
    text += '[fields.account_age]\ntype = "time"\npart = "age"\ncolumn = "time"\nsince = "joined"\nbins = 4\n'
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(text, base=tmp_path)
    fields = {field["name"]: field["type"] for field in fw.prepare(config).summary["fields"]}
    assert {name for name, kind in fields.items() if kind == "time"} >= {"time_hour", "time_weekday", "account_age"}
    fw.train(config, tmp_path / "run")
    fw.predict(tmp_path / "run", tmp_path / "log.parquet", tmp_path / "a.parquet")
    rewritten = table.set_column(table.column_names.index("time"), "time", pa.array(seconds * 1000))
    assert table["age"].null_count == 0
    gone = pa.compute.if_else(pa.compute.equal(table["age"], 30), None, table["age"])
    write(rewritten.set_column(table.column_names.index("age"), "age", gone), tmp_path / "again.parquet")
    fw.predict(tmp_path / "run", tmp_path / "again.parquet", tmp_path / "b.parquet")
    one, other = (pa.parquet.read_table(tmp_path / name)["probability"] for name in ("a.parquet", "b.parquet"))
    assert one.equals(other)


def test_a_finished_run_on_a_log_that_changed_since_is_refused(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet"), base=tmp_path, overrides=["model.kind=lr"])
    fw.train(config, tmp_path / "run")
    write(table.slice(100), tmp_path / "log.parquet")
    with pytest.raises(fw.ConfigError, match="log: "):
        fw.train(config, tmp_path / "run")


def test_compare_trains_each_model_once_on_one_preparation(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet"), base=tmp_path)
    models = ["lr", "dnn", "lc-dnn:1", "lc-dnn", "lc-dnn:2", "lc-wide-deep:1", "lc-resnet"]
    comparison = fw.compare(config, tmp_path / "runs", models=models)
    named = [(model.model, model.units) for model in comparison.models]
    assert named == [
        ("lr", None), ("dnn", None), ("lc-dnn", 1), ("lc-dnn", 2), ("lc-wide-deep", 1), ("lc-resnet", 2)
    ]  # fmt: skip
    assert all(model.test.auc > 0.7 for model in comparison.models)
    plain = json.loads(json.dumps(comparison.as_dict()))
    keys = {"model", "units", "parameters", "valid", "test", "pretrain_seconds", "seconds_per_epoch", "epochs"}
    assert keys < set(plain["models"][0])
    assert plain["models"][0]["pretrain_seconds"] is None
    again = fw.compare(config, tmp_path / "runs", models=["lr", "lc-dnn:4"])
    assert again.models[0] == comparison.models[0]
    with pytest.raises(fw.ConfigError, match="lc-dnn"):
        fw.compare(config, tmp_path / "runs", models=["lc-dmn"])


def test_training_again_gives_the_same_model_to_the_last_bit(tmp_path, table):
    write(table, tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet"), base=tmp_path)
    results = [fw.train(config, tmp_path / name) for name in ("one", "two")]
    assert results[0].test == results[1].test
    files = [sorted((tmp_path / name / "bundle").glob("*.safetensors")) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"label": "clik"}, fw.UserError, "click"),
        ({"label": "constant"}, fw.DataError, "class"),
        ({"train": ["missing.parquet"]}, fw.DataError, "missing.parquet"),
        ({"train": ["empty.csv"]}, fw.DataError, "empty.csv"),
        ({"train": ["text.parquet"]}, fw.DataError, "text.parquet"),
    ],
)
def test_wrong_input_is_named(tmp_path, table, change, error, says):
    write(table.append_column("constant", pa.array([1] * table.num_rows)), tmp_path / "log.parquet")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "text.parquet").write_text("this is no Parquet file, whatever its name says\n" * 10)
    data = {"train": ["log.parquet"], "label": "click", "valid": 0.2, **change}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in data.items())
    with pytest.raises(error, match=says):
        fw.train(fw.parse_config(f"[data]\n{lines}\n{QUICK}", base=tmp_path), tmp_path / "run")


def test_a_label_outside_the_classes_is_rejected_with_its_row(folder, table):
    rows = rows_of(table, "test").slice(0, 50).drop_columns(["click"])
    write(rows.append_column("click", pa.array([0, 1] * 24 + [7, None])), folder / "labels.parquet")
    evaluation = fw.evaluate(folder / "run", folder / "labels.parquet")
    assert evaluation.rejected_rows == 2
    assert evaluation.metrics.num_examples == 48


def test_a_log_of_one_class_is_evaluated_as_far_as_it_goes(folder, table):
    rows = rows_of(table, "test")
    write(rows.filter(pa.compute.equal(rows["click"], 1)), folder / "ones.parquet")
    metrics = fw.evaluate(folder / "run", folder / "ones.parquet").metrics
    assert metrics.auc is None
    assert "auc" in metrics.undefined
    assert metrics.logloss > 0


def test_damage_to_a_bundle_is_noticed(folder, table):
    for name in ("table", "dense", "encoder", "network", "manifest"):
        copy = folder / f"damaged-{name}"
        fw.Predictor(folder / "run").save(copy)
        [path] = copy.glob(f"{name}*")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(fw.ArtefactError, match=path.name):
            fw.Predictor(copy).predict(table)  # a block of the table is verified when a row of it is asked for
    with pytest.raises(fw.ArtefactError, match="no saved model"):
        fw.Predictor(folder)


def test_every_public_name_is_there_and_listed():
    assert set(fw.__all__) == {name for names in fw._HOMES.values() for name in names}
    for name in fw.__all__:
        assert getattr(fw, name).__doc__
    with pytest.raises(AttributeError):
        fw.nothing  # noqa: B018
