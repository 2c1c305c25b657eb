"""The cache, written and read back; the twin is the list of examples that went in."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.full_disk import files_of_at_most
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.data.cache import Cache, Examples
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.errors import ArtefactError, ResourceError
from fieldwise.kernels.threads import num_threads, set_num_threads

WIDTHS = {"single": [2, 256, 257, 65_536, 65_537, 3_000_000], "value": [2], "bag": [2, 70_000]}


class Data:
    """Random examples as plain lists, and the batch of any of them."""

    def __init__(self, forms, rows, num_examples, seed=0, num_classes=2, weights=False, groups=False, unweighted=False):
        rng = np.random.default_rng(seed)
        self.forms, self.layout, self.num_classes = forms, make_layout(forms, rows), num_classes
        self.fields = random_fields(rng, forms, rows, num_examples)
        if unweighted:
            self.fields = [[[(i, 1.0) for i, _ in row] for row in field] for field in self.fields]
        self.labels = rng.integers(0, num_classes, num_examples).astype(np.int32) if num_classes else None
        self.weights = rng.random(num_examples, dtype=np.float32) if weights else None
        self.groups = rng.integers(0, 2**64 - 1, num_examples, dtype=np.uint64) if groups else None
        self.num_examples = num_examples

    def at(self, rows) -> Examples:
        rows = np.asarray(rows, dtype=np.int64)
        batch = make_batch(self.forms, [[field[row] for row in rows] for field in self.fields])
        columns = (self.labels, self.weights, self.groups)
        return Examples(batch, *(None if column is None else column[rows] for column in columns))

    def write(self, folder, cuts=(), block_examples=8) -> Cache:
        told = {"weights": self.weights is not None, "groups": self.groups is not None}
        bounds = [0, *sorted(cuts), self.num_examples]
        with CacheWriter(
            folder, self.layout, num_classes=self.num_classes, block_examples=block_examples, **told
        ) as writer:
            for start, stop in pairwise(bounds):
                writer.add(self.at(range(start, stop)))
        return Cache.open(folder)


def assert_equal(got: Examples, expected: Examples) -> None:
    for ours, theirs in zip((*got.batch, *got[1:]), (*expected.batch, *expected[1:]), strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            assert np.array_equal(ours, theirs)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


field_forms = st.sampled_from(["single", "value", "bag"])


@st.composite
def data_and_rows(draw):
    forms = draw(st.lists(field_forms, min_size=1, max_size=5))
    rows = [draw(st.sampled_from(WIDTHS[form])) for form in forms]
    num_examples = draw(st.integers(0, 30))
    flags = {name: draw(st.booleans()) for name in ("weights", "groups", "unweighted")}
    data = Data(forms, rows, num_examples, draw(st.integers(0, 99)), draw(st.sampled_from([0, 2, 256, 1000])), **flags)
    some = st.lists(st.integers(0, num_examples - 1), max_size=40) if num_examples else st.just([])
    return data, draw(some), draw(st.lists(st.integers(0, num_examples), max_size=4))


@given(data_and_rows())
def test_what_goes_in_comes_out_in_any_order_whatever_the_chunks_were(tmp_path_factory, drawn):
    data, rows, cuts = drawn
    cache = data.write(tmp_path_factory.mktemp("cache"), cuts)
    assert cache.num_examples == data.num_examples
    assert cache.layout.base.tolist() == data.layout.base.tolist()
    assert_equal(cache.gather(np.array(rows, dtype=np.int64)), data.at(rows))
    assert_equal(cache.gather(np.arange(data.num_examples)), data.at(range(data.num_examples)))


@settings(max_examples=30)
@given(data_and_rows())
def test_the_bytes_of_a_cache_do_not_depend_on_the_chunks(tmp_path_factory, drawn):
    data, _, cuts = drawn
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    assert data.write(one).checksum == data.write(other, cuts).checksum
    assert files_of(one) == files_of(other)


@pytest.mark.parametrize("num_examples", [0, 1, 7, 8, 9])
@pytest.mark.parametrize("forms", [["bag"], ["single"], ["value"], ["bag", "single", "value"]])
def test_the_smallest_caches_are_caches(tmp_path, forms, num_examples):
    data = Data(forms, [WIDTHS[form][-1] for form in forms], num_examples)
    cache = data.write(tmp_path)
    cache.verify()
    assert_equal(cache.gather(np.arange(num_examples)), data.at(range(num_examples)))


def test_bags_that_are_empty_everywhere_come_back_empty(tmp_path):
    data = Data(["bag", "bag"], [5, 5], 10)
    data.fields = [[[] for _ in range(10)] for _ in range(2)]
    assert_equal(data.write(tmp_path).gather(np.array([9, 0])), data.at([9, 0]))


def test_narrow_fields_take_one_byte_and_weights_of_one_take_none(tmp_path):
    n = 6400
    narrow = Data(["single"] * 4, [256] * 4, n, num_classes=0).write(tmp_path / "narrow", block_examples=n)
    middle = Data(["single"] * 4, [65_536] * 4, n, num_classes=0).write(tmp_path / "middle", block_examples=n)
    wide = Data(["single"] * 4, [65_537] * 4, n, num_classes=0).write(tmp_path / "wide", block_examples=n)
    assert [cache.num_bytes - 64 for cache in (narrow, middle, wide)] == [4 * n, 8 * n, 16 * n]
    weighted = Data(["bag"], [9], n).write(tmp_path / "weighted", block_examples=n)
    ones = Data(["bag"], [9], n, unweighted=True).write(tmp_path / "ones", block_examples=n)
    num_ids = len(weighted.gather(np.arange(n)).batch.bag_ids)
    assert abs(weighted.num_bytes - ones.num_bytes - 4 * num_ids) < 64


@pytest.mark.parametrize("rows", [[-1], [10], [0, 2**40]])
def test_a_row_that_is_not_there_is_an_index_error(tmp_path, rows):
    cache = Data(["single"], [9], 10).write(tmp_path)
    with pytest.raises(IndexError, match="rows must be 0 to 9"):
        cache.gather(np.array(rows))


@pytest.mark.parametrize("num_classes", [2, 300])
def test_batches_of_many_pieces_are_the_same_for_any_number_of_threads(tmp_path, num_classes):
    forms, rows = ["single"] * 8 + ["value", "bag"], [9, 300, 70_000, 256, 257, 65_536, 65_537, 4, 2, 70_000]
    data = Data(forms, rows, 5_000, num_classes=num_classes, weights=True, groups=True)
    cache = data.write(tmp_path, block_examples=700)
    rng, before = np.random.default_rng(0), num_threads()
    wanted = rng.permutation(5_000)[:4_321]
    expected = data.at(wanted)
    try:
        for threads in (1, 3):
            set_num_threads(threads)
            room = cache.gather(wanted[::-1].copy())
            assert_equal(cache.gather(wanted), expected)
            again = cache.gather(wanted, room)
            assert again.batch.ids is room.batch.ids
            assert_equal(again, expected)
            assert cache.labels().tolist() == data.labels.tolist()
    finally:
        set_num_threads(before)


def test_reading_ahead_verifies_what_it_can_and_leaves_damage_to_who_gathers(tmp_path):
    data = Data(["single", "bag", "value"], [300, 300, 2], 30)
    cache = data.write(tmp_path)
    path = tmp_path / "examples.bin"
    damaged = bytearray(path.read_bytes())
    damaged[-70] ^= 1  # in the last of four blocks
    path.write_bytes(damaged)
    cache = Cache.open(tmp_path)
    cache.read_ahead(np.arange(30)[::-1].copy())
    assert_equal(cache.gather(np.arange(24)), data.at(range(24)))
    with pytest.raises(ArtefactError, match="damaged"):
        cache.gather(np.arange(30))


def test_several_threads_may_gather_at_once(tmp_path):
    data = Data(["single", "bag"], [300, 300], 200)
    cache = data.write(tmp_path)
    results: dict[int, Examples] = {}

    def work(part: int) -> None:
        results[part] = cache.gather(np.arange(part, 200, 4))

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in range(4):
        assert_equal(results[part], data.at(range(part, 200, 4)))


# --- damage ---


def test_any_flipped_bit_of_the_examples_is_found_and_its_block_named(tmp_path):
    Data(["single", "bag", "value"], [300, 300, 2], 30).write(tmp_path)
    path = tmp_path / "examples.bin"
    whole = path.read_bytes()
    assert len(whole) % 64 == 0
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 200).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError, match=r"the cache is damaged\n  where: .*examples\.bin, block \d"):
            Cache.open(tmp_path).verify()


def test_a_damaged_block_is_found_when_it_is_touched_and_not_before(tmp_path):
    cache = Data(["single"], [300], 30).write(tmp_path)
    path = tmp_path / "examples.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    cache = Cache.open(tmp_path)
    assert len(cache.gather(np.arange(24)).labels) == 24
    for _ in range(2):
        with pytest.raises(ArtefactError, match="block 3"):
            cache.gather(np.array([0, 29]))


def test_any_flipped_bit_of_the_manifest_is_found(tmp_path):
    Data(["single"], [300], 3).write(tmp_path)
    path = tmp_path / "manifest.json"
    whole = path.read_bytes().rstrip()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 300).tolist():
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError):
            Cache.open(tmp_path)


def test_a_truncated_or_longer_file_is_refused_when_the_cache_is_opened(tmp_path):
    Data(["single"], [300], 30).write(tmp_path)
    path = tmp_path / "examples.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-64])
    with pytest.raises(ArtefactError, match=r"truncated(.|\n)*hint: remove the prepared folder"):
        Cache.open(tmp_path)
    path.write_bytes(whole + bytes(64))
    with pytest.raises(ArtefactError, match="longer"):
        Cache.open(tmp_path)
    path.unlink()
    with pytest.raises(ArtefactError, match="missing"):
        Cache.open(tmp_path)


def test_a_folder_without_manifest_is_no_cache(tmp_path):
    with pytest.raises(ArtefactError, match="no complete cache found"):
        Cache.open(tmp_path)


# --- writing ---


def test_writing_that_fails_leaves_no_cache_and_no_half_file(tmp_path):
    data = Data(["single"], [300], 30)
    data.write(tmp_path)

    def fail() -> None:
        with CacheWriter(tmp_path, data.layout, num_classes=2) as writer:
            writer.add(data.at(range(30)))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(ArtefactError, match="no complete cache found"):
        Cache.open(tmp_path)
    assert [name for name in files_of(tmp_path) if name.endswith(".tmp")] == []


def test_a_full_disk_is_said_and_leaves_no_half_file(tmp_path):
    data = Data(["single"], [3_000_000], 2000)
    with files_of_at_most(4096), pytest.raises(ResourceError, match=r"disk is full(.|\n)*examples\.bin"):
        data.write(tmp_path, block_examples=100)
    assert files_of(tmp_path) == {}


def test_an_id_beyond_its_field_is_refused(tmp_path):
    data = Data(["single", "single"], [300, 300], 3)
    data.fields[1][2] = [(300, 1.0)]
    with pytest.raises(ValueError, match="line 1 is not below the number of rows"):
        data.write(tmp_path)


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    data = Data(["single"], [300], 3)
    data.labels[1] = 2
    with pytest.raises(ValueError, match=r"labels must be 0 to 1, got \d to 2"):
        data.write(tmp_path)


def test_columns_that_are_there_or_not_there_against_what_was_told_are_refused(tmp_path):
    data = Data(["single"], [300], 3)
    with (
        pytest.raises(ValueError, match="as the cache was told"),
        CacheWriter(tmp_path, data.layout, num_classes=2, weights=True) as writer,
    ):
        writer.add(data.at([0]))
