"""Small makers of our own objects from the plain lists of ``tests.reference``."""

from __future__ import annotations

import numpy as np

from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout

PATIENCE = 900.0
"""Seconds after which something that must happen has not, on however busy a machine. No test measures time by it."""

FORM = {"single": SINGLE, "value": VALUE, "bag": BAG}


def make_layout(forms: list[str], rows: list[int]) -> Layout:
    return Layout.of([FORM[form] for form in forms], rows)


def make_batch(forms: list[str], fields: list[list[list[tuple[int, float]]]]) -> Batch:
    """Return the batch of ``fields[f][b] = [(local id, value), ...]``."""
    num_examples = len(fields[0])
    ids = [[features[0][0] for features in field] for form, field in zip(forms, fields, strict=True) if form != "bag"]
    values = [
        [features[0][1] for features in field] for form, field in zip(forms, fields, strict=True) if form == "value"
    ]
    bags = [field for form, field in zip(forms, fields, strict=True) if form == "bag"]
    offsets = np.zeros((len(bags), num_examples + 1), dtype=np.int64)
    flat: list[tuple[int, float]] = []
    for g, field in enumerate(bags):
        offsets[g, 0] = len(flat)
        for b, features in enumerate(field):
            flat += features
            offsets[g, b + 1] = len(flat)
    return Batch(
        np.array(ids, dtype=np.uint32).reshape(len(ids), num_examples),
        np.array(values, dtype=np.float32).reshape(len(values), num_examples),
        offsets,
        np.array([i for i, _ in flat], dtype=np.uint32),
        np.array([x for _, x in flat], dtype=np.float32),
    )
