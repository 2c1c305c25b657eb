from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.data.chunk import Chunk
from fieldwise.data.split import NO_PART, PARTS, SplitByColumn, SplitByShare
from fieldwise.errors import ConfigError, DataError


def chunk_of(rows, file=0, **columns):
    return Chunk(pa.table(columns), "a.csv", file, np.asarray(rows, dtype=np.int64), [])


ROWS = np.arange(1, 100_001)


def parts(split, rows=ROWS, file=0):
    return split.parts(chunk_of(rows, file))[0]


def test_shares_come_out_as_asked_within_chance():
    got = np.bincount(parts(SplitByShare(valid=0.1, test=0.3)), minlength=3) / len(ROWS)
    assert np.abs(got - [0.6, 0.1, 0.3]).max() < 0.005  # three standard errors of the largest


def test_the_part_of_a_row_does_not_depend_on_how_the_log_is_cut():
    split = SplitByShare(valid=0.3, test=0.3)
    pieces = [parts(split, piece) for piece in np.array_split(ROWS, 7)]
    assert np.array_equal(np.concatenate(pieces), parts(split))


def test_another_seed_or_file_gives_another_independent_split():
    base = parts(SplitByShare(valid=0.5)) == 1
    for other in (parts(SplitByShare(valid=0.5, seed=1)), parts(SplitByShare(valid=0.5), file=1)):
        assert abs((base == (other == 1)).mean() - 0.5) < 0.01


def test_the_split_never_changes():
    assert parts(SplitByShare(valid=0.3, test=0.3, seed=7), np.arange(1, 13), file=2).tolist() == [
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        2,
        1,
        0,
        2,
    ]


def test_a_larger_share_keeps_the_rows_of_the_smaller():
    small, large = parts(SplitByShare(valid=0.1)), parts(SplitByShare(valid=0.2))
    assert set(np.flatnonzero(small == 1)) < set(np.flatnonzero(large == 1))


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (-0.1, 0.0), (0.0, 1.0), (float("nan"), 0.0)])
def test_shares_that_leave_nothing_are_refused(valid, test):
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        SplitByShare(valid, test)


@pytest.mark.parametrize("type", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_a_column_names_the_part_and_other_names_are_rejected(type):
    names = pa.array(["test", "train", "dev", "valid", None, " Training", "VALIDATION", "val", "Test"], pa.string())
    got, rejects = SplitByColumn("part").parts(chunk_of([1, 2, 5, 6, 7, 9, 10, 11, 12], part=names.cast(type)))
    assert got.tolist() == [2, 0, NO_PART, 1, NO_PART, 0, 1, 1, 2]
    assert [(reject.row, reject.text) for reject in rejects] == [(5, "dev"), (7, "")]
    assert rejects[0].reason == "column part is none of train, valid, test"


def test_a_column_that_holds_no_text_is_refused():
    with pytest.raises(DataError, match="holds no text"):
        SplitByColumn("part").parts(chunk_of([1], part=pa.array([["train"]])))


def test_an_empty_chunk_has_no_parts():
    assert parts(SplitByShare(valid=0.1), []).tolist() == []
    assert SplitByColumn("part").parts(chunk_of([], part=pa.array([], pa.string())))[0].tolist() == []


def test_parts_are_small_numbers():
    assert PARTS == ("train", "valid", "test")
    assert parts(SplitByShare(valid=0.1)).dtype == np.uint8
