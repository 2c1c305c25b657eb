"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LATENCIES", "ModelMetrics", "ServerMetrics", "line"]

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
_NUM_BINS = 20


def line(name: str, labels: Mapping[str, object], value: float) -> str:
    r"""Return a sample.

    Examples
    --------
    >>> line("rows_total", {"model": 'a"b'}, 3)
    'rows_total{model="a\\"b"} 3'
    """
    inside = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.10g}" if labels else f"{name} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class ServerMetrics:
    """Requests by route and status, and their latency.

    Attributes
    ----------
    requests
        Numbers of answers by (route, status).
    latency
        Numbers of answers by route, in the buckets of `LATENCIES` and one above; then their sum in seconds.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.latency: dict[str, list[int]] = {}
        self.seconds: dict[str, float] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        key = (route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        buckets = self.latency.get(route)
        if buckets is None:
            buckets = self.latency[route] = [0] * (len(LATENCIES) + 1)
            self.seconds[route] = 0.0
        buckets[bisect_left(LATENCIES, seconds)] += 1
        self.seconds[route] += seconds

    def lines(self) -> Iterable[str]:
        """Yield the samples."""
        yield "# HELP fieldwise_requests_total Answers by route and status."
        yield "# TYPE fieldwise_requests_total counter"
        for (route, status), number in sorted(self.requests.items()):
            yield line("fieldwise_requests_total", {"route": route, "status": status}, number)
        yield "# HELP fieldwise_request_seconds Seconds from the headers of a request to its answer."
        yield "# TYPE fieldwise_request_seconds histogram"
        for route, buckets in sorted(self.latency.items()):
            total = 0
            for bound, number in zip((*LATENCIES, "+Inf"), buckets, strict=True):
                total += number
                yield line("fieldwise_request_seconds_bucket", {"route": route, "le": bound}, total)
            yield line("fieldwise_request_seconds_sum", {"route": route}, self.seconds[route])
            yield line("fieldwise_request_seconds_count", {"route": route}, total)

    def quantile(self, route: str, share: float) -> float | None:
        """Return the upper bound of the bucket in which a quantile of the latency lies; None without an answer.

        Examples
        --------
        >>> metrics = ServerMetrics()
        >>> metrics.count("infer", 200, 0.003)
        >>> metrics.quantile("infer", 0.99)
        0.005
        """
        buckets = self.latency.get(route)
        if not buckets:
            return None
        place = int(np.searchsorted(np.cumsum(buckets), share * sum(buckets)))
        return LATENCIES[place] if place < len(LATENCIES) else float("inf")


class ModelMetrics:
    """Rows, batches and the distribution of probabilities of one version of a model.

    Attributes
    ----------
    rows, batches
        How many were answered.
    histogram
        (O, 20) int64: probabilities of each class, or of each of several labels, by twentieths; one class alone where
        there are two.
    total
        (O,) float64: their sums.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.rows = self.batches = 0
        self.histogram = np.zeros((len(self.classes), _NUM_BINS), dtype=np.int64)
        self.total = np.zeros(len(self.classes))

    def count_batch(self, probabilities: npt.NDArray[np.floating[Any]]) -> None:
        """Count the probabilities of a batch, (B,) or (B, O)."""
        self.rows += len(probabilities)
        self.batches += 1
        if probabilities.size == 1:  # numpy takes longer to begin than one number needs
            probability = float(probabilities.flat[0])
            self.total[0] += probability
            self.histogram[0, min(max(int(probability * _NUM_BINS), 0), _NUM_BINS - 1)] += 1
            return
        by_class = probabilities.reshape(len(probabilities), -1).T
        self.total += by_class.sum(axis=1, dtype=np.float64)
        bins = np.clip((by_class * _NUM_BINS).astype(np.int64), 0, _NUM_BINS - 1)
        for counts, of_class in zip(self.histogram, bins, strict=True):
            counts += np.bincount(of_class, minlength=_NUM_BINS)

    def lines(self, labels: Mapping[str, object]) -> Iterable[str]:
        """Yield the samples, without their heads."""
        yield line("fieldwise_rows_total", labels, self.rows)
        yield line("fieldwise_batches_total", labels, self.batches)
        for name, counts, total in zip(self.classes, self.histogram, self.total, strict=True):
            of_class = {**labels, "class": name}
            for number, sum_below in enumerate(np.cumsum(counts).tolist(), 1):
                bound = f"{number / _NUM_BINS:g}" if number < _NUM_BINS else "+Inf"
                yield line("fieldwise_probability_bucket", {**of_class, "le": bound}, sum_below)
            yield line("fieldwise_probability_sum", of_class, float(total))
            yield line("fieldwise_probability_count", of_class, int(counts.sum()))
