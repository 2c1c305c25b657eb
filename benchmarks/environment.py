"""Environments for the peers that benchmarks compare with: made when first needed, apart from ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["peer_python"]


def peer_python(name: str, *requirements: str, root: Path = Path("runs/peers")) -> Path:
    """Return the interpreter of an environment with these packages, by pip's own configuration."""
    folder = root / name
    python, stamp = folder / "bin" / "python", folder / ".requirements"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making an environment with {', '.join(requirements)} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", *requirements], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} cannot be installed:\n{done.stderr[-2000:]}")
        stamp.write_text(wanted)
    return python.absolute()
