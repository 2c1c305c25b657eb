"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core import types

from fieldwise.kernels.kept import KernelCache

__all__ = ["kernel"]


def kernel(function: Callable[..., Any] | None = None, *, fastmath: set[str] | None = None) -> Any:
    """Compile a function when it is first called, or take the machine code that an earlier process has kept.

    It releases Python's lock. Division by zero is numpy's (inf, NaN), for Python's has a branch and an exception in
    every loop that divides; and the entry for calls from C, which nobody uses, is not made.

    Parameters
    ----------
    fastmath
        LLVM's flags that a kernel allows.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, fastmath=fastmath or False)(function)
        dispatcher._cache = KernelCache(function)  # as numba's `enable_caching` does with its own
        resolve = dispatcher.get_call_template

        def without_literals(args: Any, kws: Any) -> Any:
            return resolve([types.unliteral(each) for each in args], {k: types.unliteral(v) for k, v in kws.items()})

        # For numba a 3 written in a call is a type of its own: a kernel was compiled once for every constant that
        # another gives it, seven times for the planes of a cache.
        dispatcher.get_call_template = without_literals
        return dispatcher

    return compiled if function is None else compiled(function)
