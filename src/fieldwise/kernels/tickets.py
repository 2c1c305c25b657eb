"""Dynamic scheduling in a kernel: each thread takes the next piece of work when it has finished one.

Pieces differ (fields of few and of many rows), and another process may use one of the cores: with pieces assigned in
advance, the other threads would wait for the slowest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["next_ticket"]


def _next_ticket(typing_context: Any, counter: Any) -> Any:
    """Return the signature of `next_ticket`, and what generates its instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        zero = ir.Constant(ir.IntType(64), 0)
        address = cgutils.get_item_pointer(context, builder, kind, view, [zero], wraparound=False)  # type: ignore[no-untyped-call]
        return builder.atomic_rmw("add", address, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


next_ticket: Callable[[npt.NDArray[np.int64]], int] = intrinsic(_next_ticket)  # type: ignore[assignment]
"""In a kernel: return ``counter[0]`` and raise it by one, so that no two threads get the same number."""
