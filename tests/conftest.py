"""Before anything of Triton is imported: without a GPU its kernels run in its interpreter."""

from __future__ import annotations

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
