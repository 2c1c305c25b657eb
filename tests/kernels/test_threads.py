import os
import threading
import time

import pytest
from tests.helpers import PATIENCE

from fieldwise.kernels.threads import ThreadTeam, map_in_order, num_threads, run_each, set_num_threads, team


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


# --- the team ---


def live(name: str) -> int:
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_every_list_is_called_once_and_results_keep_their_order(threads, count):
    assert run_each(lambda a, b: a - b, [(number, 1) for number in range(count)]) == [n - 1 for n in range(count)]


def test_calls_are_made_at_the_same_time_the_first_by_the_caller(threads):
    together = threading.Barrier(threads)

    def meet(_):
        together.wait(timeout=PATIENCE)
        return threading.get_ident()

    callers = run_each(meet, [(part,) for part in range(threads)])
    assert callers[0] == threading.get_ident()
    assert len(set(callers)) == threads


@pytest.mark.parametrize("wrong", [0, 1, 4])
def test_what_a_call_raises_is_raised_when_all_are_over_and_the_team_lives_on(threads, wrong):
    done = []

    def work(number):
        if number == wrong:
            raise ValueError(number)
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(ValueError, match=str(wrong)):
        run_each(work, [(number,) for number in range(5)])
    assert set(done) <= {0, 1, 2, 3, 4} - {wrong}
    assert run_each(abs, [(-1,), (-2,), (-3,)]) == [1, 2, 3]


def test_work_within_work_is_done_by_who_asks_for_it(threads):
    def inner(number):
        return number, threading.get_ident()

    def outer(part):
        found = run_each(inner, [(part,), (part + 1,)])
        assert {ident for _, ident in found} == {threading.get_ident()}
        return [number for number, _ in found]

    assert run_each(outer, [(0,), (10,)] if threads > 1 else [(0,)]) == (
        [[0, 1], [10, 11]] if threads > 1 else [[0, 1]]
    )


def test_two_threads_may_ask_at_once(threads):
    results = {}

    def ask(name):
        results[name] = [run_each(max, [(name, number), (0, number)]) for number in range(300)]

    asking = [threading.Thread(target=ask, args=(name,)) for name in (100, 200)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert results == {name: [[max(name, n), n] for n in range(300)] for name in (100, 200)}


def test_another_number_of_threads_ends_those_of_before():
    before = num_threads()
    set_num_threads(4)
    first = team()
    assert run_each(abs, [(-1,)] * 4) == [1] * 4
    set_num_threads(2)
    try:
        assert team() is not first
        assert team() is team()
        for _ in range(100):
            if live("fieldwise-") <= 2:
                break
            time.sleep(0.01)
        assert live("fieldwise-") <= 2 + live("fieldwise-map") + live("fieldwise-prefetch")
    finally:
        set_num_threads(before)


def test_an_interruption_while_the_others_work_leaves_a_team_that_is_not_used_again(monkeypatch):
    free = threading.Event()
    helpers = ThreadTeam(2, "interrupted")
    helper = helpers._helpers[0]
    monkeypatch.setattr(helper._end, "wait", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        helpers.run(lambda part: free.wait(10) if part else None, [(0,), (1,)])
    assert helpers.made_for is None
    free.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_a_team_of_its_own(threads):
    assert run_each(abs, [(-1,), (-2,)]) == [1, 2]
    child = os.fork()
    if child == 0:
        os._exit(0 if run_each(abs, [(-3,), (-4,)]) == [3, 4] else 1)
    assert os.waitpid(child, 0)[1] == 0
