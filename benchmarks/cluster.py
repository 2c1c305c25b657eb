"""What a step would cost on more workers than there are here: a model, fitted to what was measured.

    python benchmarks/distributed.py CONFIG --workers 0,1,2,4 --models lr,dnn,lc-dnn:1,... --json measured.json
    python benchmarks/cluster.py measured.json [wire.json]

Letters: W workers, B examples of the global batch, n weights of a row, P dense weights, U(b) different rows in b
examples, v bytes a number (4, or 2 in bfloat16). Per step and worker, with a share b = B / W of the batch::

    bytes sent          (1 - 1/W) U (4 + 2 n v) + 2 (1 - 1/W) 4 P + what is standardised + 16 (W - 1)
    parts of messages   6 (W - 1), and 3 (W - 1) more where units are standardised: each goes to one other worker
    bytes on the wire   1.005 times the bytes, and 460 for each part; 1.045 times where packets are 1,500 bytes
    CPU seconds         c b + r U + d P + m parts
    seconds             (c b + r U + d P) / cores + m parts + messages latency log2(W) + bytes on the wire / bandwidth

The bytes follow from the algorithm and are checked against those counted. U is measured at the shares of W = 2, 4, ...
and continued as a power of b. c, the work for an example, is the CPU time of one process. r, d and m, the work for a
row that is asked for, lent and updated elsewhere, for a dense weight that is added up and moved on every worker, and
for a part of a message, are one set for all models, fitted to the CPU time of W > 1 by least squares without negative
costs. Each measurement is then compared with what a fit to the others says of it. Latency and bandwidth of a cluster
are assumed, and printed with what follows from them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

HEADERS, HEADERS_OF_PACKETS, PART_BYTES = 1.005, 1.045, 460
"""A virtual wire counts up to 64 KB as one packet."""


def main() -> None:
    """Fit, check and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured")
    parser.add_argument("wire", nargs="?", help="measured with --namespaces")
    options = parser.parse_args()
    lines = json.loads(Path(options.measured).read_text())
    check_bytes([line for line in lines if line["workers"] > 1])
    if options.wire:
        check_wire(json.loads(Path(options.wire).read_text()))
    if options.wire:
        lines += json.loads(Path(options.wire).read_text())
    shared = check_fit(lines)
    predict(lines, shared)


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


def bytes_sent(line: dict[str, Any], workers: int, rows: float, number: int = 4) -> float:
    """Return the bytes that a worker sends in a step, `rows` being U of its share."""
    away, n = 1 - 1 / workers, line["table_width"]
    head = 4 * 6
    dense = 2 * away * (4 * line["dense_parameters"] + head)
    statistics = 3 * 8 * line["units"] * (workers - 1) + 2 * away * 2 * 4 * line["units"]
    return away * rows * (4 + 2 * n * number) + dense + 16 * (workers - 1) + statistics


def messages(line: dict[str, Any]) -> int:
    """Return the collectives of a step."""
    return 5 + (2 if line["units"] else 0)


def parts(line: dict[str, Any], workers: int) -> int:
    """Return what a worker sends to single others in a step: once in an all-to-all, twice in an all-reduce."""
    return (6 + (3 if line["units"] else 0)) * (workers - 1)


def check_bytes(lines: list[dict[str, Any]]) -> None:
    """Compare the bytes that follow from the algorithm with those counted."""
    for line in lines:
        workers, share = line["workers"], line["batch"] / line["workers"]
        expected = bytes_sent(line, workers, line["rows_per_example"] * share) / share
        print(
            f"{line['model']:16} W = {workers}: {line['bytes_per_example']:8.1f} bytes an example counted, "
            f"{line['bytes_per_example'] / expected:.3f} of the model's; {line['ids_per_example']:.0f} ids an example, "
            f"{line['rows_per_example'] / line['ids_per_example']:.2f} of them travel"
        )


def check_wire(lines: list[dict[str, Any]]) -> None:
    """Compare the bytes on the wire, headers and all, with the model's."""
    for line in lines:
        workers, share = line["workers"], line["batch"] / line["workers"]
        sent = bytes_sent(line, workers, line["rows_per_example"] * share)
        expected = (HEADERS * sent + PART_BYTES * parts(line, workers)) / share
        print(
            f"{line['model']:16} W = {workers}: {line['wire_bytes_per_example']:8.1f} bytes an example on the wire, "
            f"{line['wire_bytes_per_example'] / expected:.2f} of the model's"
        )


