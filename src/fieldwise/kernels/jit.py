"""How every kernel is compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numba
from numba.core import event as _event
from numba.core import types

from fieldwise.kernels.kept import KernelCache

if TYPE_CHECKING:
    from numba.core.dispatcher import Dispatcher

__all__ = ["clock", "kernel", "merged", "part"]

Function = TypeVar("Function", bound=Callable[..., object])

event: Any = _event
_COMPILING = event.TimingListener()
event.register("numba:compile", _COMPILING)


def clock() -> float:
    """Return seconds, of which only differences mean something, without those in which kernels were compiled: these
    are spent once on a machine, and may be most of a first epoch.
    """
    return time.perf_counter() - (float(_COMPILING.duration) if _COMPILING.done else 0.0)


def _compiler() -> dict[str, Any]:
    """Return the argument of `numba.njit` that names our compiler, where it is tested with this version of numba."""
    if not numba.__version__.startswith("0.68."):
        return {}
    from fieldwise.kernels.compiler import KernelCompiler

    return {"pipeline_class": KernelCompiler}


def _njit(function: Callable[..., Any], allocates: bool, **options: Any) -> Any:
    own: Any = {**_compiler(), **options, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": allocates}
    return numba.njit(**own)(function)


@overload
def kernel(function: Function) -> Dispatcher[Function]: ...


@overload
def kernel(
    *, fastmath: set[str] | None = None, allocates: bool = False
) -> Callable[[Function], Dispatcher[Function]]: ...


def kernel(
    function: Callable[..., Any] | None = None, *, fastmath: set[str] | None = None, allocates: bool = False
) -> Any:
    """Compile a function when it is first called, or take the machine code that an earlier process has kept.

    It releases Python's lock. Division by zero is numpy's (inf, NaN), for Python's has a branch and an exception in
    every loop that divides; and the entry for calls from C, which nobody uses, is not made.

    Parameters
    ----------
    fastmath
        LLVM's flags that a kernel allows.
    allocates
        Whether it makes arrays, or returns one. numba then counts the references to all arrays, those that it is given
        too.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = _njit(function, allocates, nogil=True, fastmath=fastmath or False)
        dispatcher._cache = KernelCache(function)  # as numba's `enable_caching` does with its own
        return _without_literals(dispatcher)

    return compiled if function is None else compiled(function)


def _without_literals(dispatcher: Any) -> Any:
    """Let a 3 that is written in a call be an integer like any other.

    For numba it is a type of its own: a kernel was compiled once for every constant that another gives it, seven times
    for the planes of a cache.
    """
    resolve, unliteral = dispatcher.get_call_template, cast(Any, types.unliteral)

    def without_literals(args: Any, kws: Any) -> Any:
        return resolve([unliteral(each) for each in args], {k: unliteral(v) for k, v in kws.items()})

    dispatcher.get_call_template = without_literals
    return dispatcher


def merged(function: Function) -> Dispatcher[Function]:
    """Compile a function of a few numbers for kernels alone, whose machine code contains it: a call costs nothing.

    numba's own ``inline="always"``, which functions that are given arrays need, copies the function into each caller
    before types are known: with 40 calls that tripled the time of compilation.
    """
    return _njit(function, allocates=False, forceinline=True, no_cpython_wrapper=True)  # type: ignore[no-any-return]


def part(function: Function) -> Dispatcher[Function]:
    """Compile a function for kernels alone, which are kept with its machine code in them.

    The entry for calls from Python, which is not made, takes a tenth of a second for each function.
    """
    return _without_literals(_njit(function, allocates=False, no_cpython_wrapper=True))  # type: ignore[no-any-return]
