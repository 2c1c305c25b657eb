from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.data.batches import ROOMS, RUN_EXAMPLES, Batches, epoch_order, prefetch
from fieldwise.data.cache import Cache, Examples
from fieldwise.data.cache_writer import CacheWriter
from fieldwise.kernels.layout import SINGLE, Batch, Layout

NUM_EXAMPLES = 5_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Cache:
    """Examples whose id is their place."""
    folder = tmp_path_factory.mktemp("cache")
    ids = np.arange(NUM_EXAMPLES, dtype=np.uint32)[np.newaxis]
    nothing = np.empty(0, dtype=np.float32)
    offsets = np.empty((0, NUM_EXAMPLES + 1), dtype=np.int64)
    batch = Batch(ids, nothing.reshape(0, NUM_EXAMPLES), offsets, nothing.astype(np.uint32), nothing)
    labels = (np.arange(NUM_EXAMPLES) % 2).astype(np.int32)
    with CacheWriter(folder, Layout.of([SINGLE], [NUM_EXAMPLES]), num_classes=2, block_examples=700) as writer:
        writer.add(Examples(batch, labels, None, None))
    return Cache.open(folder)


def ids(batches) -> list[list[int]]:
    return [examples.batch.ids[0].tolist() for examples in batches]


@pytest.mark.parametrize("batch_size", [1, 7, 1000, 5000, 9999])
def test_every_example_is_in_exactly_one_batch_of_an_epoch(cache, batch_size):
    batches = Batches(cache, batch_size)
    got = ids(batches.epoch(0))
    assert sorted(itertools.chain(*got)) == list(range(NUM_EXAMPLES))
    assert len(got) == batches.num_batches
    assert {len(batch) for batch in got[:-1]} <= {batch_size}
    assert 1 <= len(got[-1]) <= batch_size


def test_labels_stay_with_their_examples(cache):
    for examples in Batches(cache, 999).epoch(0):
        assert np.array_equal(examples.labels, examples.batch.ids[0] % 2)


def test_one_seed_gives_one_order_and_every_epoch_another(cache):
    first = ids(Batches(cache, 100, seed=3).epoch(0))
    assert ids(Batches(cache, 100, seed=3).epoch(0)) == first
    assert ids(Batches(cache, 100, seed=4).epoch(0)) != first
    assert ids(Batches(cache, 100, seed=3).epoch(1)) != first


@pytest.mark.parametrize("batch_size", [1, 64, 4000])
def test_memory_that_is_used_again_changes_no_batch_that_a_loop_still_holds(cache, batch_size):
    batches, held = Batches(cache, batch_size, seed=5), []
    expected = ids(batches.epoch(0))
    with prefetch(batches.epoch(0, keep=ROOMS)) as coming:
        assert ids(coming) == expected
    for number, examples in enumerate(batches.epoch(0, keep=ROOMS)):
        held = [*held[-ROOMS + 1 :], (number, examples)]
        for at, batch in held:
            assert batch.batch.ids[0].tolist() == expected[at]
    assert ids(batches.epoch(0, keep=0)) == expected


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("start", [0, 1, 49, 50])
def test_an_epoch_goes_on_from_any_batch(cache, shuffle, start):
    batches = Batches(cache, 101, shuffle=shuffle)
    assert ids(batches.epoch(2, start)) == ids(batches.epoch(2))[start:]


@pytest.mark.parametrize("early", [False, True])
def test_no_thread_outlives_its_epoch(cache, early):
    epoch = Batches(cache, 10).epoch(0)
    next(epoch)
    if early:
        epoch.close()
    else:
        assert sum(1 for _ in epoch) == NUM_EXAMPLES // 10 - 1
    assert not any(thread.name == "fieldwise-prefetch" for thread in threading.enumerate())


def test_without_shuffling_the_order_is_that_of_the_cache(cache):
    assert list(itertools.chain(*ids(Batches(cache, 300, shuffle=False).epoch(5)))) == list(range(NUM_EXAMPLES))


def test_a_batch_size_below_one_is_refused(cache):
    with pytest.raises(ValueError, match="batch_size"):
        Batches(cache, 0)


def order_of(num_examples, seed=0, epoch=0, start=0):
    return np.concatenate([np.empty(0, dtype=np.int64), *epoch_order(num_examples, seed, epoch, start)])


@settings(max_examples=40)
@given(st.integers(0, 600_000), st.integers(0, 2**70), st.integers(0, 5), st.floats(0, 1))
def test_an_order_holds_every_row_once_and_can_be_entered_anywhere(num_examples, seed, epoch, share):
    order = order_of(num_examples, seed, epoch)
    assert np.array_equal(np.bincount(order, minlength=num_examples), np.ones(num_examples))
    start = int(share * num_examples)
    assert np.array_equal(order_of(num_examples, seed, epoch, start), order[start:])


@pytest.mark.parametrize("num_examples", [10_000, 300_000, 263_000, 1_000_000])
def test_input_sorted_by_label_comes_out_mixed(num_examples):
    labels = np.arange(num_examples) >= 0.7 * num_examples  # all negatives, then all positives
    order = order_of(num_examples)
    windows = max(1, num_examples // 50_000)
    spread = max(abs(part.mean() - labels.mean()) for part in np.array_split(labels[order], windows))
    # A piece of a window is a sample of whole runs, 128 of them at least: deviation sqrt(.3 * .7 / 128) = .04.
    assert spread < 0.13
    # Inside a window the order is random: neighbours are of one class as often as chance has it.
    same = (labels[order][1:] == labels[order][:-1]).mean()
    assert abs(same - (0.7**2 + 0.3**2)) < 0.02


def test_reading_a_window_touches_the_disk_in_runs():
    window = next(epoch_order(1_000_000, seed=0, epoch=0))
    assert 128 * RUN_EXAMPLES <= len(window) <= 256 * RUN_EXAMPLES
    assert len(np.unique(window // RUN_EXAMPLES)) <= 256


# --- prefetching ---


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_prefetching_changes_nothing(count):
    with prefetch(iter(range(count))) as items:
        assert list(items) == list(range(count))


def test_an_exception_arrives_where_its_item_would_have():
    def source():
        yield 1
        yield 2
        raise KeyError("broken")

    with prefetch(source()) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(KeyError, match="broken"):
            next(items)


def test_at_most_depth_items_and_the_one_in_hand_are_made_ahead():
    made = []

    def source():
        for number in itertools.count():
            made.append(number)
            yield number

    with prefetch(source(), depth=2) as items:
        for wanted in range(20):
            assert next(items) == wanted
            assert len(made) <= wanted + 1 + 2 + 1


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_ends_the_thread(taken):
    before = threading.active_count()
    with prefetch(itertools.count()) as items:
        assert list(itertools.islice(items, taken)) == list(range(taken))
    assert threading.active_count() == before


def test_an_exception_of_the_consumer_ends_the_thread_too():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), prefetch(itertools.count()) as items:
        1 / next(items)
    assert threading.active_count() == before
