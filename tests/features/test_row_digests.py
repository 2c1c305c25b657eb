"""Digests of rows by their content."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.errors import DataError
from fieldwise.features.row_digests import digest_of_rows, row_digests

CELLS = st.tuples(
    st.one_of(st.none(), st.text("abc", max_size=2)),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.one_of(st.none(), st.lists(st.sampled_from("abc"), max_size=3)),
)


def table_of(rows: list[tuple[str | None, int | None, list[str] | None]]) -> pa.Table:
    city, age, tags = zip(*rows, strict=True)
    return pa.table(
        {
            "city": pa.array(city, pa.string()),
            "age": pa.array(age, pa.int64()),
            "tags": pa.array(tags, pa.list_(pa.string())),
        }
    )


@given(st.lists(CELLS, min_size=1, max_size=20), st.randoms())
def test_rows_have_one_digest_exactly_where_they_have_one_content(rows, random) -> None:  # type: ignore[no-untyped-def]
    digests = row_digests(table_of(rows), ["city", "age", "tags"])
    content = [(city or None, age, sorted(tags or ())) for city, age, tags in rows]
    for one in range(len(rows)):
        for other in range(one):
            assert (digests[one] == digests[other]) == (content[one] == content[other])
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)
    moved = row_digests(table_of([rows[place] for place in shuffled]), ["city", "age", "tags"])
    assert (moved == digests[shuffled]).all()
    assert digest_of_rows(moved) == digest_of_rows(digests)


def test_a_digest_does_not_depend_on_the_type_of_a_column_or_on_its_place() -> None:
    one = row_digests(pa.table({"a": pa.array([1, 2]), "b": pa.array(["x", "y"])}), ["a", "b"])
    other = row_digests(
        pa.table({"b": pa.array(["x", "y"]).dictionary_encode(), "a": pa.array([1.0, 2.0])}), ["a", "b"]
    )
    assert (one == other).all()
    assert (one != row_digests(pa.table({"a": ["x", "y"], "b": ["1", "2"]}), ["a", "b"])).all()


def test_weighted_bags_and_maps_have_digests() -> None:
    pairs = [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}, None]
    maps = pa.array(
        [None if pair is None else list(pair.items()) for pair in pairs], pa.map_(pa.string(), pa.float64())
    )
    digests = row_digests(pa.table({"tags": maps}), ["tags"])
    assert len(set(digests.tolist())) == 3
    structs = pa.array([None if pair is None else [{"k": k, "v": v} for k, v in pair.items()] for pair in pairs])
    assert (row_digests(pa.table({"tags": structs}), ["tags"]) == digests).all()


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="column town"):
        row_digests(pa.table({"city": ["Rome"]}), ["town"])


def test_the_digest_of_a_day_tells_days_apart() -> None:
    digests = row_digests(pa.table({"n": np.arange(1000)}), ["n"])
    assert len({digest_of_rows(digests[:end]) for end in range(1000)}) == 1000
