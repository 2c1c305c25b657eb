"""From a configuration and a sample to a schema."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.config import parse_config
from fieldwise.errors import ConfigError, DataError, UserError
from fieldwise.features.encoder import Encoder
from fieldwise.jobs.init.fields import complete_schema, infer_schema
from fieldwise.profile.infer.label import guess_label

SAMPLE = pa.table(
    {
        "click": ["0", "1"] * 100,
        "user_id": [f"u{i % 9}" for i in range(200)],
        "age": [str(18 + i % 59) for i in range(200)],  # the label alternates: it says nothing of an age
        "tags": ["a|b", "b", "c|a", "c"] * 50,
        "price": [f"{i}.5" for i in range(200)],
        "constant": ["x"] * 200,
        "time": [f"2026-11-08 10:{i % 60:02d}" for i in range(200)],
        "w": ["1.5", "2"] * 100,
    }
)


def infer(fields: str = "", data: str = "", sample: pa.Table = SAMPLE):
    return infer_schema(parse_config(f'[data]\ntrain = "log.csv"\nlabel = "click"\n{data}\n{fields}'), sample)


def fields(*args, **kwargs):
    return {field.name: field for field in infer(*args, **kwargs).schema.fields}


def test_every_column_is_a_field_but_the_label_and_what_tells_nothing():
    found = infer()
    types = [(field.name, field.type) for field in found.schema.fields]
    assert types == [
        ("user_id", "category"),
        ("age", "number"),
        ("tags", "bag"),
        ("price", "number"),
        ("time_hour", "time"),
        ("time_weekday", "time"),
        ("w", "number"),
    ]
    assert set(found.left_out) == {"constant"}
    assert found.schema.label == "click"
    assert complete_schema(parse_config('data = { train = "log.csv", label = "click" }'), SAMPLE) == found.schema


def test_columns_with_a_role_are_no_fields_unless_they_are_named_but_for_the_groups():
    roles = 'weight = "w"\ngroup = "user_id"\nid = "time"'
    found = infer(data=roles)
    assert set(found.schema.columns) == {"user_id", "age", "tags", "price"}
    assert set(infer(data=roles + '\nexclude = ["user_id"]').schema.columns) == {"age", "tags", "price"}
    assert set(infer("[fields.user_id]\nexclude = true", roles).schema.columns) == {"age", "tags", "price"}
    assert set(infer(data='id = "user_id"\ngroup = "user_id"').schema.columns).isdisjoint({"user_id"})
    assert (found.schema.weight, found.schema.group, found.schema.id) == ("w", "user_id", "time")
    assert set(found.left_out) == {"constant"}
    assert "w" in fields("[fields.w]", roles)


def test_excluded_columns_are_no_fields():
    found = infer("[fields.price]\nexclude = true", 'exclude = ["age", "w"]')
    assert set(found.schema.columns) == {"user_id", "tags", "time"}
    assert found.left_out["age"] == found.left_out["price"] == "excluded by the configuration"


def test_what_the_configuration_states_holds_and_the_rest_is_guessed():
    found = fields(
        """
        [fields.age]
        bins = 5
        [fields.tags]
        min_count = 3
        [fields.price]
        buckets = 100
        [fields.user_id]
        max_features = 4
        """
    )
    assert (found["age"].type, found["age"].bins) == ("number", 5)
    assert (found["tags"].type, found["tags"].separator, found["tags"].min_count) == ("bag", "|", 3)
    assert (found["price"].type, found["price"].buckets, found["price"].bins) == ("category", 100, None)
    assert (found["user_id"].type, found["user_id"].max_features) == ("category", 4)


@pytest.mark.parametrize("stated", ['scale = "standard"', 'scale = "log"', 'type = "number"\nscale = "sqrt"'])
def test_a_number_with_a_scale_is_the_number_itself(stated):
    field = fields(f"[fields.price]\n{stated}")["price"]
    assert (field.type, field.bins) == ("number", None)


@pytest.mark.parametrize("column", ["price", "user_id"])
def test_a_number_of_which_nothing_else_is_said_has_bins(column):
    field = fields(f'[fields.{column}]\ntype = "number"')[column]
    assert (field.type, field.bins) == ("number", 0)


def test_settings_tell_the_type():
    assert fields("[fields.user_id]\nedges = [1, 2]")["user_id"].edges == (1.0, 2.0)
    assert fields('[fields.user_id]\nseparator = ";"')["user_id"].type == "bag"
    assert fields("[fields.user_id]\nmax_length = 3")["user_id"].max_length == 3
    assert fields("[fields.price]\nmin_count = 2")["price"].type == "category"


@pytest.mark.parametrize(("default", "value"), [('"none"', "none"), ("5", 5), ("0.5", 0.5), ("false", False)])
def test_a_default_may_be_text_a_number_or_a_truth_value(default, value):
    found = fields(f"[fields.user_id]\ndefault = {default}")["user_id"]
    assert (found.default, type(found.default), found.type) == (value, type(value), "category")


def test_a_bag_that_is_stated_without_a_separator_gets_the_one_in_its_cells():
    sample = SAMPLE.set_column(3, "tags", [["rock pop", "pop", "jazz rock", "jazz"] * 50])
    assert fields('[fields.tags]\ntype = "bag"', sample=sample)["tags"].separator == "|"  # four cells show too little
    genres = ["rock", "pop", "jazz", "folk", "soul"]
    cells = [f"{a} {b}" if a < b else a for a in genres for b in genres] * 8
    sample = SAMPLE.set_column(3, "tags", [cells])
    assert fields('[fields.tags]\ntype = "bag"', sample=sample)["tags"].separator == " "


def test_min_count_is_guessed_for_a_stated_category_but_not_for_buckets():
    sample = pa.table({"click": ["0", "1"] * 2000, "query": [f"q{i // 2 if i < 100 else i}" for i in range(4000)]})
    assert fields('[fields.query]\ntype = "category"', sample=sample)["query"].min_count == 2
    assert fields("[fields.query]\nmin_count = 1", sample=sample)["query"].min_count == 1
    assert fields("[fields.query]\nbuckets = 50", sample=sample)["query"].min_count == 1


def test_a_column_is_a_field_where_somebody_names_it_though_it_tells_nothing():
    assert fields("[fields.time]")["time"].type == "category"
    assert fields('[fields.x]\ncross = ["constant", "user_id"]')["constant"].type == "category"


def test_several_fields_read_one_column():
    found = infer(
        """
        [fields.price_value]
        scale = "standard"
        column = "price"
        [fields.price_few]
        column = "price"
        bins = 3
        """
    )
    names = [field.name for field in found.schema.fields if field.column == "price"]
    assert names == ["price", "price_value", "price_few"]
    assert [field.bins for field in found.schema.fields if field.column == "price"] == [0, None, 3]
    assert "price" not in fields('[fields.p]\ncolumn = "price"', 'exclude = ["price"]')


def test_a_column_gives_its_name_to_the_field_that_takes_it():
    found = infer('[fields.age]\ncolumn = "price"')
    assert [field.column for field in found.schema.fields if field.name == "age"] == ["price"]
    assert found.left_out["age"] == "another field has this name"


def test_a_time_gives_an_hour_and_a_weekday_unless_their_names_are_taken():
    found = fields('[fields.time_hour]\ncolumn = "time"\ntimezone = "Europe/Rome"\npart = "hour"')
    assert [found[name].part for name in ("time_hour", "time_weekday")] == ["hour", "weekday"]
    assert found["time_hour"].timezone == "Europe/Rome"
    assert "time_weekday" not in fields("[fields.time_weekday]\nexclude = true")
    sample = SAMPLE.append_column("time_hour", SAMPLE["price"])
    assert fields(sample=sample)["time_hour"].column == "time_hour"
    excluded = infer("[fields.time_weekday]\nexclude = true\n[fields.time_hour]\nexclude = true").left_out
    assert excluded["time"] == "excluded by the configuration"
    sample = sample.append_column("time_weekday", SAMPLE["price"])
    assert infer(sample=sample).left_out["time"] == "the names of its fields are taken: time_hour, time_weekday"


def test_a_time_that_is_crossed_as_a_whole_is_a_category():
    found = fields('[fields.x]\ncross = ["time", "user_id"]')
    assert found["time"].type == "category"
    assert "time_hour" not in found
    assert fields('[fields.x]\ncross = ["time_hour", "user_id"]')["x"].parts == ("time_hour", "user_id")


def test_settings_of_a_time_tell_the_type_and_the_rest_is_guessed():
    sample = SAMPLE.set_column(6, "time", [["14102100", "14102101"] * 100])
    found = fields('[fields.time]\npart = "day"', sample=sample)["time"]
    assert (found.type, found.part, found.format) == ("time", "day", "%y%m%d%H")
    assert fields('[fields.time]\npart = "day"\nunit = "s"', sample=sample)["time"].format is None


def test_the_column_that_an_age_counts_from_must_be_there_and_is_not_left_out():
    age = '[fields.age_of_ad]\ntype = "time"\npart = "age"\ncolumn = "time"\nsince = "{}"\nbins = 5'
    assert "constant" in infer(age.format("constant")).schema.columns
    assert "constant" not in infer(age.format("constant")).left_out
    with pytest.raises(DataError, match=r"(?s)age_of_ad\] since.*did you mean constant\?"):
        infer(age.format("konstant"))


def test_a_column_of_weights_belongs_to_its_bag():
    found = infer('[fields.tags]\nweights = "w"')
    assert [field.weights for field in found.schema.fields if field.name == "tags"] == ["w"]
    assert "w" not in {field.name for field in found.schema.fields}
    assert "w" not in found.left_out
    assert "w" in fields('[fields.tags]\nweights = "w"\n[fields.w]')
    with pytest.raises(DataError, match=r"(?s)\[fields.tags\] weights.*got: ww"):
        infer('[fields.tags]\nweights = "ww"')


def test_crosses_stand_after_their_parts_whatever_the_order_of_the_file():
    found = fields(
        """
        [fields.all]
        cross = ["pair", "tags"]
        [fields.pair]
        cross = ["user_id", "age"]
        buckets = 100
        """
    )
    assert list(found)[-2:] == ["pair", "all"]
    assert (found["pair"].type, found["pair"].parts, found["pair"].buckets) == ("cross", ("user_id", "age"), 100)


@pytest.mark.parametrize("role", ["weight", "group", "id", "split"])
def test_a_role_of_a_column_that_is_not_there_is_named(role):
    with pytest.raises(DataError, match=rf"(?s)\[data\] {role}.*got: usr_id.*did you mean user_id\?"):
        infer(data=f'{role} = "usr_id"')


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ('[data]\ntrain = "a"\nlabel = "clik"', DataError, r"(?s)\[data\] label.*did you mean click\?"),
        ('[data]\ntrain = "a"\nlabel = "click"\nexclude = ["tag"]', DataError, r"(?s)exclude.*did you mean tags\?"),
        ('data = {train = "a", label = "click"}\n[fields.agee]', DataError, r"(?s)\[fields.agee\].*did you mean age\?"),
        ('data = {train = "a", label = "click"}\n[fields.x]\ncolumn = "agee"', DataError, r"(?s)got: agee.*mean age\?"),
        ('data = {train = "a", label = "click"}\n[fields.click]', ConfigError, "the label cannot be a field"),
        ('data = {train = "a", label = "click"}\n[fields.x]\ncross = ["age", "tag"]', ConfigError, "mean tags?"),
        ('data = {train = "a", label = "click"}\n[fields.x]\ncross = ["x", "age"]', ConfigError, "defined before it"),
        ('data = {train = "a", label = "click"}\n[fields.x]\ncross = ["age"]', ConfigError, "two or more"),
        ('data = {train = "a", label = "click"}\n[fields.age]\nbins = 1', ConfigError, "a single bin is useless"),
        (
            'data = {train = "a", label = "click"}\n[fields.age]\ntype = "cross"',
            ConfigError,
            "requires cross, and vice versa",
        ),
        ('data = {train = "a", label = "click"}\n[fields.age]\nbins = 70000', ConfigError, "0 to 65,534"),
        ('data = {train = "a", label = "click"}\n[fields.tags]\nseparator = ""', ConfigError, "text that is not empty"),
        ('data = {train = "a", label = "click"}\n[fields.age]\ndefault = "none"', ConfigError, "must be a number"),
        ('data = {train = "a", label = "click"}\n[fields.age]\ndefault = []', ConfigError, "Expected|expected"),
        (
            'data = {train = "a", label = "click"}\n[fields.age]\ntype = "number"\nmax_length = 2',
            ConfigError,
            "max_length and weights are only allowed for bags",
        ),
        (
            'data = {train = "a", label = "click"}\n[fields.tags]\nweights = "w"\nweighted = true',
            ConfigError,
            "mutually exclusive",
        ),
        (
            'data = {train = "a", label = "click", exclude = ["age"]}\n[fields.age]\nbins = 3',
            ConfigError,
            "excluded and a field",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_log_is_refused(settings, error, says):
    with pytest.raises(error, match=says):
        infer_schema(parse_config(settings), SAMPLE)


def test_a_log_with_nothing_to_learn_from_is_refused_with_the_reasons():
    with pytest.raises(DataError, match=r"(?s)got: constant: the same in every row"):
        infer(sample=SAMPLE.select(["click", "constant"]))
    with pytest.raises(DataError, match="no row"):
        infer(sample=SAMPLE.slice(0, 0))
    with pytest.raises(DataError, match=r"(?s)duplicate column names.*age"):
        infer(sample=SAMPLE.append_column("age", SAMPLE["age"]))


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"Click": ["0", "1"], "mobile": ["0", "1"]}, "Click"),
        ({"mobile": [0, 1], "user_clicked": [False, True]}, "user_clicked"),
        ({"conversion": [0, 1], "label": [0, 1]}, "label"),
        ({"y": ["no", "yes"], "x": [1, 2]}, "y"),
        ({"label": [1, 1], "x": [1, 2]}, "label"),
        ({"x": [3, 4, 5], "flag": ["1", "-1", "1"]}, "flag"),
        ({"a": [0, 1], "b": [0, 1]}, None),
        ({"num_clicks": [0, 1], "click_time": [0, 1]}, None),
        ({"target": [1.5, 2.5, 3.5]}, None),
        ({"tags": [["a"], ["b"]]}, None),
        ({"click": ["0", "1"], "label": ["a", "b"]}, "click"),
    ],
)
def test_the_label_is_known_by_its_name_or_as_the_only_flag(columns, label):
    assert guess_label(pa.table(columns)) == label


TYPES = {
    "text": (pa.string(), st.text(max_size=6)),
    "tokens": (pa.string(), st.lists(st.sampled_from(["a", "b:1", "2", "c d"]), max_size=3).map("|".join)),
    "digits": (pa.string(), st.from_regex(r"\A[0-9]{1,20}(\.[0-9]+)?\Z")),
    "number texts": (pa.large_string(), st.sampled_from(["1", "1e3", "nan", "inf", "-0.0", " 7", "007", "1,5"])),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b|c"])),
    "bytes": (pa.binary(), st.binary(max_size=4)),
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "byte": (pa.uint8(), st.integers(0, 255)),
    "float": (pa.float64(), st.floats()),
    "half": (pa.float16(), st.floats(width=16).map(np.float16)),
    "decimal": (pa.decimal128(9, 2), st.decimals(-1000, 1000, places=2)),
    "bool": (pa.bool_(), st.booleans()),
    "null": (pa.null(), st.none()),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us", "UTC"), st.datetimes()),
    "time": (pa.time64("us"), st.times()),
    "list": (pa.list_(pa.string()), st.lists(st.sampled_from(["a", "b", None]), max_size=3)),
    "vector": (pa.list_(pa.float32(), 2), st.lists(st.floats(width=32), min_size=2, max_size=2)),
    "nested": (pa.list_(pa.list_(pa.int8())), st.lists(st.lists(st.integers(0, 9)), max_size=2)),
    "map": (pa.map_(pa.string(), pa.float32()), st.lists(st.tuples(st.text(max_size=2), st.floats(0, 9, width=32)))),
    "text map": (pa.map_(pa.string(), pa.string()), st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)))),
    "struct": (pa.struct([("a", pa.int8())]), st.fixed_dictionaries({"a": st.integers(0, 9)})),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    num_rows = draw(st.integers(0, 12))
    columns = {"click": pa.array([i % 2 for i in range(num_rows)], pa.int64())}
    for name in draw(st.lists(st.text(max_size=8).filter(lambda name: name != "click"), max_size=5, unique=True)):
        kind, values = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        cells = draw(st.lists(st.none() | values, min_size=num_rows, max_size=num_rows))
        columns[name] = pa.array(cells, kind)
    return pa.table(columns)


@settings(max_examples=150)
@given(tables())
def test_any_table_has_every_column_accounted_for_or_is_refused_with_a_message(table):
    try:
        found = infer(sample=table)
    except DataError:  # nothing to learn from
        return
    assert [name for name in table.column_names if name in found.schema.columns] == list(found.schema.columns)
    assert {"click", *found.schema.columns, *found.left_out} == set(table.column_names)
    assert not set(found.schema.columns) & {"click", *found.left_out}
    assert all(found.left_out.values())


@settings(max_examples=60)
@given(tables().filter(lambda table: table.num_rows > 1))
def test_what_is_guessed_costs_no_row_of_the_sample(table):
    try:
        schema = infer(sample=table).schema
    except UserError:
        return
    encoded = Encoder(schema).fit([table]).transform(table)
    assert encoded.rejects == []
    assert len(encoded.accepted) == table.num_rows


def test_the_classes_that_a_configuration_names_are_those_of_the_schema_in_its_order():
    assert infer().schema.classes == ()
    assert infer(data='classes = ["1", "0"]').schema.classes == ("1", "0")
    assert infer(data='classes = ["TRUE", "5.0"]').schema.classes == ("true", "5")
    assert complete_schema(
        parse_config('[data]\ntrain = "log.csv"\nlabel = "click"\nclasses = ["0", "1"]'), SAMPLE
    ).classes == ("0", "1")


@pytest.mark.parametrize(
    ("cells", "settings", "scale"),
    [
        (["a:1|b:0.5", "c:10"], "", "none"),
        (["a:3000|b:2", "c:10"], "", "log"),
        (["a:3000|b:2", "c:10"], 'weight_scale = "none"', "none"),
        (["a|b", "c"], 'type = "bag"\nweights = "w"', "log"),
        ([{"a": -3000.0}, {"b": 2.0}], "", "log"),
    ],
)
def test_weights_too_large_to_learn_with_are_scaled_unless_the_configuration_says_otherwise(cells, settings, scale):
    config = parse_config(f'[data]\ntrain = "log"\nlabel = "y"\n[fields.f]\n{settings}')
    kind = pa.map_(pa.string(), pa.float64()) if isinstance(cells[0], dict) else None
    column = pa.array([list(cell.items()) if kind else cell for cell in cells * 50], kind)
    log = pa.table({"f": column, "w": ["5|4000", "1"] * 50, "y": ["0", "1"] * 50})
    [field] = [field for field in complete_schema(config, log).fields if field.name == "f"]
    assert (field.type, field.weight_scale) == ("bag", scale)


@pytest.mark.parametrize(("longest", "settings", "expected"), [(3, "", 100), (60, "", 240), (60, "max_length = 9", 9)])
def test_a_bag_has_a_length_at_most_by_what_the_sample_holds(longest, settings, expected):
    config = parse_config(f'[data]\ntrain = "log"\nlabel = "y"\n[fields.f]\ntype = "bag"\n{settings}')
    cells = ["a|b", "|".join(f"v{i % 7}" for i in range(longest))] * 50
    schema = complete_schema(config, pa.table({"f": cells, "y": ["0", "1"] * 50}))
    assert schema.fields[0].max_length == expected


def test_a_label_is_told_by_its_classes_however_they_are_spelled_and_whatever_strays_into_it():
    spelled = ["Yes", "y", "TRUE", "1", "no", "N", "false", "0"] * 30
    assert guess_label(pa.table({"click": spelled, "ad": ["a", "b"] * 120})) == "click"
    assert guess_label(pa.table({"click": ["0", "1"] * 200 + ["Total"], "ad": [*["a", "b"] * 200, ""]})) == "click"
    assert guess_label(pa.table({"click": list("abc") * 100, "ad": ["a"] * 300})) is None
