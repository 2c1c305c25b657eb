"""What the configuration file leaves out, and what it may not say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fieldwise as fw
from fieldwise.config import checked, find_problems, load_config, parse_config
from fieldwise.errors import ConfigError, DataError, did_you_mean
from fieldwise.jobs.config.check import check_file

DATA = 'data = { train = "log.csv", label = "click" }\n'


def test_a_setting_of_the_pretraining_leaves_its_other_defaults_alone():
    config = parse_config(DATA + "[pretrain]\ntable = { l1 = 2.0 }\ndense = { name = 'sgd' }")
    assert (config.pretrain.table.name, config.pretrain.table.l1, config.pretrain.table.penalty) == ("ftrl", 2.0, 20.0)
    assert config.pretrain.dense.learning_rate == 0.01
    assert config.train.table.name == "adam"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[trian]\nepochs = 3", r"(?s)unknown key: trian.*train"),
        ("[train]\nepoch = 3", r"(?s)unknown key: epoch.*\[train\].*epochs"),
        ("[train.table]\nrate = 3", r"(?s)unknown key: rate.*\[train.table\].*learning_rate"),
        ("[pretrain.dense]\nrate = 3", r"(?s)unknown key: rate.*\[pretrain.dense\].*learning_rate"),
        ("[fields.user]\nmin_cout = 3", r"(?s)unknown key: min_cout.*\[fields.user\].*min_count"),
        ("[train]\nepochs = 0", r"(?s)\[train.epochs\].*>= 1"),
        ("[model]\nkind = 'lcdnn'", r"(?s)\[model.kind\]"),
        ("epochs = = 3", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_known_key(text, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_config(DATA + text)


@pytest.mark.parametrize("table", ["data", "train"])
def test_a_seed_that_no_generator_takes_is_refused(table):
    text = f"{DATA}[train]\nseed = 2147483648" if table == "train" else DATA.replace(" }", ", seed = 2147483648 }")
    with pytest.raises(ConfigError, match=rf"(?s)\[{table}.seed\].*0 to 2,147,483,647"):
        parse_config(text)


@pytest.mark.parametrize(
    ("override", "name", "key", "value"),
    [
        ("fields.price.usd.bins=5", "price.usd", "bins", 5),
        ('fields."price.usd".bins=5', "price.usd", "bins", 5),
        ("fields.'price.usd'.bins = 5", "price.usd", "bins", 5),
        ("fields.a=b.min_count=5", "a=b", "min_count", 5),
        ('fields."a=b".min_count=5', "a=b", "min_count", 5),
        ("fields.user id.min_count=5", "user id", "min_count", 5),
        ("fields.città.min_count=5", "città", "min_count", 5),
        ('fields."x,y".min_count=5', "x,y", "min_count", 5),
        ("fields.#h.min_count=5", "#h", "min_count", 5),
        ("fields.a[0].min_count=5", "a[0]", "min_count", 5),
        ('fields.tags.separator="="', "tags", "separator", "="),
        ("fields.tags.separator==", "tags", "separator", "="),
    ],
)
def test_an_override_finds_a_field_whatever_its_name_holds(override, name, key, value):
    config = parse_config('data = { train = "log.csv", label = "click" }', overrides=[override])
    assert list(config.fields) == [name]
    assert getattr(config.fields[name], key) == value


@pytest.mark.parametrize("override", ["fields.price.usd.bin=5", 'fields."price.usd".bin=5'])
def test_a_wrong_key_of_a_field_with_dots_is_named(override):
    with pytest.raises(ConfigError, match=r"unknown key: bin\n(.|\n)*did you mean bins"):
        parse_config('data = { train = "log.csv", label = "click" }', overrides=[override])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "fieldwise.toml"
    path.write_bytes(b'\xef\xbb\xbf[data]\r\ntrain = "a.csv"\r\nlabel = "click"\r\n')
    assert load_config(path).data.label == "click"


def test_a_value_in_the_place_of_a_table_is_told_in_the_words_of_toml():
    [problem] = find_problems('train = 3\n[data]\ntrain = "a.csv"\nlabel = "click"\n', where="a.toml")
    assert str(problem) == "invalid value\n  where: a.toml, line 1, [train]\n  expected: table\n  got: 3"


@pytest.mark.parametrize("labels", ['["a", "a"]', '["a", { label = "b", among = "c" }]'])
def test_labels_that_cannot_be_learned_together_are_found_without_the_log(labels):
    [problem] = find_problems(f'[data]\ntrain = "a.csv"\nlabels = {labels}\n', where="a.toml")
    assert problem.where == "a.toml, line 3, [data.labels]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[data]\ncrosses = [['a']]", r"(?s)two or more different fields.*line 3, \[data.crosses\].*got: a$"),
        ("[data]\ncrosses = [['a', 'b', 'a']]", "(?s)two or more different fields.*got: a, b, a"),
        ("[data]\ncrosses = [['a', 'b'], ['b', 'a']]", "(?s)listed twice.*got: a, b"),
        ("[fields.x]\ncross = ['a', 'a']", r"(?s)two or more different fields.*\[fields.x.cross\]"),
        ("[model]\nkind = 'lc-dnn + bayesian-fm'", '(?s)no spaces.*write "lc-dnn\\+bayesian-fm"'),
        ("[pretrain.table]\nl2 = inf", r"(?s)line 3, \[pretrain.table.l2\].*a finite number.*got: inf"),
        ("[train.table]\nlearning_rate = inf", r"(?s)\[train.table.learning_rate\].*a finite number"),
        ("[model]\nunit_l2 = inf", r"(?s)\[model.unit_l2\].*a finite number"),
        ("[fields.x]\nbins = 70000", r"(?s)\[fields.x.bins\].*expected: whole number, 0 to 65,534.*got: 70000"),
        ("[fields.x]\nbuckets = 4294967294", r"(?s)\[fields.x.buckets\].*1 to 4,294,967,293.*got: 4294967294"),
        ("[fields.x]\nseparator = ''", r'(?s)\[fields.x.separator\].*text that is not empty.*got: ""'),
        ("[data]\nlabels = ['click', { label = 'sale', amng = 'click' }]", "(?s)unknown key: amng.*mean among"),
    ],
)
def test_what_training_would_refuse_is_found_without_the_log(text, expected):
    head, _, more = text.partition("[data]\n")
    toml = f"[data]\ntrain = 'log.csv'\nlabel = 'click'\n{more}\n{head}"
    with pytest.raises(ConfigError, match=expected.replace("line 3", r"line \d+")):
        parse_config(toml)


def test_what_has_no_limit_may_be_said_to_have_none():
    assert parse_config(DATA + "[train]\nminutes = inf\ncheckpoint_minutes = inf").train.minutes == float("inf")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('memory = "lots"', "data.memory"),
        ('format = "xml"', "data.format"),
        ('csv = { encoding = "klingon" }', "data.csv.encoding"),
    ],
)
def test_texts_that_the_reader_of_a_log_would_refuse_are_found_in_the_file_alone(text, place, tmp_path):
    path = tmp_path / "fieldwise.toml"
    path.write_text(f"[data]\ntrain = 'log.csv'\nlabel = 'click'\n{text}\n")
    [problem] = check_file(path)
    assert problem.where == f"{path}, line 4, [{place}]"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("fieldwise.toml", r"(?s)no configuration.*load_config\(FILE\).*got: str"),
        (fw.Config(data=fw.DataConfig(train="a.csv")), r"(?s)required key is missing: label"),
        (fw.Config(data=fw.DataConfig(label="y", valid=2)), r"(?s)\[data.valid\].*> 0 and < 1.*got: 2"),
        (fw.Config(data=fw.DataConfig(label="y"), model=fw.ModelConfig(kind="lrr")), "(?s)unknown model.*mean lr"),
        (fw.Config(data={"label": "y", "trian": "a.csv"}), "(?s)unknown key: trian.*mean train"),
        (fw.Config(data=fw.DataConfig(label="y", train="a\0.csv")), r"(?s)a zero byte.*data.train.*'a\\x00.csv'"),
        (fw.Config(data=fw.DataConfig(label="y", train=object())), "(?s)cannot hold this.*data=.*got: object"),
    ],
)
def test_a_configuration_made_in_python_is_checked_by_every_job_as_a_file_is(config, expected, tmp_path):
    jobs = [
        fw.check,
        fw.prepare,
        *(lambda config, job=job: job(config, tmp_path / "run") for job in (fw.train, fw.compare)),
    ]
    for job in jobs:
        with pytest.raises(ConfigError, match=expected):
            job(config)


def test_a_configuration_made_in_python_may_have_paths_numbers_of_numpy_and_labels_alone():
    train = fw.TrainConfig(epochs=np.int64(3))
    config = checked(fw.Config(data=fw.DataConfig(train=Path("a.csv"), labels=["click", "sale"]), train=train))
    assert (config.data.train, config.data.label, config.train.epochs) == ("a.csv", "click", 3)


def test_a_configuration_with_another_setting_leaves_the_first_as_it_was():
    config = parse_config('data = { train = "log.csv", label = "click" }')
    other = config.changed("train", epochs=3, seed=7)
    assert (other.train.epochs, other.train.seed, config.train.seed) == (3, 7, 0)
    assert other.changed("train", epochs=config.train.epochs, seed=0) == config


def test_an_empty_path_is_refused_and_is_not_the_folder_of_the_configuration(tmp_path):
    (tmp_path / "log.csv").write_text("user,click\na,0\nb,1\n")
    with pytest.raises(DataError, match="a path is empty"):
        fw.prepare(parse_config("data = { train = [''], label = 'click' }", base=tmp_path))


def test_of_a_thousand_known_words_the_first_are_listed():
    hint = did_you_mean("price", [f"f{number:03}" for number in range(1000)])
    assert hint.startswith("known: f000, f001, ")
    assert hint.endswith(", f029, and 970 more")
