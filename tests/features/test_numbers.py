from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.features.columns import Columns
from fieldwise.features.numbers import BinEncoder, ScaleEncoder
from fieldwise.features.scratch import Scratch
from fieldwise.schema import Field


class Coded(NamedTuple):
    ids: np.ndarray
    values: np.ndarray | None


def fitted(kind: type, values: list, **settings):
    encoder = kind(Field(name="n", type="number", column="n", **settings))
    encoder.fit_chunk(encoder.read(Columns(pa.table({"n": values})), {}))
    encoder.finish(Scratch())
    return encoder


def encoded(encoder, values: list):
    cells = encoder.read(Columns(pa.table({"n": pa.array(values, pa.float64())})), {})
    return Coded(encoder.encode(cells), encoder.inputs(cells))


@pytest.mark.parametrize(
    ("scale", "curve"),
    [
        ("standard", lambda x: x),
        ("log", lambda x: np.sign(x) * np.log1p(np.abs(x))),
        ("sqrt", lambda x: np.sign(x) * np.sqrt(np.abs(x))),
    ],
)
def test_a_scaled_number_has_mean_zero_and_deviation_one_in_training(scale, curve):
    numbers = [1.0, 4.0, -9.0, 16.0, 16.0]
    coded = encoded(fitted(ScaleEncoder, numbers, scale=scale), numbers)
    assert coded.ids.tolist() == [1] * 5
    assert coded.values.mean() == pytest.approx(0, abs=1e-6)
    assert coded.values.std() == pytest.approx(1, abs=1e-6)
    curved = curve(np.array(numbers))
    assert coded.values == pytest.approx((curved - curved.mean()) / curved.std(), rel=1e-5)


def test_scale_none_leaves_the_number_as_it_is():
    coded = encoded(fitted(ScaleEncoder, [5.0, 7.0], scale="none"), [5.5, -1e3, None])
    assert coded.values.tolist() == [5.5, -1e3, 1.0]
    assert coded.ids.tolist() == [1, 1, 0]


def test_a_missing_number_is_the_feature_missing_with_input_one():
    encoder = fitted(ScaleEncoder, [1.0, None, 3.0])
    assert encoder.counts.tolist() == [1, 2]
    coded = encoded(encoder, [None, 2.0])
    assert coded.ids.tolist() == [0, 1]
    assert coded.values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("values", [[0.1] * 3, [None, None], [1e300, 1e300]])
def test_a_constant_or_missing_column_is_scaled_by_one(values):
    encoder = fitted(ScaleEncoder, pa.array(values, pa.float64()))
    assert encoder.describe()["std"] == 1.0
    assert encoded(encoder, values[:1]).values.tolist() == [1.0 if values[0] is None else 0.0]


def test_numbers_of_any_size_stay_finite():
    coded = encoded(fitted(ScaleEncoder, [1e308, -1e308, 1e300]), [1e308, -1e308])
    assert coded.values == pytest.approx([1.2247449, -1.2247449])
    far = encoded(fitted(ScaleEncoder, [0.0, 1e-300]), [1e308, -1e308])
    assert np.isfinite(far.values).all()


def test_the_moments_of_times_in_nanoseconds_survive_their_offset():
    start = 1.7e18
    encoder = fitted(ScaleEncoder, [start, start + 2**31, start + 2**32])
    coded = encoded(encoder, [start, start + 2**31, start + 2**32])
    assert coded.values == pytest.approx([-1.2247449, 0, 1.2247449], abs=1e-5)


def test_given_edges_are_kept_and_say_what_each_bin_holds():
    encoder = fitted(BinEncoder, [17.0, 18.0, None, 70.0, 70.0], edges=(18.0, 65.5))
    assert encoder.rows == 5
    assert encoder.counts.tolist() == [1, 0, 1, 1, 2]
    assert encoder.texts(range(5)) == [None, None, "< 18", "[18, 65.5)", ">= 65.5"]
    assert encoded(encoder, [-1e9, 18.0, 65.5, None]).ids.tolist() == [2, 3, 4, 0]


def test_quantile_bins_hold_equally_many_values():
    encoder = fitted(BinEncoder, [float(x) for x in range(100)], bins=4)
    assert encoder.counts.tolist() == [0, 0, 25, 25, 25, 25]
    assert encoder.arrays()["edges"].tolist() == [25.0, 50.0, 75.0]


def test_the_counts_of_bins_are_exact_where_the_sketch_is_not():
    numbers = np.random.default_rng(0).normal(size=100_000)
    encoder = fitted(BinEncoder, numbers, bins=10)
    coded = encoded(encoder, numbers)
    assert np.array_equal(np.bincount(coded.ids), encoder.counts)
    assert encoder.counts[2:] == pytest.approx(10_000, rel=0.01)


@pytest.mark.parametrize("values", [[3.0, 3.0], [None]])
def test_a_column_without_quantiles_has_one_bin(values):
    encoder = fitted(BinEncoder, pa.array(values, pa.float64()), bins=5)
    assert encoder.rows == 3
    assert encoder.texts([2]) == ["any number"]
    assert encoded(encoder, [7.0, None]).ids.tolist() == [2, 0]
