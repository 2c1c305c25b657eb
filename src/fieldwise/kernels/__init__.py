"""The hot loops, in numba over numpy arrays: no torch, no files.

numba keeps what it has compiled beside the sources, and compiles a function anew when its own file has changed. But a
kernel contains the kernels and constants of other files that it uses: after an upgrade it would go on with those of
before. So for the files of this folder all of them count.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl

_FOLDER = Path(__file__).parent


def _digest() -> str:
    """Return a hash of all kernels."""
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(_FOLDER.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _of_all_kernels(locator: Any, digest: str) -> Any:
    """Return a class that keeps compiled kernels where `locator` does, under a stamp of all their sources."""

    class OfAllKernels(locator):  # type: ignore[misc]
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            return super().from_function(py_func, py_file) if Path(py_file).parent == _FOLDER else None

        def get_source_stamp(self) -> tuple[Any, str]:
            return super().get_source_stamp(), digest

    return OfAllKernels


def _guard_cache() -> None:
    locators, digest = CompileResultCacheImpl._locator_classes, _digest()
    CompileResultCacheImpl._locator_classes = [*(_of_all_kernels(each, digest) for each in locators), *locators]


_guard_cache()
