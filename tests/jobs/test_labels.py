"""From the label of a raw log to the class that a probability is of: said before training, and in every output."""

import json
import random
import tomllib

import pyarrow.parquet as pq
import pytest

import fieldwise as fw
from fieldwise.data.csv_cells import HEADER_LINE
from fieldwise.data.log import open_log
from fieldwise.jobs.init.sample import read_sample
from fieldwise.jobs.init.starter import write_config

CONFIG = '[data]\ntrain = "{log}"\nvalid = 0.3\nlabel = "{label}"\n{more}\n[model]\nkind = "lr"\n[train]\nepochs = 1\n'


def config(folder, log, label="click", more=""):
    return fw.parse_config(CONFIG.format(log=log, label=label, more=more), base=folder)


def lines(num, rng, yes="1", no="0", rate=0.4):
    users = [rng.randrange(9) for _ in range(num)]
    return "".join(f"{yes if rng.random() < rate * (user < 4) * 2 else no},u{user},{user}.5\n" for user in users)


@pytest.fixture
def rng():
    return random.Random(7)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_line_among_the_rows_is_a_rejected_row_and_no_class(tmp_path, rng, mark):
    header = f"{mark}click,user,price\n"
    (tmp_path / "log.csv").write_text(header + lines(100, rng) + header + lines(100, rng))
    prepared = fw.prepare(config(tmp_path, "log.csv"))
    assert prepared.encoder.schema.classes == ("0", "1")
    assert (prepared.summary["rows_read"], prepared.summary["rows_rejected"]) == (201, 1)
    [line] = map(json.loads, (prepared.folder / "rejects.jsonl").read_text().splitlines())
    assert (line["row"], line["reason"]) == (101, HEADER_LINE)
    price = next(field for field in prepared.encoder.schema.fields if field.column == "price")
    assert price.type == "number"


def test_a_value_that_is_a_columns_name_is_no_header_line(tmp_path):
    (tmp_path / "log.csv").write_text("bought,kind\nbought,a\nno,b\nbought,kind2\nno,a\n")
    [chunk] = open_log([str(tmp_path / "log.csv")]).chunks()
    assert (chunk.table.num_rows, chunk.rejects) == (4, [])


def test_markers_of_missing_in_the_label_are_rejected_rows(tmp_path, rng):
    (tmp_path / "log.csv").write_text("click,user,price\n" + lines(100, rng) + lines(20, rng, "\\N", "NULL"))
    prepared = fw.prepare(config(tmp_path, "log.csv"))
    assert prepared.encoder.schema.classes == ("0", "1")
    assert prepared.summary["rows_rejected"] == 20


def test_strays_are_pointed_out_by_init_and_check_and_stop_training(tmp_path, rng):
    (tmp_path / "log.csv").write_text("click,user,price\n" + lines(2000, rng) + "2,u1,1.5\n")
    sample = read_sample(open_log([str(tmp_path / "log.csv")]))
    text = write_config(sample, ["log.csv"], "click")
    assert "# Training rejects this label: the label has 3 values" in text
    tomllib.loads(text)
    found = [warning for warning in fw.check(config(tmp_path, "log.csv")).warnings if warning.kind == "label"]
    assert ["the label has 3 values" in warning.what for warning in found] == [True]
    with pytest.raises(fw.DataError, match="the label has 3 values"):
        fw.train(config(tmp_path, "log.csv"), tmp_path / "run")
    two = fw.prepare(config(tmp_path, "log.csv", more="classes = [0, 1]"))
    assert two.summary["rows_rejected"] == 1


def test_files_with_truth_values_and_with_numbers_are_one_label(tmp_path, rng):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/1.csv").write_text("click,user,price\n" + lines(200, rng))
    (tmp_path / "log/2.csv").write_text("click,user,price\n" + lines(100, rng, "True", "False"))
    prepared = fw.prepare(config(tmp_path, "log"))
    assert (prepared.encoder.schema.classes, prepared.summary["rows_rejected"]) == (("0", "1"), 0)
    survey = fw.check(config(tmp_path, "log"))
    assert (survey.classes, survey.positive) == (("0", "1"), "1")
    assert sum(sum(part.classes.values()) for part in survey.parts.values()) == 300


