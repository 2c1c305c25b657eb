import threading
import time

import pytest

from fieldwise.kernels.threads import map_in_order, num_threads, set_num_threads


@pytest.fixture(params=[1, 3])
def threads(request):
    before = num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def test_a_map_of_nothing_is_empty(threads):
    assert list(map_in_order(str, [])) == []


def test_results_come_in_the_order_of_the_items_however_long_each_takes(threads):
    def work(item):
        time.sleep(0.002 * (item % 3))
        return -item

    assert list(map_in_order(work, range(20))) == [-item for item in range(20)]


def test_few_items_are_taken_ahead(threads):
    taken = []

    def items():
        for item in range(30):
            taken.append(item)
            yield item

    results = map_in_order(str, items())
    next(results)
    assert len(taken) <= threads + 1
    results.close()
    assert len(taken) <= threads + 1


def test_the_first_exception_in_order_comes_after_the_results_before_it(threads):
    def work(item):
        if item in (3, 4):
            time.sleep(0.01 * (4 - item))
            raise ValueError(item)
        return item

    results = []
    with pytest.raises(ValueError, match="3"):
        results.extend(map_in_order(work, range(10)))  # extend keeps what came before
    assert results == [0, 1, 2]
    assert not any(thread.name.startswith("fieldwise-map") for thread in threading.enumerate())
