"""Agents of several hosts meet, also when one comes later, stands still, or goes without a word."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.distributed import runs
from tests.helpers import PATIENCE

from fieldwise.distributed import rendezvous
from fieldwise.distributed.rendezvous import Hosts


@pytest.fixture
def hosts(monkeypatch):
    monkeypatch.setattr(rendezvous, "_FOR_MORE", timedelta(seconds=1))
    monkeypatch.setattr(rendezvous, "_BEATS", 3)
    return Hosts(1, 2, f"127.0.0.1:{runs.free_port()}")


def wait_until(happened):
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def meet_as_agent(meeting):
    """Meet as an agent does, anew where a host was lost or another one waits, until two have met.

    On a busy machine a host may miss its beats, and the other one begin without it: both are then the first of one.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        info = meeting.next_rendezvous()
        while meeting.whole and not meeting.num_nodes_waiting():
            if info.world_size == 2:
                return info
            time.sleep(0.05)
    raise AssertionError("the two never met")


@pytest.mark.parametrize(("first", "second"), [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")])
def test_a_host_that_comes_later_and_the_one_that_was_alone_are_told_the_same_place(hosts, first, second):
    early = hosts.meet(first)
    alone = early.next_rendezvous()
    assert (alone.rank, alone.world_size) == (0, 1)
    late = hosts.meet(second)
    with ThreadPoolExecutor() as pool:
        infos = list(pool.map(meet_as_agent, [early, late]))
    assert sorted(info.rank for info in infos) == [0, 1]
    places = [(info.bootstrap_store_info.master_addr, info.bootstrap_store_info.master_port) for info in infos]
    assert places[0] == places[1]
    assert places[0][0] == min(first, second)
    late.close()
    wait_until(early.is_closed)
    early.leave()  # or its thread may be the last to know it, and torch lets the thread wait for itself then


def test_a_host_that_says_nothing_any_more_is_missed_and_sees_so_itself(hosts):
    meetings = [hosts.meet(), hosts.meet()]
    with ThreadPoolExecutor() as pool:
        list(pool.map(meet_as_agent, meetings))
    meetings[1].leave()
    wait_until(lambda: not meetings[0].whole)
    wait_until(lambda: not meetings[1].whole)
    meetings[0].leave()
