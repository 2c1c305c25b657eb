"""What pytest must know before it looks at a module: how Triton's kernels run, and where it is not."""

from __future__ import annotations

import os
from importlib.util import find_spec

os.environ.setdefault("TRITON_INTERPRET", "1")  # without a GPU, and as Triton reads it when it is imported
collect_ignore = [] if find_spec("triton") else [f"src/fieldwise/nn/cuda/{name}.py" for name in ("fused", "kernels")]
