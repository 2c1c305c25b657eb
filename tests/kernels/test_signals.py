"""Signals between two threads: none is lost, whether the other one looks or sleeps."""

from __future__ import annotations

import threading
import time

import pytest
from tests.helpers import PATIENCE

from fieldwise.kernels.signals import Signal


@pytest.mark.parametrize("late", [0.0, 0.02], ids=["looked for", "slept on"])
def test_who_waits_goes_on_when_the_other_posts(late):
    signal, order = Signal(), []

    def post():
        time.sleep(late)
        order.append("posted")
        signal.post()

    thread = threading.Thread(target=post)
    thread.start()
    signal.wait()
    order.append("gone on")
    thread.join()
    assert order == ["posted", "gone on"]


def test_what_was_posted_before_is_not_waited_for_and_counts_once():
    signal = Signal()
    signal.post()
    signal.wait(pauses=10)
    waiting = threading.Thread(target=signal.wait)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    signal.post()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_thousands_of_turns_between_two_threads_lose_none():
    there, back, seen = Signal(), Signal(), [0]
    turns = 20_000

    def answer():
        for turn in range(turns):
            there.wait()
            seen[0] += turn == seen[0]
            if turn % 997 == 0:
                time.sleep(0.001)  # the other one falls asleep
            back.post()

    thread = threading.Thread(target=answer)
    thread.start()
    for turn in range(turns):
        if turn % 1009 == 0:
            time.sleep(0.001)
        there.post()
        back.wait()
        assert seen[0] == turn + 1
    thread.join()
