"""Processes that begin with all imported: forks of a server that has imported it, and has done nothing yet.

A process of Python's own takes 2 s of the processor to import torch and all else. Where the start of a process is not
what is tested, a fork is as good: it has its own memory, signals and end.
"""

from __future__ import annotations

import multiprocessing

__all__ = ["FORKS"]

FORKS = multiprocessing.get_context("forkserver")
"""Its server is started by the first process and ends with the tests."""
FORKS.set_forkserver_preload(["tests.preloaded"])
