"""The kept inputs: for each target a file of JSON texts, one a line, whose characters are the bytes of an input.

    python -m tests.fuzz.seeds TARGET CORPUS

writes a corpus of `tests.fuzz` into it, the smallest inputs first, as many as fit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent / "seeds"
_MAX_BYTES = 40_000


def read_seeds(name: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    path = HERE / f"{name}.jsonl"
    return [json.loads(line).encode("latin-1") for line in path.read_text().splitlines()] if path.exists() else []


def write_seeds(name: str, inputs: set[bytes]) -> None:
    """Keep the smallest of the inputs."""
    lines, left = [], _MAX_BYTES
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        line = json.dumps(data.decode("latin-1"))
        left -= len(line)
        if left < 0:
            break
        lines.append(line + "\n")
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    write_seeds(sys.argv[1], {path.read_bytes() for path in Path(sys.argv[2]).iterdir()})
