"""A child of a fork predicts and trains, whatever its parent was doing."""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from tests.logs import QUICK, config_text, make_table, write

import fieldwise as fw
from fieldwise.forks import ForkLock, inherited_torch
from fieldwise.kernels.threads import num_threads, run_each, set_num_threads, team

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

LONG = 300.0
"""Seconds after which a child counts as hanging, on a busy machine too."""
WIDE = "[model]\nhidden = [64, 32]\n[train]\nepochs = 1\nbatch_size = 256\n"


def in_child(function, *arguments):
    """Return what a call returns in a child of a fork; fail where the child raises, dies or hangs."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                answer = (True, function(*arguments))
            except BaseException as error:
                answer = (False, repr(error))
            with os.fdopen(writer, "w") as pipe:
                pipe.write(repr(answer))
        finally:
            os._exit(0)
    os.close(writer)
    hanging = threading.Timer(LONG, os.kill, (child, signal.SIGKILL))
    hanging.start()
    try:
        with os.fdopen(reader) as pipe:
            data = pipe.read()
    finally:
        hanging.cancel()
        os.waitpid(child, 0)
    assert data, f"the child died, or gave no answer in {LONG:.0f} s"
    ended, answer = ast.literal_eval(data)
    assert ended, answer
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forks")
    write(make_table(1500), folder / "log.parquet")
    fw.train(config(folder), folder / "run")
    return folder


@pytest.fixture(autouse=True)
def two_threads():
    """Let torch's own threads and ours be at work, whatever this machine has; one core alone would never hang."""
    before = num_threads(), torch.get_num_threads()
    set_num_threads(2)
    torch.set_num_threads(2)
    yield
    set_num_threads(before[0])
    torch.set_num_threads(before[1])


def config(folder, more=WIDE):
    return fw.parse_config(config_text("log.parquet", more=more), base=folder)


ROWS = make_table(20_000, seed=5)


def probabilities(predictor, count):
    return predictor.predict(ROWS.slice(0, count)).tolist()


@pytest.mark.parametrize(("before", "after"), [(0, 20_000), (1, 20_000), (20_000, 1), (20_000, 20_000)])
def test_a_child_predicts_what_its_parent_does(folder, before, after):
    predictor = fw.Predictor(folder / "run")
    if before:
        probabilities(predictor, before)
    found = in_child(probabilities, predictor, after)
    assert found == probabilities(predictor, after)


def test_a_child_trains_the_model_that_its_parent_does_and_so_does_its_own_child(folder, tmp_path):
    def weights(name):
        fw.train(config(folder), tmp_path / name)
        return {path.name: path.read_bytes() for path in (tmp_path / name / "bundle").iterdir()}

    def in_both():
        return weights("child"), in_child(weights, "grandchild")

    own = weights("own")
    assert in_child(in_both) == (own, own)


def test_a_child_takes_the_threads_that_its_configuration_asks_for(folder, tmp_path):
    more = WIDE + "threads = 2\n"
    fw.train(config(folder, more), tmp_path / "own")

    def train():
        return fw.train(config(folder, more), tmp_path / "child").test.auc, torch.get_num_threads(), num_threads()

    auc, of_torch, ours = in_child(train)
    assert 0.5 < auc < 1
    assert (of_torch, ours) == (1, 2)


def test_a_child_goes_on_where_another_thread_of_its_parent_was_predicting(folder):
    predictor = fw.Predictor(folder / "run")
    expected = probabilities(predictor, 3000)
    over = threading.Event()

    def predict():
        while not over.is_set():
            probabilities(predictor, 3000)

    def fork():
        answers.extend(in_child(probabilities, predictor, 3000) for _ in range(3))

    answers = []
    busy = [threading.Thread(target=predict) for _ in range(2)]
    forking = threading.Thread(target=fork)
    for thread in (*busy, forking):
        thread.start()
    forking.join()
    over.set()
    for thread in busy:
        thread.join()
    assert answers == [expected] * 3


def test_a_pool_of_processes_predicts_after_a_training(folder, tmp_path):
    fw.train(config(folder, QUICK), tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # A pool ends its children by SIGTERM; they inherit what the process of the tests does on it.
        ending = (signal.SIGTERM, signal.SIG_DFL)
        with multiprocessing.get_context("fork").Pool(2, signal.signal, ending) as pool:
            found = pool.map_async(count_predictions, [tmp_path / "run"] * 2).get(timeout=LONG)
    assert found == [2000, 2000]


def count_predictions(run):
    return len(probabilities(fw.Predictor(run), 2000))


def test_a_team_that_was_at_work_is_made_anew(folder):
    begun, over = threading.Event(), threading.Event()

    def work(_):
        begun.set()
        over.wait()

    thread = threading.Thread(target=run_each, args=(work, [(0,), (1,)]))
    thread.start()
    begun.wait()
    try:
        assert in_child(lambda: run_each(int, [("1",), ("2",)])) == [1, 2]
        assert in_child(lambda: team().busy.locked()) is False
    finally:
        over.set()
        thread.join()


def test_a_lock_that_another_thread_holds_is_free_in_a_child():
    lock = ForkLock()
    held, over = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lock.acquire) is True
        assert not lock.acquire(blocking=False)
    finally:
        over.set()
        thread.join()
    assert lock.acquire(blocking=False)


def test_a_fork_waits_for_a_thread_that_compiles():
    from numba.core.compiler_lock import global_compiler_lock

    order, held = [], threading.Event()

    def compile_something():
        with global_compiler_lock:
            held.set()
            time.sleep(0.2)
            order.append("compiled")

    def free():
        return order, global_compiler_lock._lock.acquire(blocking=False)

    thread = threading.Thread(target=compile_something)
    thread.start()
    held.wait()
    assert in_child(free) == (["compiled"], True)
    thread.join()


def test_torch_takes_one_thread_in_a_child_and_as_many_as_before_in_its_parent():
    np.testing.assert_array_equal(in_child(lambda: (inherited_torch(), torch.get_num_threads())), (True, 1))
    assert not inherited_torch()
    assert torch.get_num_threads() == 2
