"""Quantities and codes, told apart by the label, alike for numbers and for texts of digits."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.config import parse_config
from fieldwise.jobs.init.fields import infer_schema
from fieldwise.jobs.init.starter import write_config
from fieldwise.profile.infer.evidence import label_of, weigh

ROWS = 20_000


def column(kind: str, seed: int = 0, num_values: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers, and clicks that follow them as codes, as quantities, as both or not at all."""
    rng = np.random.default_rng(seed)
    values = np.minimum(rng.geometric(3 / num_values, ROWS), num_values - 1) + 100
    rank = (values - values.mean()) / values.std()
    logits = {
        "codes": rng.normal(0, 1, num_values + 100)[values],
        "quantities": rank,
        "both": rank + rng.normal(0, 0.8, num_values + 100)[values],
        "nothing": np.zeros(ROWS),
    }[kind]
    return values, (rng.random(ROWS) < 1 / (1 + np.exp(1 - logits))).astype(int)


def inferred(values, clicks, fields=""):
    sample = pa.table({"click": clicks, "x": values, "ad": [f"a{i % 7}" for i in range(len(clicks))]})
    config = parse_config(f'data = {{ train = "log.parquet", label = "click" }}\n{fields}')
    return sample, infer_schema(config, sample)


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("codes", {"x": "category"}),
        ("quantities", {"x": "number"}),
        ("both", {"x": "category", "x_bins": "number"}),
        ("nothing", {"x": "number"}),
    ],
)
def test_the_label_tells_codes_from_quantities_in_numbers_and_in_texts_alike(kind, types, texts, seed):
    values, clicks = column(kind, seed)
    sample, found = inferred(pa.array(values).cast(pa.string()) if texts else pa.array(values), clicks)
    assert {field.name: field.type for field in found.schema.fields if field.column == "x"} == types
    reads_back = parse_config(write_config(sample, ["log.parquet"]))
    assert infer_schema(reads_back, sample).schema.fields == found.schema.fields


def test_the_evidence_stands_in_the_configuration():
    sample, _ = inferred(*column("codes"))
    [line] = [line for line in write_config(sample, ["log.parquet"]).splitlines() if line.startswith("[fields.x]")]
    assert "the label depends on the values, not on their order" in line


def test_what_the_configuration_states_holds_against_any_evidence():
    _, found = inferred(*column("codes"), '[fields.x]\ntype = "number"')
    assert [field.type for field in found.schema.fields if field.column == "x"] == ["number"]
    _, found = inferred(*column("both"), '[fields.x_bins]\ncolumn = "ad"')
    assert {field.name: field.column for field in found.schema.fields} == {"x": "x", "ad": "ad", "x_bins": "ad"}


def test_codes_by_their_length_are_quantities_where_the_label_follows_their_order():
    values, clicks = column("quantities")
    _, found = inferred(values + 100_000, clicks)
    assert [field.type for field in found.schema.fields if field.column == "x"] == ["number"]


@pytest.mark.parametrize("seed", range(3))
def test_amounts_of_which_a_few_mean_something_of_their_own_are_numbers_and_these_few(seed):
    """Bills: a tenth of them is 0, some are a minimum of 390 or 780, and these pay as nobody else does."""
    rng = np.random.default_rng(seed)
    amounts = np.exp(rng.normal(9, 2, ROWS)).astype(int)
    special = rng.choice([0, 390, 780, -1], ROWS, p=[0.1, 0.05, 0.05, 0.8])
    amounts = np.where(special >= 0, special, amounts)
    logits = 0.2 * (np.log1p(amounts) - 9) + 2.0 * (special == 0) - 2.0 * (special == 390) + 2.0 * (special == 780)
    clicks = (rng.random(ROWS) < 1 / (1 + np.exp(1 - logits))).astype(int)
    evidence = weigh(pa.array(amounts), clicks.astype(np.int8))
    assert (evidence.has_identity, evidence.is_of_frequent) == (True, True)
    sample, found = inferred(pa.array(amounts), clicks)
    fields = {field.name: (field.type, field.min_count) for field in found.schema.fields if field.column == "x"}
    assert fields == {"x": ("category", 11), "x_bins": ("number", 1)}
    reads_back = parse_config(write_config(sample, ["log.parquet"]))
    assert infer_schema(reads_back, sample).schema.fields == found.schema.fields


@pytest.mark.parametrize("seed", range(3))
def test_codes_that_are_mostly_rare_keep_all_their_values(seed):
    """Two thirds of the rows hold codes of ten rows or less, and each code has clicks of its own."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 4001) ** 0.6
    values = 100_000 + 7 * rng.permutation(4000)[rng.choice(4000, ROWS, p=shares / shares.sum())]
    clicks = (rng.random(ROWS) < 1 / (1 + np.exp(1 - rng.normal(0, 1, 200_000)[values]))).astype(int)
    evidence = weigh(pa.array(values), clicks.astype(np.int8))
    assert evidence.of_rare is not None
    assert not evidence.is_of_frequent
    _, found = inferred(pa.array(values), clicks)
    assert {field.name: field.type for field in found.schema.fields if field.column == "x"} == {"x": "category"}


def test_a_label_of_more_values_of_lists_or_of_few_rows_is_not_asked():
    assert label_of(pa.array([0, 1, 2] * 100)) is None
    assert label_of(pa.array([[0], [1]] * 100)) is None
    assert label_of(pa.array([0] * 100 + [1] * 49)) is None
    assert label_of(pa.array(["no", "yes", None] * 100)).tolist()[:3] == [0, 1, -1]


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 300), st.integers(0, 99))
def test_labels_that_follow_nothing_are_hardly_ever_evidence(num_rows, num_values, seed):
    rng = np.random.default_rng(seed)
    evidence = weigh(pa.array(rng.integers(0, num_values, num_rows)), rng.integers(-1, 2, num_rows).astype(np.int8))
    assert evidence.identity < 6
    assert evidence.order < 6
