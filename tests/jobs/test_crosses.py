"""``data.crosses``: listed, found, or none; and ``check --crosses``, which shows what each adds."""

import json

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.jobs.prepare.crosses import CROSSES_NAME
from fieldwise.jobs.prepare.prepare import find_prepared, prepare
from fieldwise.training.config import SamplerConfig

LR = fw.ModelConfig(kind="lr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A log whose clicks follow place x hour, and an ad alone."""
    folder = tmp_path_factory.mktemp("crosses")
    rng = np.random.default_rng(0)
    place, hour, ad = (rng.integers(0, size, 30_000) for size in (12, 10, 30))
    logits = rng.normal(0, 1, (12, 10))[place, hour] + rng.normal(0, 0.3, 30)[ad] - 1
    table = pa.table(
        {
            "click": (rng.random(30_000) < 1 / (1 + np.exp(-logits))).astype(int),
            "place": [f"p{each}" for each in place],
            "hour_of": [f"h{each}" for each in hour],
            "ad": [f"a{each}" for each in ad],
            "tags": [[f"t{each % 3}"] for each in ad],
        }
    )
    pq.write_table(table, folder / "log.parquet")
    return folder


def config(folder, crosses, **fields):
    data = fw.DataConfig(train="log.parquet", label="click", valid=0.1, test=0.2, crosses=crosses)
    return fw.Config(data=data, model=LR, fields=fields, base=str(folder))


def test_a_cross_that_is_found_makes_the_model_better_and_travels_with_it(folder, tmp_path):
    alone, found = (fw.train(config(folder, crosses), tmp_path / str(crosses)) for crosses in ("none", "auto"))
    assert found.test.auc > alone.test.auc + 0.05
    names = [field.name for field in fw.open_bundle(tmp_path / "auto").encoder.schema.fields]
    assert names[-1] == "place_x_hour_of"
    again = fw.evaluate(tmp_path / "auto", folder / "log.parquet").metrics
    assert again.auc > alone.test.auc + 0.05


def test_it_is_looked_for_once_and_is_what_a_list_would_make(folder):
    heard = []
    first = prepare(config(folder, "auto"), listen=heard.append)
    again = prepare(config(folder, "auto"), listen=heard.append)
    assert sum("place x hour_of" in getattr(event, "text", "") for event in heard) <= 1
    listed = prepare(config(folder, (("place", "hour_of"),)))
    assert first.folder == again.folder == listed.folder
    assert find_prepared(config(folder, "auto")).folder == first.folder
    assert (prepare(config(folder, "none")).folder / CROSSES_NAME).exists()


def test_a_table_of_its_own_says_more_of_a_listed_cross(folder):
    prepared = prepare(config(folder, (("place", "ad"),), place_x_ad=fw.FieldConfig(cross=("place", "ad"), buckets=64)))
    [cross] = [field for field in prepared.encoder.schema.fields if field.type == "cross"]
    assert (cross.name, cross.buckets) == ("place_x_ad", 64)


def test_a_listed_cross_of_a_column_that_is_not_there_is_an_error(folder):
    with pytest.raises(fw.UserError, match=r"(?s)plcae.*did you mean place"):
        prepare(config(folder, (("plcae", "ad"),)))


def test_a_label_of_three_classes_is_not_searched(folder, tmp_path):
    table = pq.read_table(folder / "log.parquet")
    table = table.set_column(0, "click", pa.array(np.arange(len(table)) % 3))
    pq.write_table(table, tmp_path / "log.parquet")
    prepared = prepare(config(tmp_path, "auto"))
    assert [field.type for field in prepared.encoder.schema.fields].count("cross") == 0


def test_check_shows_what_each_cross_adds_and_how_to_train_with_it(folder, tmp_path):
    toml = folder / "clicks.toml"
    toml.write_text('data = { train = "log.parquet", label = "click", valid = 0.1, test = 0.2 }\n')
    shown = CliRunner().invoke(main, ["check", str(toml), "--crosses", "--quiet"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert 'crosses = [["place", "hour_of"]]' in shown.output
    plain = CliRunner().invoke(main, ["check", str(toml), "--crosses", "--quiet", "--json"], catch_exceptions=False)
    crosses = json.loads(plain.stdout)["crosses"]
    assert [cross["fields"] for cross in crosses["crosses"]] == [["place", "hour_of"]]
    assert crosses["fields_left_out"] == {"tags": "bags are not combined"}
    assert crosses["logloss"][1] < crosses["logloss"][0]


def test_damage_to_what_was_found_is_seen(folder):
    prepare(config(folder, "auto"))
    path = prepare(config(folder, "none")).folder / CROSSES_NAME
    whole = path.read_bytes()
    try:
        path.write_bytes(whole.replace(b"hour_of", b"hour-of"))
        assert fw.verify(path.parent).damages
        with pytest.raises(fw.ArtefactError, match="damaged"):
            prepare(config(folder, "auto"))
    finally:
        path.write_bytes(whole)
    assert not fw.verify(path.parent).damages


@pytest.mark.parametrize("kind", ["lc-dnn", "lc-wide-deep", "lc-dnn+bayesian-fm"])
def test_the_network_does_not_read_crosses_and_its_linear_part_does(folder, tmp_path, kind):
    model = fw.ModelConfig(kind=kind, units=4, hidden=(8,), factors=2)
    train = (
        fw.TrainConfig(epochs=2, stop_on="pr_auc", sampler=SamplerConfig(sweeps=6, burn_in=2))
        if "+" in kind
        else fw.TrainConfig(epochs=2)
    )  # not AUC, by whose noise a stack of so few sweeps gives way to LR
    alone, crossed = (
        fw.train(msgspec.structs.replace(config(folder, crosses), model=model, train=train), tmp_path / str(number))
        for number, crosses in enumerate(["none", "auto"])
    )
    dense = [fw.open_bundle(tmp_path / str(number)).dense for number in range(2)]
    shapes = [sorted(array.shape for name, array in arrays.items() if ".network." in name) for arrays in dense]
    assert shapes[0] == shapes[1]
    assert crossed.test.auc > alone.test.auc - 0.002
    rows = fw.open_bundle(tmp_path / "1").encoder.layout.base
    assert fw.open_bundle(tmp_path / "1").table[rows[-2] :, :].any()
    predictions = fw.evaluate(tmp_path / "1", folder / "log.parquet").metrics
    assert predictions.auc > alone.test.auc - 0.002


def test_any_field_can_be_linear(folder, tmp_path):
    fields = {"ad": fw.FieldConfig(linear=True)}
    fw.train(
        msgspec.structs.replace(
            config(folder, "none", **fields), model=fw.ModelConfig(kind="lc-dnn", units=1, hidden=(8,))
        ),
        tmp_path / "run",
    )
    bundle = fw.open_bundle(tmp_path / "run")
    [first] = [
        array for name, array in bundle.dense.items() if array.shape == (8, len(bundle.encoder.schema.fields) - 1)
    ]
    assert first.any()


def test_a_given_log_in_which_crosses_were_not_looked_for_is_said_and_one_in_which_they_were_is_not(folder, tmp_path):
    heard = []
    plain, searched = (prepare(config(folder, crosses)) for crosses in ("none", "auto"))
    elsewhere = plain._replace(folder=tmp_path)  # as where nobody has searched
    network = {"kind": "lc-dnn", "units": 1, "hidden": (4,)}  # and the logistic regression that it starts from
    auto = msgspec.structs.replace(config(folder, "auto"), model=fw.ModelConfig(**network))
    for name, given in (("plain", elsewhere), ("searched", searched)):
        fw.train(auto, tmp_path / name, prepared=given, listen=heard.append)
        warned = [event.text for event in heard if "crosses are not searched for" in getattr(event, "text", "")]
        assert len(warned) == 1, name
