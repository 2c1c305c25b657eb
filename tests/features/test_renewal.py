"""Vocabularies that are renewed day by day: who joins, who leaves, and that ids of those who stay never move."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.features.encoder import Encoder
from fieldwise.features.renewal import Renewal
from fieldwise.schema import Field, Schema

FIRST = 2


def table(cities):
    return pa.table(
        {"city": pa.array(cities, pa.string()), "click": [0, 1] * (len(cities) // 2) + [0] * (len(cities) % 2)}
    )


def first(cities, **settings):
    field = Field(name="city", column="city", **settings)
    return Encoder(Schema(fields=(field,), label="click")).fit([table(cities)])


def next_day(encoder, day, cities, keep_days=None, memory=None):
    memories = {} if memory is None else {"city": memory}
    renewed = encoder.growing(renewal=Renewal(day, keep_days, memories)).fit([table(cities)])
    return renewed, renewed.renewed["city"]


def texts(encoder):
    return encoder.feature_texts("city", range(FIRST, encoder.rows["city"]))


def test_a_value_that_comes_once_a_day_has_an_id_on_the_day_that_makes_min_count_and_not_before():
    encoder, memory = first(["Rome"] * 3, min_count=3), None
    for day in (1, 2):
        encoder, renewed = next_day(encoder, day, ["Oslo", "Rome"], memory=memory)
        memory = renewed.memory
        assert texts(encoder) == ["Rome"]
        assert memory.rare_counts.tolist() == [day]
    encoder, renewed = next_day(encoder, 3, ["Oslo"], memory=memory)
    assert texts(encoder) == ["Rome", "Oslo"]
    assert renewed.joined.tolist() == [3]
    assert not len(renewed.memory.rare_keys)
    assert encoder.counts.tolist() == [0, 2, 5, 1]  # twice as a rare one, once as itself


def test_a_value_leaves_after_so_many_days_without_it_and_its_id_is_used_again():
    encoder, renewed = next_day(first(["Rome", "Rome", "Oslo", "Bern"]), 1, ["Rome", "Bern"], keep_days=2)
    assert texts(encoder) == ["Rome", *sorted(["Oslo", "Bern"], key=texts(encoder).index)]
    place = texts(encoder).index("Oslo") + FIRST
    encoder, renewed = next_day(encoder, 2, ["Rome"], 2, renewed.memory)
    assert renewed.left.tolist() == [place]
    assert encoder.transform(table(["Oslo", "Rome"])).batch.ids.tolist() == [[1, 2]]
    encoder, renewed = next_day(encoder, 3, ["Rome", "Bonn", "Kiel", "Bern"], 2, renewed.memory)
    assert encoder.transform(table(["Rome", "Bern"])).batch.ids.tolist()[0][0] == 2
    assert place in renewed.joined.tolist()
    assert renewed.memory.generation[place] == 1


def test_what_is_rare_is_forgotten_with_the_days_too():
    encoder, renewed = next_day(first(["Rome"] * 2, min_count=2), 1, ["Oslo", "Rome"], 2)
    encoder, renewed = next_day(encoder, 2, ["Rome"], 2, renewed.memory)
    assert renewed.memory.rare_counts.tolist() == [1]
    encoder, renewed = next_day(encoder, 3, ["Rome"], 2, renewed.memory)
    assert not len(renewed.memory.rare_keys)


def test_max_features_bounds_those_that_live():
    encoder, renewed = next_day(first(["Rome", "Oslo"], max_features=2), 1, ["Bern", "Bern"], 1)
    assert texts(encoder) == ["Bern"]  # both others have left
    encoder, renewed = next_day(encoder, 2, ["Bern", "Kiel", "Kiel", "Bonn"], 1, renewed.memory)
    assert sorted(texts(encoder)) == ["Bern", "Kiel"]


days_of_values = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=12), min_size=1, max_size=8)


@given(days_of_values, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 3)))
@settings(max_examples=60)
def test_renewal_is_what_a_list_of_days_says(days, min_count, keep_days):
    """The slow twin: a dict of ids, of counts without one, and of last days."""
    encoder = first(["v0"] * 3, min_count=min_count)
    ids, rare, last, memory = {"v0": FIRST}, {}, {"v0": 0}, None
    for day, values in enumerate(days, 1):
        cities = [f"v{value}" for value in values]
        encoder, renewed = next_day(encoder, day, cities, keep_days, memory)
        memory = renewed.memory
        for city in set(cities):
            last[city] = day
            if city not in ids:
                rare[city] = rare.get(city, 0) + cities.count(city)
        for city in [city for city in last if keep_days is not None and day - last[city] >= keep_days]:
            ids.pop(city, None)
            rare.pop(city, None)
            del last[city]
        joining = {city for city in set(cities) if rare.get(city, 0) >= min_count}
        for city in joining:
            del rare[city]
        known = {city: place for place, city in enumerate(texts(encoder), FIRST) if city is not None}
        assert set(known) == set(ids) | joining
        assert all(known[city] == place for city, place in ids.items())
        free = [place for place in range(FIRST, FIRST + 20) if place not in ids.values()]
        assert sorted(known[city] for city in joining) == free[: len(joining)] == renewed.joined.tolist()
        ids = known
        assert encoder.rows["city"] == max(ids.values(), default=FIRST - 1) + 1
        found = encoder.transform(table(sorted(known))).batch.ids.tolist() if known else [[]]
        assert found == [[known[city] for city in sorted(known)]]
        assert sorted(memory.rare_counts.tolist()) == sorted(rare.values())
        assert (np.diff(memory.rare_keys.astype(object)) > 0).all()
