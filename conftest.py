"""What pytest must know before it looks at a module."""

from __future__ import annotations

import os

os.environ["COLUMNS"] = "100"  # tables are laid out alike, whatever terminal the tests are started from
