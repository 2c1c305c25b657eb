"""What pytest must know before it looks at a module: how Triton's kernels run, and which modules need Triton."""

from __future__ import annotations

import os
from importlib.util import find_spec

os.environ.setdefault("TRITON_INTERPRET", "1")  # without a GPU; Triton looks at it when a kernel is defined
os.environ["COLUMNS"] = "100"  # tables are laid out alike, whatever terminal the tests are started from
_NEED_TRITON = ["src/fieldwise/nn/cuda/fused.py", "src/fieldwise/nn/cuda/kernels.py", "tests/nn/compile_kernels.py"]
collect_ignore = [] if find_spec("triton") else _NEED_TRITON