def example_seconds(lines: list[dict[str, Any]], model: str) -> float:
    """Return c: the mean of one process and of a single worker."""
    alone = [line["cpu_microseconds"] for line in lines if line["model"] == model and line["workers"] <= 1]
    return float(np.mean(alone)) * 1e-6


def check_fit(lines: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Return r, d and m, after printing them and how far each measurement is from a fit to the others."""
    several = [line for line in lines if line["workers"] > 1]
    shares = np.array([line["batch"] / line["workers"] for line in several])
    measured = np.array([line["cpu_microseconds"] for line in several]) * 1e-6 * shares
    examples = np.array([example_seconds(lines, line["model"]) for line in several]) * shares
    rows = np.array([line["rows_per_example"] for line in several]) * shares
    dense = [line["dense_parameters"] for line in several]
    factors = np.stack([rows, dense, [parts(line, line["workers"]) for line in several]], axis=1)

    def fitted(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        # Relative errors count, or the slow models alone would.
        scaled = factors[chosen] / measured[chosen, None]
        costs: npt.NDArray[np.float64] = nnls(scaled, (measured - examples)[chosen] / measured[chosen])[0]
        return costs

    print("\nCPU microseconds an example, all workers together:")
    for at, line in enumerate(several):
        others = np.arange(len(several)) != at
        expected = examples[at] + factors[at] @ fitted(others)
        print(
            f"{line['model']:16} W = {line['workers']}: {line['cpu_microseconds']:6.2f} measured, "
            f"{expected / shares[at] * 1e6:6.2f} from the others ({expected / measured[at] - 1:+.0%})"
        )
    row, weight, part = costs = fitted(np.ones(len(several), dtype=bool))
    print(f"{row * 1e6:.2f} us a row, {weight * 1e9:.1f} ns a dense weight, {part * 1e3:.2f} ms a part of a message")
    return costs


def predict(lines: list[dict[str, Any]], shared: npt.NDArray[np.float64]) -> None:
    """Print what more hosts would do, with the batch as it is and with 4,096 examples for each worker."""
    cores, latency, bandwidth = 16, 30e-6, 25e9 / 8
    of_row, of_weight, of_part = shared.tolist()
    print(
        f"\nhosts of {cores} cores, one worker each; a message takes {latency * 1e6:.0f} us log2(W), "
        f"a host sends {bandwidth / 1e9:.1f} GB/s; nothing overlapped. Parts are as dear as here, to free of charge"
    )
    for model in dict.fromkeys(line["model"] for line in lines):
        line = next(line for line in lines if line["model"] == model and line["workers"] > 1)
        constant, exponent = rows_of(lines, model)
        for per_worker in (None, 4096):
            for workers in (1, 10, 100, 1000):
                share = per_worker or max(line["batch"] / workers, 1)
                work, talk, split, sent = example_seconds(lines, model) * share / cores, 0.0, 0.0, 0.0
                if workers > 1:
                    rows = min(constant * share**exponent, share * line["ids_per_example"])
                    work += (of_row * rows + of_weight * line["dense_parameters"]) / cores
                    split = of_part * parts(line, workers)
                    sent = bytes_sent(line, workers, rows)
                    wire = HEADERS_OF_PACKETS * sent + PART_BYTES * parts(line, workers)
                    talk = messages(line) * latency * math.log2(workers) + wire / bandwidth
                print(
                    f"{model:16} batch {share * workers:9,.0f}  W = {workers:4}  {work * 1e3:6.2f} ms of work, "
                    f"{split * 1e3:7.1f} for parts, {talk * 1e3:5.2f} on the wire  "
                    f"{share * workers / (work + split + talk) / 1e6:8.2f} to "
                    f"{share * workers / (work + talk) / 1e6:.2f} M examples/s  "
                    f"{sent / share:7.0f} bytes an example"
                )


if __name__ == "__main__":
    main()
