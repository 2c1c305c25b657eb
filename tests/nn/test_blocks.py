"""Work in blocks: each block once, errors where they belong, torch as it was."""

from __future__ import annotations

import threading

import pytest
import torch

from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.nn.blocks import cut, run_blocks, single_threaded_torch


@pytest.fixture(params=[(1, 1), (1, 2), (3, 1), (3, 2)], ids=str)
def threads(request):
    before = num_threads(), torch.get_num_threads()
    set_num_threads(request.param[0])
    torch.set_num_threads(request.param[1])
    yield request.param
    set_num_threads(before[0])
    torch.set_num_threads(before[1])


def test_every_block_is_done_once_without_gradients_and_with_one_thread_of_torch(threads):
    seen, lock = [], threading.Lock()

    def note(block):
        with lock:
            state = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_num_threads()
            seen.append((block.start, block.stop, *state))

    with torch.autocast("cpu", torch.bfloat16):
        run_blocks(note, cut(10, 3))
    assert sorted(seen) == [(begin, min(begin + 3, 10), False, False, 1) for begin in (0, 3, 6, 9)]
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads[1]


def test_nothing_to_do_is_done(threads):
    run_blocks(lambda block: pytest.fail("no block"), cut(0, 3))


def test_an_error_in_a_block_reaches_the_caller_and_the_threads_live_on(threads):
    def fail(block):
        if block.start == 4:
            raise ValueError("block 4")

    with pytest.raises(ValueError, match="block 4"):
        run_blocks(fail, cut(10, 2))
    done = []
    run_blocks(done.append, cut(10, 2))
    assert sorted(block.start for block in done) == [0, 2, 4, 6, 8]


def test_torch_has_its_threads_again_after_an_error(threads):
    with pytest.raises(KeyError), single_threaded_torch():
        {}[torch.get_num_threads()]
    assert torch.get_num_threads() == threads[1]
