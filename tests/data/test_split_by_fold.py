"""Each row, or group, is for testing in one fold and no other."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.data.chunk import Chunk
from fieldwise.data.split import PARTS
from fieldwise.data.split_by_fold import SplitByFold

TRAIN, VALID, TEST = map(PARTS.index, ("train", "valid", "test"))


@given(st.integers(3, 8), st.integers(0, 2**31), st.lists(st.one_of(st.none(), st.text(max_size=2)), min_size=1))
def test_every_row_is_tested_once_and_validates_once_and_groups_stay_together(folds, seed, groups):
    chunk = Chunk(pa.table({"user": pa.array(groups, pa.string())}), "a.csv", 0, np.arange(1, len(groups) + 1), [])
    for column in (None, "user"):
        parts = np.array([SplitByFold(folds, fold, seed, column).parts(chunk)[0] for fold in range(folds)])
        assert ((parts == TEST).sum(axis=0) == 1).all()
        assert ((parts == VALID).sum(axis=0) == 1).all()
        if column is not None:
            for group in set(groups):
                of_group = parts[:, [other == group for other in groups]]
                assert (of_group == of_group[:, :1]).all()


def test_a_row_has_its_fold_however_the_log_is_cut_and_folds_are_of_about_one_size():
    whole = Chunk(pa.table({}), "a.csv", 0, np.arange(1, 10_001), [])
    tail = Chunk(pa.table({}), "a.csv", 0, np.arange(5_001, 10_001), [])
    for fold in range(5):
        parts, _ = SplitByFold(5, fold).parts(whole)
        assert (SplitByFold(5, fold).parts(tail)[0] == parts[5_000:]).all()
        assert abs((parts == TEST).mean() - 0.2) < 0.02


def test_a_group_is_in_one_fold_whatever_the_type_of_its_column():
    names = [5, 12, 7, 5, None]
    columns = [
        pa.array(names),
        pa.array(names, pa.float64()),
        pa.array(["5", "12", "7.0", "5", ""]),
        pa.array(["5", "12", "7", "5", None], pa.string_view()),
        pa.array(["5", "12", "7", "5", None]).dictionary_encode(),
        pa.array([b"5", b"12", b"7", b"5", None]),
    ]
    dealt = []
    for column in columns:
        chunk = Chunk(pa.table({"user": column}), "a.csv", 0, np.arange(1, 6), [])
        dealt.append(SplitByFold(5, 0, 3, "user").parts(chunk)[0].tolist())
    assert all(each == dealt[0] for each in dealt)
