"""The costs of a step on W workers, as `benchmarks/cluster.py` describes them, from lines that were measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from simulation import Floats, Phase

HEADERS, HEADERS_OF_PACKETS, PART_BYTES = 1.005, 1.045, 460
"""A virtual wire counts up to 64 KB as one packet."""


def rows_of(lines: list[dict[str, Any]], model: str) -> tuple[float, float]:
    """Return (a, e) of ``U(b) = a b^e``, from the shares of this model that were measured."""
    points = [
        (line["batch"] / line["workers"], line["rows_per_example"] * line["batch"] / line["workers"])
        for line in lines
        if line["model"] == model and line["workers"] > 1
    ]
    x, y = np.log(np.array(points)).T
    if len(points) == 1:
        return math.exp(y[0] - 0.8 * x[0]), 0.8
    exponent, constant = np.polyfit(x, y, 1)
    return math.exp(constant), float(exponent)


def bytes_of(line: dict[str, Any], workers: int, rows: float, number: int = 4) -> dict[str, float]:
    """Return the bytes that a worker sends in a step, by kind of message, `rows` being U of its share."""
    away, n = 1 - 1 / workers, line["table_width"]
    return {
        "counts": 16 * (workers - 1),
        "rows": away * rows * 4,
        "weights": away * rows * n * number,
        "gradients": away * rows * n * number,
        "dense": 2 * away * (4 * line["dense_parameters"] + 4 * 6),
        "means": 3 * 8 * line["units"] * (workers - 1),
        "slopes": 2 * away * 2 * 4 * line["units"],
    }


def bytes_sent(line: dict[str, Any], workers: int, rows: float) -> float:
    """Return the bytes that a worker sends in a step, of all kinds."""
    return sum(bytes_of(line, workers, rows).values())


def parts(line: dict[str, Any], workers: int) -> int:
    """Return what a worker sends to single others in a step: once in an all-to-all, twice in an all-reduce."""
    return (6 + (3 if line["units"] else 0)) * (workers - 1)


def example_seconds(lines: list[dict[str, Any]], model: str) -> float:
    """Return c: the mean of one process and of a single worker."""
    alone = [line["cpu_microseconds"] for line in lines if line["model"] == model and line["workers"] <= 1]
    return float(np.mean(alone)) * 1e-6


def phases(
    line: dict[str, Any], seconds: float, costs: Floats, workers: int, share: float, rows: float, headers: float
) -> list[Phase]:
    """Return a step of a worker with `share` examples that ask for `rows`, `seconds` being c of its model."""
    own = seconds * share
    if workers == 1:
        return [Phase("model", own)]
    of_row, of_weight, of_part = costs.tolist()
    others, dense = workers - 1, line["dense_parameters"]
    sent = bytes_of(line, workers, rows)

    def phase(
        name: str, work: float, kinds: dict[str, int], behind: tuple[str, ...] = (), served: float = 0.0
    ) -> Phase:
        """`kinds` says what is sent, and in how many parts to each other worker."""
        num_parts = others * sum(kinds.values())
        num_bytes = headers * sum(sent[kind] for kind in kinds) + PART_BYTES * num_parts
        return Phase(name, work, of_part * num_parts, num_bytes, len(kinds), behind, served)

    standardised = bool(line["units"])
    return [
        phase("plan", of_row * rows / 4, {"counts": 1, "rows": 1}, ("forward", "backward")),
        phase("pull", of_row * rows / 4, {"weights": 1}, served=rows),
        phase("forward", own / 3, {"means": 1} if standardised else {}),
        phase("backward", own * 2 / 3, {"slopes": 2} if standardised else {}),
        phase("sum", 0.0, {"dense": 2}),
        phase("push", of_weight * dense, {"gradients": 1}, ("push",)),
        phase("update", of_row * rows / 2, {}, served=rows),
    ]
