"""Crosses are found where there are some, and only there."""

import msgspec
import numpy as np
import pytest

from fieldwise.kernels.layout import BAG, SINGLE, Batch, Layout
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.profile import crosses as search_of_crosses

SIZES = [12, 9, 30, 6, 5, 7, 40, 3]
NAMES = [f"field {number}" for number in range(len(SIZES) + 1)]


def find_crosses(*examples, **settings):
    return search_of_crosses.find_crosses(*examples, names=NAMES, **settings)


def numbers(found):
    """Return the numbers of the fields of each cross."""
    return [tuple(NAMES.index(name) for name in cross.fields) for cross in found.crosses]


def planted(crosses, num_examples=60_000, seed=0, effect=0.7):
    """Return examples whose logits are sums over single fields, and over the combinations of `crosses`."""
    rng = np.random.default_rng(seed)
    ids = np.array([np.minimum(rng.geometric(2.0 / size, num_examples) - 1, size - 1) for size in SIZES])
    logits = np.full(num_examples, -1.0)
    for line, size in zip(ids, SIZES, strict=True):
        logits += rng.normal(0, 0.4, size)[line]
    for fields in crosses:
        cells = np.ravel_multi_index([ids[f] for f in fields], [SIZES[f] for f in fields])
        logits += rng.normal(0, effect, cells.max() + 1)[cells]
    labels = (rng.random(num_examples) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    none = np.empty(0, np.float32)
    batch = Batch(
        (ids + 2).astype(np.uint32),
        none.reshape(0, num_examples),
        np.empty((0, num_examples + 1), np.int64),
        none.astype(np.uint32),
        none,
    )
    return batch, Layout.of([SINGLE] * len(SIZES), [size + 2 for size in SIZES]), labels


@pytest.mark.parametrize("crosses", [[(0, 2)], [(0, 1), (2, 6)], [(3, 4, 5)]])
@pytest.mark.parametrize("in_order", [False, True])
def test_planted_crosses_are_found_and_no_others(crosses, in_order):
    search = find_crosses(*planted(crosses), in_order=in_order)
    assert sorted(numbers(search)) == crosses
    assert search.logloss[1] < search.logloss[0] - 0.002
    assert search.pairs_tried == len(SIZES) * (len(SIZES) - 1) // 2
    assert all(cross.deviations > 2.3 for cross in search.crosses)


@pytest.mark.parametrize("seed", range(3))
def test_where_fields_only_add_up_nothing_is_found(seed):
    search = find_crosses(*planted([], seed=seed))
    assert search.crosses == []
    assert search.logloss[0] == search.logloss[1]


def test_what_holds_no_longer_in_the_rows_put_aside_is_not_taken():
    (batch, layout, labels), count = planted([(0, 1), (2, 6)]), 15_000
    changed = labels.copy()
    rows = np.arange(len(labels)) >= len(labels) - count
    rng = np.random.default_rng(1)
    # From then on the second cross alone is as before: rows swap their labels within its cells.
    cells = batch.ids[2, rows] * 100 + batch.ids[6, rows]
    order = np.lexsort((rng.random(count), cells))
    changed[np.flatnonzero(rows)[np.argsort(cells, kind="stable")]] = labels[rows][order]
    before = find_crosses(batch, layout, labels, num_aside=count)
    after = find_crosses(batch, layout, changed, num_aside=count)
    assert sorted(numbers(before)) == [(0, 1), (2, 6)]
    assert numbers(after) == [(2, 6)]


def test_no_more_than_asked_for_are_taken():
    assert len(find_crosses(*planted([(0, 1), (2, 6)]), max_crosses=1).crosses) == 1


def test_what_is_found_does_not_depend_on_the_number_of_threads():
    threads, found = num_threads(), []
    try:
        for count in (1, 2):
            set_num_threads(count)
            found.append(msgspec.structs.replace(find_crosses(*planted([(0, 1)], 20_000)), seconds=0.0))
    finally:
        set_num_threads(threads)
    assert found[0] == found[1]


def test_bags_take_no_part_and_are_named():
    batch, layout, labels = planted([(0, 2)], 20_000)
    count = len(labels)
    offsets = np.arange(count + 1, dtype=np.int64)[np.newaxis]
    batch = batch._replace(
        offsets=offsets, bag_ids=np.full(count, 2, np.uint32), bag_weights=np.ones(count, np.float32)
    )
    search = find_crosses(batch, Layout.of([*layout.form.tolist(), BAG], [*np.diff(layout.base), 4]), labels)
    assert search.fields_left_out == {NAMES[len(SIZES)]: "bags are not combined"}
    assert numbers(search) == [(0, 2)]


@pytest.mark.parametrize("labels", [0, 1])
def test_one_class_gives_nothing_to_find(labels):
    batch, layout, _ = planted([], 500)
    assert find_crosses(batch, layout, np.full(500, labels)).crosses == []
