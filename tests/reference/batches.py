"""Random batches in plain lists, for tests of everything that takes a batch."""

from __future__ import annotations

import numpy as np

Features = list[list[list[tuple[int, float]]]]


def random_fields(rng: np.random.Generator, forms: list[str], rows: list[int], num_examples: int) -> Features:
    """Return ``fields[f][b] = [(local id, value), ...]`` for fields of form ``single``, ``value`` or ``bag``."""
    fields: Features = []
    for form, num_rows in zip(forms, rows, strict=True):
        # A square of a uniform number: frequent and rare ids, and ids that occur several times in a batch.
        ids = lambda count, num_rows=num_rows: (num_rows * rng.random(count) ** 2).astype(int).tolist()  # noqa: E731
        if form == "single":
            fields.append([[(i, 1.0)] for i in ids(num_examples)])
        elif form == "value":
            values = rng.normal(size=num_examples).astype(np.float32).tolist()
            fields.append([[(i, v)] for i, v in zip(ids(num_examples), values, strict=True)])
        else:
            lengths = rng.integers(0, 4, num_examples).tolist()
            fields.append(
                [list(zip(ids(n), rng.normal(size=n).astype(np.float32).tolist(), strict=True)) for n in lengths]
            )
    return fields
