"""The pages of README and docs, the code in them, and a log with a planted truth under the names that they use."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"^```(?P<language>\w*)(?P<note>[^\n]*)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, what stands behind the language, and its text."""

    language: str
    note: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = _BLOCK.finditer(page.read_text())
    return [Block(each["language"], each["note"].strip(), each["text"]) for each in found]


def commands(page: Path) -> list[list[str]]:
    """Return the words of every line of a page's code that begins with ``fieldwise``, up to what is the shell's."""
    text = "\n".join(block.text for block in blocks(page))
    text += "\n".join(line for line in _BLOCK.sub("", page.read_text()).splitlines() if line.startswith("    "))
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.strip(), comments=True) for line in lines if re.match(r"\s*fieldwise [a-z]", line)]
    of_shell = ("|", ">", "2>", "&")
    return [list(takewhile(lambda word: word not in of_shell, line)) for line in words]


def write_log(folder: Path, rows: int = 1500) -> None:
    """Write the log that the pages name, as each of the files that they name."""
    rng = np.random.default_rng(0)
    user, item, age = rng.integers(0, 60, rows), rng.integers(0, 30, rows), rng.integers(18, 70, rows)
    tags = [sorted(set(rng.integers(0, 6, rng.integers(0, 4)).tolist())) for _ in range(rows)]
    effects = np.random.default_rng(1).normal(size=(2, 60))
    logit = effects[0, user] + effects[1, item] + 0.03 * (age - 40) - 0.7
    table = pa.table(
        {
            "click": (logit + rng.logistic(size=rows) > 0).astype(int),
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "age": age,
            "tags": ["|".join(f"t{tag}" for tag in bag) for bag in tags],
            "shown_at": [f"2026-11-{1 + 9 * row // rows:02d} {row % 24:02d}:30:00" for row in range(rows)],
            "row": list(range(rows)),
        }
    )
    parquet, csv = pyarrow.parquet.write_table, pyarrow.csv.write_csv
    parquet(table, folder / "clicks.parquet")
    parquet(table.slice(0, 300), folder / "tomorrow.parquet")
    parquet(table.slice(0, 300).drop_columns(["click"]), folder / "new.parquet")
    csv(table, folder / "clicks.csv")
    csv(table.slice(0, 300).drop_columns(["click"]), folder / "new.csv")
    lines = [
        f"{row['click']} {int(row['user_id'][1:]) + 1}:1 {100 + int(row['item_id'][1:])}:1" for row in table.to_pylist()
    ]
    (folder / "clicks.libsvm").write_text("\n".join(lines) + "\n")
