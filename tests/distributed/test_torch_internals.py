"""Which of its defects torch still has: a test that fails here says what of `distributed.torch_internals` can go."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import torch
from tests.helpers import PATIENCE
from torch.distributed import HashStore
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from fieldwise.distributed.torch_internals import Meeting


def handlers(kind, num_hosts, address="127.0.0.1"):
    """Return the rendezvous handlers of so many hosts, which are missed after three beats of a second."""
    store = HashStore()
    return [
        kind.from_backend(
            "run",
            store,
            C10dRendezvousBackend(store, "run"),
            num_hosts,
            num_hosts,
            address,
            RendezvousTimeout(last_call=timedelta(seconds=1)),
            1,
            3,
        )
        for _ in range(num_hosts)
    ]


def test_the_defects_are_those_of_the_version_that_is_tested():
    assert torch.__version__.startswith("2.13."), (
        "compare `benchmarks/elastic.py` with and without each workaround of distributed/torch_internals.py"
    )


def test_torch_still_publishes_the_address_for_workers_once_and_we_do_in_every_round():
    [theirs] = handlers(DynamicRendezvousHandler, 1)
    first, second = theirs.next_rendezvous(), theirs.next_rendezvous()
    assert second.bootstrap_store_info is first.bootstrap_store_info, "`Meeting.next_rendezvous` can go"
    theirs.shutdown()
    [ours] = handlers(Meeting, 1)
    assert ours.next_rendezvous().bootstrap_store_info is not ours.next_rendezvous().bootstrap_store_info
    ours.shutdown()


def test_torch_still_does_not_say_that_a_host_was_lost_and_we_do():
    stays, leaves = meetings = handlers(Meeting, 2)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda meeting: meeting.next_rendezvous(), meetings))
    leaves.leave()
    deadline = time.monotonic() + PATIENCE
    while stays.whole:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # All that torch's agent asks for: whether others wait, and whether the run was closed.
    assert stays.num_nodes_waiting() == 0, "`Meeting.whole` can go"
    assert not stays.is_closed(), "`Meeting.whole` can go"
    stays.leave()