def test_every_output_says_which_class_the_probability_is_of(tmp_path, rng):
    (tmp_path / "log.csv").write_text("outcome,user,price\n" + lines(300, rng, "bought", "skipped", 0.3))
    sample = read_sample(open_log([str(tmp_path / "log.csv")]))
    assert tomllib.loads(write_config(sample, ["log.csv"], "outcome"))["data"]["positive"] == "bought"
    with pytest.raises(fw.DataError, match='positive = "bought"'):
        fw.prepare(config(tmp_path, "log.csv", "outcome"))
    result = fw.train(config(tmp_path, "log.csv", "outcome", 'positive = "bought"'), tmp_path / "run")
    expected = ("outcome", ["skipped", "bought"], "bought")
    assert (result.label, result.classes, result.positive) == expected
    prediction = fw.predict(tmp_path / "run", tmp_path / "log.csv", tmp_path / "p.parquet")
    assert (prediction.label, prediction.classes, prediction.positive) == expected
    written = pq.read_table(tmp_path / "p.parquet")
    assert written.column_names == ["row", "probability"]
    assert written.schema.metadata[b"fieldwise.positive_class"] == b"bought"
    assert json.loads(written.schema.metadata[b"fieldwise.classes"]) == ["skipped", "bought"]
    bought = [line.startswith("bought") for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    by_label = {True: [], False: []}
    for is_bought, probability in zip(bought, written.column("probability").to_pylist(), strict=True):
        by_label[is_bought].append(probability)
    assert sum(by_label[True]) / len(by_label[True]) > sum(by_label[False]) / len(by_label[False])
    predictor = fw.Predictor(tmp_path / "run")
    assert (predictor.classes, predictor.positive) == (("skipped", "bought"), "bought")
    (tmp_path / "new.csv").write_text("outcome,user,price\nBOUGHT,u1,1.5\nskipped ,u2,2.5\nlost,u2,2.5\nNA,u3,3.5\n")
    evaluation = fw.evaluate(tmp_path / "run", tmp_path / "new.csv")
    assert (evaluation.metrics.num_examples, evaluation.rejected_rows) == (2, 2)
    assert (evaluation.label, evaluation.classes, evaluation.positive) == expected
    assert evaluation.as_dict()["positive"] == "bought"


def test_a_positive_class_and_classes_are_brought_into_one_order(tmp_path, rng):
    (tmp_path / "log.csv").write_text("click,user,price\n" + lines(50, rng))
    both = 'classes = ["1", "0"]\npositive = 1'
    assert fw.prepare(config(tmp_path, "log.csv", more=both)).encoder.schema.classes == ("0", "1")
    with pytest.raises(fw.ConfigError, match="not among the classes"):
        fw.prepare(config(tmp_path, "log.csv", more='classes = [0, 1]\npositive = "yess"'))
    with pytest.raises(fw.ConfigError, match="exactly two classes"):
        fw.prepare(config(tmp_path, "log.csv", more='classes = ["a", "b", "c"]\npositive = "a"'))


def test_a_model_that_is_worse_than_the_base_rate_is_never_presented_without_a_warning(tmp_path, rng):
    (tmp_path / "log.csv").write_text("click,user,price\n" + lines(200, rng))
    (tmp_path / "valid.csv").write_text("click,user,price\n" + lines(200, rng, "0", "1"))  # the other way round
    text = CONFIG.format(log="log.csv", label="click", more="").replace("valid = 0.3", 'valid = "valid.csv"')
    result = fw.train(fw.parse_config(text, base=tmp_path), tmp_path / "run")
    assert result.valid.normalized_entropy > 1
    assert ["valid: the probabilities are worse than predicting the base rate" in text for text in result.warnings] == [
        True
    ]
    assert result.as_dict()["warnings"] == result.warnings
    evaluation = fw.evaluate(tmp_path / "run", tmp_path / "valid.csv")
    assert any("worse than predicting the base rate" in text for text in evaluation.as_dict()["warnings"])
    assert not any("base rate" in text for text in fw.evaluate(tmp_path / "run", tmp_path / "log.csv").warnings)


def test_where_only_clicks_have_a_label_the_message_says_to_write_the_others_out(tmp_path, rng):
    (tmp_path / "log.csv").write_text("click,user,price\n" + lines(100, rng, "click", ""))
    with pytest.raises(fw.DataError, match="hold one class only") as caught:
        fw.prepare(config(tmp_path, "log.csv"))
    assert caught.value.fix.startswith("if an empty label means a class, such as no click, write 0 instead; otherwise")
    with pytest.raises(fw.ConfigError, match="an empty cell cannot be a class") as caught:
        fw.prepare(config(tmp_path, "log.csv", more='classes = ["", "click"]'))
    assert "None" not in str(caught.value)
