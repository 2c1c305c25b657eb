"""What the server of `tests.processes` imports before it is asked for the first process."""

from __future__ import annotations

import tests.crash.slow
import tests.distributed.worker  # noqa: F401
from numba.core.registry import cpu_target

cpu_target.target_context.refresh()  # what a process does before its first kernel
