"""A cluster step by step: what `benchmarks/cluster.py` computes on average, with chance and failures in it.

W workers go through the phases of a step. In each phase a worker works, then exchanges messages with all others, and
nobody goes on before the last one is there::

    phase      work                       messages
    plan       renumber the next batch    its counts and rows; on their way while the model works on this batch
    pull       owners read their rows     weights
    forward    a third of the model's     the mean and variance of its units, where they are standardised
    backward   two thirds                 and their gradients
    sum        scatter gradients to rows  the dense gradients, on their way meanwhile
    push       the dense weights move     gradients of rows, on their way meanwhile
    update     owners move their rows     none

What is drawn: each worker's speed in each step, from the own work of all steps that were measured, over its median
(a slow step is slow in all its phases); and how many rows an owner has to serve (nearly Poisson). Without draws and
without overlap, the seconds of a step are those of the paper model; `check` asserts it.

Then a training through many failures: hosts fail at random, W times as often as one; each time what was done since
the last checkpoint is lost, and all start again. Checkpoints are written by all while nobody trains. It is held against
the expectation in closed form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Cluster(NamedTuple):
    """What is assumed of hosts, one worker each, and of the network between them."""

    cores: float = 16.0
    latency: float = 30e-6  # of a message, times log2 W
    bandwidth: float = 25e9 / 8  # bytes a second and host
    host_disk: float = 1e9  # bytes a second that a host writes
    storage: float = 20e9  # and all of them together
    hours_between_failures: float = 5000.0  # of a host; 6,300 in 54 days of 2,048 hosts ("The Llama 3 Herd of Models")
    restart: float = 60.0  # seconds; measured with two hosts: 13 to 27


class Phase(NamedTuple):
    """Work on a worker (core-seconds, parts of messages in seconds of their own), then messages."""

    name: str
    work: float = 0.0
    parts: float = 0.0
    num_bytes: float = 0.0  # that a worker sends, headers and all
    messages: int = 0
    behind: tuple[str, ...] = ()  # phases during whose work the messages travel
    rows: float = 0.0  # that an owner serves in it


def talk(phase: Phase, workers: int, cluster: Cluster) -> float:
    """Return the seconds that a phase's messages take."""
    if workers == 1:
        return 0.0
    return phase.messages * cluster.latency * math.log2(workers) + phase.num_bytes / cluster.bandwidth


def paper_seconds(phases: list[Phase], workers: int, cluster: Cluster) -> float:
    """Return the seconds of a step by the paper model: nothing drawn, nothing overlapped."""
    return sum(phase.work / cluster.cores + phase.parts + talk(phase, workers, cluster) for phase in phases)


def step_seconds(
    phases: list[Phase],
    workers: int,
    cluster: Cluster,
    spread: Floats,
    *,
    num_steps: int = 400,
    overlap: bool = True,
    seed: int = 0,
) -> Floats:
    """Return the seconds of some steps.

    Parameters
    ----------
    spread
        What a worker's own work in a step may be, over its median; ``[1.0]`` draws nothing, rows included.
    """
    rng = np.random.default_rng(seed)
    slowness = rng.choice(spread, (num_steps, workers))
    seconds = np.zeros(num_steps)
    worked: dict[str, Floats] = {}
    for phase in phases:
        factors = slowness
        if phase.rows and len(spread) > 1:
            served = 1.0 + rng.standard_normal(slowness.shape) / math.sqrt(phase.rows)
            factors = slowness * np.maximum(served, 0.0)
        worked[phase.name] = (phase.work / cluster.cores + phase.parts) * factors.max(axis=1)
        seconds += worked[phase.name]
    for phase in phases:
        hidden = sum((worked[name] for name in phase.behind), np.zeros(num_steps)) if overlap else 0.0
        seconds += np.maximum(talk(phase, workers, cluster) - hidden, 0.0)
    return seconds


def check(phases: list[Phase], workers: int, cluster: Cluster) -> None:
    """Assert that without chance and overlap a step is that of the paper model."""
    found = step_seconds(phases, workers, cluster, np.ones(1), num_steps=3, overlap=False)
    expected = paper_seconds(phases, workers, cluster)
    assert np.allclose(found, expected, rtol=1e-12), (found, expected)


class Training(NamedTuple):
    """The share of the time in which steps were made that counted, failures a day, and what checkpoints take."""

    useful: float
    failures: float
    minutes_between: float
    checkpoint_seconds: float


def useful_share(
    table_bytes: float,
    workers: int,
    cluster: Cluster,
    *,
    minutes: float | None,
    num_failures: int = 20_000,
    seed: int = 0,
) -> Training:
    """Simulate a training through some failures.

    Parameters
    ----------
    table_bytes
        Of a checkpoint.
    minutes
        Between checkpoints; None takes the best for so many hosts, ``sqrt(2 checkpoint / failures)`` (Young 1974).
    """
    rng = np.random.default_rng(seed)
    write = table_bytes / min(workers * cluster.host_disk, cluster.storage)
    mean = cluster.hours_between_failures * 3600.0 / workers
    between = math.sqrt(2.0 * write * mean) if minutes is None else 60.0 * minutes
    clock = useful = 0.0
    for _ in range(num_failures):
        until_failure = rng.exponential(mean)
        useful += math.floor(until_failure / (between + write)) * between
        clock += until_failure + cluster.restart + write  # it is read as fast as it is written
    found = useful / clock
    expected = between / math.expm1((between + write) / mean) / (mean + cluster.restart + write)
    assert abs(found - expected) < 0.02, (found, expected)
    return Training(found, num_failures / clock * 86400.0, between / 60.0, write)
