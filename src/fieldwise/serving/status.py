"""What the server says of itself: for Prometheus, for the page, and the page."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldwise.io.memory import peak_bytes
from fieldwise.serving.exchange import Answer
from fieldwise.serving.metrics import line
from fieldwise.serving.models import Model
from fieldwise.serving.version import Version

if TYPE_CHECKING:
    from fieldwise.serving.app import App

__all__ = ["page", "prometheus", "status_of"]

_STARTED = time.time()
_HEADS = (
    ("fieldwise_rows_total", "counter", "Rows answered, by model and version."),
    ("fieldwise_batches_total", "counter", "Batches in which they were answered."),
    ("fieldwise_probability", "histogram", "Distribution of the answers."),
    ("fieldwise_values_total", "counter", "Values of a field."),
    ("fieldwise_unseen_values_total", "counter", "Values of a field that training has not seen."),
    ("fieldwise_queued_rows", "gauge", "Rows that wait for an answer."),
    ("fieldwise_version_answers", "gauge", "1 for the version that answers."),
    ("fieldwise_refused_versions", "gauge", "Versions on disk that cannot be used."),
)
_POLICY = (
    b"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)


def prometheus(app: App) -> Answer:
    """Return all that is counted, in the text format of Prometheus."""
    by_head: dict[str, list[str]] = {name: [] for name, _, _ in _HEADS}
    for sample in _samples(app):
        name = sample.split("{", 1)[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        by_head[name].append(sample)
    lines = [*app.metrics.lines(), *_process(), *_log(app)]
    for name, kind, text in _HEADS:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *by_head[name]]
    return Answer(200, ("\n".join(lines) + "\n").encode(), b"text/plain; version=0.0.4; charset=utf-8")


def _samples(app: App) -> Iterable[str]:
    for model in app.models.by_name.values():
        yield line("fieldwise_refused_versions", {"model": model.name}, len(model.refused))
        for version in _versions(model):
            labels = {"model": model.name, "version": version.name}
            yield line("fieldwise_version_answers", labels, version is model.current)
            yield line("fieldwise_queued_rows", labels, version.batcher.waiting_rows)
            yield from version.metrics.lines(labels)
            unseen = version.unseen
            for name, values, new in zip(unseen.names, unseen.values.tolist(), unseen.unseen.tolist(), strict=True):
                yield line("fieldwise_values_total", {**labels, "field": name}, values)
                yield line("fieldwise_unseen_values_total", {**labels, "field": name}, new)


def _log(app: App) -> list[str]:
    if app.log is None:
        return []
    return [
        "# HELP fieldwise_log_rows_total Rows of the request log by what became of them.",
        "# TYPE fieldwise_log_rows_total counter",
        line("fieldwise_log_rows_total", {"outcome": "written"}, app.log.num_written),
        line("fieldwise_log_rows_total", {"outcome": "dropped"}, app.log.num_dropped),
    ]


def _process() -> list[str]:
    return [
        "# HELP process_start_time_seconds Start of the process since 1970.",
        "# TYPE process_start_time_seconds gauge",
        line("process_start_time_seconds", {}, _STARTED),
        "# HELP fieldwise_peak_memory_bytes Largest resident size of the process.",
        "# TYPE fieldwise_peak_memory_bytes gauge",
        line("fieldwise_peak_memory_bytes", {}, peak_bytes()),
    ]


def status_of(app: App) -> dict[str, Any]:
    """Return what the page shows."""
    requests = [
        {"route": route, "status": status, "answers": number}
        for (route, status), number in sorted(app.metrics.requests.items())
    ]
    latency = {
        route: {
            f"p{share:g}": bound if bound is None or math.isfinite(bound) else None
            for share in (50, 99)
            for bound in (app.metrics.quantile(route, share / 100),)
        }
        for route in app.metrics.latency
    }
    return {
        "server": {"version": app.software, "started": _STARTED, "now": time.time()},
        "requests": requests,
        "latency_seconds": latency,
        "models": [_model(model) for model in app.models.by_name.values()],
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [_version(version, version is model.current) for version in _versions(model)],
        "on_disk": sorted(name for name in model.folder.versions if name),
        "refused": {name or "-": why for name, (_, why) in model.refused.items()},
    }


def _version(version: Version, answers: bool) -> dict[str, Any]:
    unseen = version.unseen
    shares = unseen.unseen / np.maximum(unseen.values, 1)
    return {
        "name": version.name,
        "answers": answers,
        "checksum": version.predictor.version,
        "loaded": version.loaded_at,
        "classes": list(version.metrics.classes),
        "rows": version.metrics.rows,
        "batches": version.metrics.batches,
        "histogram": version.metrics.histogram.tolist(),
        "mean": (version.metrics.total / max(version.metrics.rows, 1)).tolist(),
        "unseen": dict(zip(unseen.names, shares.tolist(), strict=True)),
    }


def _versions(model: Model) -> list[Version]:
    return [version for version in (model.current, *model.others.values()) if version is not None]


def page() -> Answer:
    """Return the page, which shows `status_of` and asks nobody else."""
    text = resources.files("fieldwise.serving").joinpath("page.html").read_bytes()
    headers = ((b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff"))
    return Answer(200, text, b"text/html; charset=utf-8", headers)
