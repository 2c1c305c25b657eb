import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import sketch as reference
from tests.reference.bins import quantile_edges, suitable_bins

from fieldwise.features.sketch import NumberSketch

NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float) | st.just(float("nan")), max_size=60)


def sketched(*chunks: np.ndarray, capacity: int = 65_536) -> NumberSketch:
    sketch = NumberSketch(capacity)
    for chunk in chunks:
        sketch.add(np.asarray(chunk, dtype=np.float64))
    return sketch


@given(NUMBERS)
def test_few_distinct_values_are_kept_as_they_are(numbers):
    sketch = sketched(numbers)
    distribution = sketch.finish()
    present = [number + 0.0 for number in numbers if number == number]
    assert np.repeat(distribution.values, distribution.counts).tolist() == sorted(present)
    assert distribution.middles.tolist() == distribution.values.tolist()
    assert sketch.num_missing == len(numbers) - len(present)


@given(NUMBERS, st.integers(2, 9))
def test_edges_are_those_of_the_sorted_values(numbers, bins):
    assert sketched(numbers).finish().quantile_edges(bins).tolist() == quantile_edges(numbers, bins)


@given(NUMBERS)
def test_the_bins_are_as_many_as_a_plain_count_says(numbers):
    assert sketched(numbers).finish().suitable_bins() == suitable_bins(numbers)


@pytest.mark.parametrize("size", [129, 1_000, 9_000, 30_000, 250_000])
def test_the_bins_of_many_different_values_grow_with_the_cube_root_of_their_number(size):
    numbers = np.random.default_rng(0).normal(size=size)
    assert sketched(numbers).finish().suitable_bins() == suitable_bins(numbers.tolist())


def test_values_that_are_not_like_their_neighbours_have_a_bin_each():
    random = np.random.default_rng(0)
    ages = np.clip(random.normal(40, 12, 20_000).round(), 17, 90)
    gains = np.concatenate((np.zeros(20_000), random.choice(100, 2_000, p=random.dirichlet(np.full(100, 0.3)))))
    assert sketched(ages).finish().suitable_bins() == 9
    distribution = sketched(gains).finish()
    assert distribution.quantile_edges(distribution.suitable_bins()).tolist() == distribution.values[1:].tolist()


def test_rounded_values_are_a_quantity_still():
    """Hours of work: most say 40, many a multiple of 5, and the others are as many as their neighbours."""
    random = np.random.default_rng(0)
    hours = np.clip(random.normal(40, 12, 30_000).round(), 1, 99)
    rounded = np.where(random.random(30_000) < 0.6, np.where(random.random(30_000) < 0.5, 40, 5 * (hours // 5)), hours)
    assert sketched(rounded).finish().suitable_bins() == 10


def test_a_value_that_is_nearly_everywhere_leaves_the_other_bins_to_the_others():
    numbers = [0.0] * 900 + [float(i) for i in range(1, 101)]
    edges = sketched(numbers).finish().quantile_edges(11)
    assert edges.tolist() == [1.0, 11.0, 21.0, 31.0, 41.0, 51.0, 61.0, 71.0, 81.0, 91.0]


def test_ties_and_constants_make_fewer_bins():
    assert sketched([0.0] * 7 + [1.0, 2.0, 3.0]).finish().quantile_edges(10).tolist() == [1.0, 2.0, 3.0]
    assert sketched([4.0] * 5).finish().quantile_edges(3).tolist() == []
    assert sketched([np.nan]).finish().quantile_edges(3).tolist() == []


@pytest.mark.parametrize(
    "numbers",
    [
        np.random.default_rng(0).normal(size=9_000),
        np.random.default_rng(1).lognormal(0, 4, size=9_000),
        1.7e9 + np.random.default_rng(2).random(9_000) * 1e5,
    ],
)
def test_many_distinct_values_are_rounded_down_no_more_than_needed(numbers):
    level, expected = reference.distribution(numbers.tolist(), capacity=4096)
    distribution = sketched(numbers, capacity=4096).finish()
    assert dict(zip(distribution.values.tolist(), distribution.counts.tolist(), strict=True)) == expected
    error = np.sort(numbers) - np.repeat(distribution.values, distribution.counts)
    assert (error >= 0).all()
    assert (error <= 2.0 ** (level - 52) * np.abs(np.sort(numbers))).all()
    middles = np.repeat(distribution.middles, distribution.counts)
    assert middles.mean() == pytest.approx(numbers.mean(), abs=0.01 * numbers.std())
    assert middles.std() == pytest.approx(numbers.std(), rel=0.01)


def test_chunks_merges_and_their_order_do_not_matter_when_values_are_rounded():
    rng = np.random.default_rng(3)
    numbers = rng.lognormal(0, 3, 20_000)
    whole = sketched(numbers, capacity=4096).finish()
    for sizes in ([20_000], [10_000, 10_000], [10, 19_000, 0, 990], [19_990, 10]):
        shuffled = np.split(rng.permutation(numbers), np.cumsum(sizes)[:-1])
        merged = sketched(capacity=4096)
        for part in [sketched(chunk, capacity=4096) for chunk in shuffled]:
            merged.add_learned(part.learned())
        for other in (sketched(*shuffled, capacity=4096).finish(), merged.finish()):
            assert [array.tolist() for array in other] == [array.tolist() for array in whole]
