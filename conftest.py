"""What pytest must know before it looks at a module: the width of tables, what a disk is spared, what comes first."""

from __future__ import annotations

import os

import hypothesis
import pytest

os.environ["COLUMNS"] = "100"  # tables are laid out alike, whatever terminal the tests are started from
os.environ["FIELDWISE_REPORT"] = "0"  # drawing takes seconds, and hundreds of tests train by the command line
_FIRST = ("tests/crash/", "tests/distributed/", "tests/testing/")
"""The longest files: one that begins last would leave the other cores idle."""


def _sync(descriptor: int) -> None:
    """Stand in for `os.fsync`: no test cuts the power, and a disk needs minutes for the 30,000 calls of all tests.

    Processes that tests start do sync.
    """
    os.fstat(descriptor)  # raises as fsync does where nothing is open


os.fsync = _sync

# The first example of a test may compile a kernel, and machines are busy: no example has a time limit.
hypothesis.settings.register_profile("fieldwise", deadline=None)
hypothesis.settings.load_profile("fieldwise")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first."""
    items.sort(key=lambda item: not item.nodeid.startswith(_FIRST))
