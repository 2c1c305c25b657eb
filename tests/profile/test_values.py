"""Counting values in bounded memory: exact up to the capacity, estimates without bias beyond."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from fieldwise.features.canonical import fingerprints
from fieldwise.profile.survey.values import ValueCounts


def texts_of(texts):
    return lambda at: pa.array(texts).take(pa.array(at))


def fill(counts: ValueCounts, texts: list[str], cells: np.ndarray, chunk: int) -> None:
    for start in range(0, len(texts), chunk):
        some = texts[start : start + chunk]
        counts.add(fingerprints(pa.array(some), 0), cells[start : start + chunk], texts_of(some))


def test_the_most_frequent_values_keep_their_texts_however_the_rows_are_cut():
    rng = np.random.default_rng(1)
    texts = [f"v{n}" for n in (rng.random(5000) ** 3 * 300).astype(int)]
    cells = rng.integers(0, 8, 5000)
    expected = sorted(Counter(texts).values(), reverse=True)[:5]
    for chunk in (7, 100, 5000):
        counts = ValueCounts()
        fill(counts, texts, cells, chunk)
        counted = counts.finish(np.array([0, 1]))
        assert [int(counted.counts[place].sum()) for place, _ in counted.frequent] == expected
        assert all(Counter(texts)[text] == counted.counts[place].sum() for place, text in counted.frequent)


def test_beyond_the_capacity_counts_are_estimates_and_frequent_values_stay_exact():
    rng = np.random.default_rng(2)
    rare = [f"r{n}" for n in rng.integers(0, 40_000, 60_000)]
    texts = [text for pair in zip(rare, ["common", "usual", "common"] * 20_000, strict=True) for text in pair]
    cells = np.where(rng.random(len(texts)) < 0.25, 4, 0)
    counts = ValueCounts(capacity=4096)
    fill(counts, texts, cells, 3000)
    counted = counts.finish(np.array([0, 1]))
    assert not counted.exact
    assert len(counted.keys) <= 4096
    assert abs(counted.num_values / len(set(texts)) - 1) < 0.08
    assert abs((counted.counts.sum(axis=(1, 2)) * counted.scale).sum() / len(texts) - 1) < 0.08
    common = [(text, int(counted.counts[place].sum())) for place, text in counted.frequent[:2]]
    assert common == [("common", 40_000), ("usual", 20_000)]


def test_the_classes_stand_in_the_order_asked_for():
    counts = ValueCounts()
    counts.add(np.array([5, 5, 0], np.uint64), np.array([0, 4, 4]), texts_of(["a", "a", None]))
    counted = counts.finish(np.array([1, 0]))
    assert counted.counts[0, :, 0].tolist() == [1, 1]
    assert counted.missing[:, 0].tolist() == [1, 0]
