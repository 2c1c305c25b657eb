"""A log with everything planted that `check` has to find."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

FIRST_DAY = 1_700_006_400  # 2023-11-15 00:00:00 UTC


def planted(num_rows: int = 6000, seed: int = 0) -> pa.Table:
    """Return rows, the last fifth of them for testing, with one planted fault a column."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Rome", "Oslo", "Lima", "Bonn"], num_rows, p=[0.4, 0.3, 0.2, 0.1])
    effect = {"Rome": 0.2, "Oslo": 0.5, "Lima": 0.7, "Bonn": 0.4}
    click = (rng.random(num_rows) < np.array([effect[name] for name in city])).astype(int)
    is_test = np.arange(num_rows) >= num_rows * 4 // 5
    flip = rng.random(num_rows) < 0.01
    tags = ["|".join(rng.choice(["a", "b", "c"], rng.integers(0, 4))) + ("|hot" if y else "") for y in click]
    return pa.table(
        {
            "click": click,
            "city": pa.array(city, mask=rng.random(num_rows) < 0.1),
            "billed": np.where(flip, 1 - click, click),
            "size": rng.integers(1, 9, num_rows) + 3 * click,
            "price": np.round(rng.lognormal(size=num_rows), 6),
            "tags": tags,
            "row": np.arange(1000, 1000 + num_rows),
            "session": [f"s{n:x}" for n in rng.permutation(num_rows)],
            "country": ["IT"] * num_rows,
            "empty": pa.nulls(num_rows, pa.string()),
            "browser": np.where(is_test, "new", rng.choice(["old", "older"], num_rows)),
            "time": FIRST_DAY + np.sort(rng.integers(0, 3 * 86_400, num_rows)),
            "weight": np.where(np.arange(num_rows) % 10 == 0, 0.0, 1.5),
            "split": np.where(is_test, "test", "train"),
        }
    )


FIELDS = {
    "city": "category",
    "billed": "category",
    "size": "number",
    "price": "number",
    "tags": "bag",
    "row": "category",
    "session": "category",
    "country": "category",
    "empty": "category",
    "browser": "category",
}


def config_text(log: str, data: str = 'split = "split"', fields: dict[str, str] = FIELDS) -> str:
    tables = "\n".join(f'[fields.{name}]\ntype = "{kind}"' for name, kind in fields.items())
    return f'[data]\ntrain = ["{log}"]\nlabel = "click"\n{data}\n{tables}\n'
