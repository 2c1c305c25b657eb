"""Two small models that many tests ask."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import fieldwise as fw

QUICK = {"model": fw.ModelConfig(kind="lr"), "train": fw.TrainConfig(epochs=1, threads=1)}


def text_of(rows: list[dict[str, object]], delimiter: str = ",") -> str:
    """Return rows as text with a header."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(delimiter.join(map(str, line)) + "\n" for line in lines)


def log_rows(num_rows: int = 400) -> list[dict[str, object]]:
    """Return rows of clicks by user, time and price, each with an identifier."""
    rng = random.Random(1)
    return [
        {
            "click": int(rng.random() < 0.3),
            "rid": f"r{number}",
            "user": f"{rng.randrange(30):05d}",
            "ts": f"2026-11-{rng.randrange(1, 28):02d} {rng.randrange(24):02d}:01:02",
            "price": f"{rng.random():.2f}",
        }
        for number in range(num_rows)
    ]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a logistic regression on a CSV log."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "log.csv").write_text(text_of(log_rows()))
    fields = {
        "user": fw.FieldConfig(type="category"),
        "hour": fw.FieldConfig(type="time", column="ts", part="hour"),
        "price": fw.FieldConfig(type="number"),
    }
    data = fw.DataConfig(train="log.csv", label="click", id="rid")
    fw.train(fw.Config(data=data, fields=fields, base=str(folder), **QUICK), folder / "run")
    return folder / "run"
