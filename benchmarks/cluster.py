"""What a step would cost on more workers than there are here: a model, fitted to what was measured.

python benchmarks/distributed.py CONFIG --workers 0,1,2,4 --models ... --json measured.json
python benchmarks/cluster.py measured.json [wire.json]

Letters: W workers, B examples of the global batch, n weights of a row, P dense weights, U(b) different rows in b
examples, v bytes a number (4, or 2 in bfloat16). Per step and worker, with a share b = B / W of the batch::

    bytes sent          (1 - 1/W) U (4 + 2 n v) + 2 (1 - 1/W) 4 P + what is standardised + 16 (W - 1)
    bytes on the wire   1.03 times these, for headers, and 330 for each message
    messages            4 for the rows, 1 for the dense part, 2 where units are standardised
    seconds             c b + r U + messages latency log2(W) + bytes on the wire / bandwidth

The bytes follow from the algorithm and are checked against those counted. U is measured at the shares of W = 2, 4, ...
and continued as a power of b. c, the work for an example, is the CPU time of one process; r, the work for a row that is
asked for, lent and updated elsewhere, is what W workers need beyond it. Latency and bandwidth of a cluster are assumed,
and printed with what follows from them.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

HEADERS, MESSAGE_BYTES = 1.03, 330


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
    costs = fit(lines)
    for name, cost in costs.items():
        print(
            f"{name}: {cost['example'] * 1e6:.2f} us an example, {cost['row'] * 1e9:.0f} ns a row, "
            f"{cost['message'] * 1e3:.2f} ms a message; error of the fit {cost['error']:.0%}"
        )
    predict(lines, costs)


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
        expected = (HEADERS * sent + MESSAGE_BYTES * messages(line)) / share
        print(
            f"{line['model']:16} W = {workers}: {line['wire_bytes_per_example']:8.1f} bytes an example on the wire, "
            f"{line['wire_bytes_per_example'] / expected:.2f} of the model's"
        )


def fit(lines: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what an example, a row and a message cost, for each model."""
    costs = {}
    for model in dict.fromkeys(line["model"] for line in lines):
        own = [line for line in lines if line["model"] == model]
        alone = [line for line in own if line["workers"] <= 1]
        several = [line for line in own if line["workers"] > 1]
        example = float(np.mean([line["cpu_microseconds"] for line in alone])) * 1e-6
        extra = [(line["cpu_microseconds"] * 1e-6 - example, line["rows_per_example"]) for line in several]
        row = float(np.mean([more / rows for more, rows in extra]))
        expected = [example + row * line["rows_per_example"] for line in several]
        error = max(abs(e / (line["cpu_microseconds"] * 1e-6) - 1) for e, line in zip(expected, several, strict=True))
        two = [line for line in several if line["workers"] == 2]
        rest = [
            line["milliseconds"] * 1e-3 - (example + row * line["rows_per_example"]) * line["batch"] / 2 for line in two
        ]
        message = max(float(np.mean(rest)), 0.0) / messages(own[0]) if two else 0.0
        costs[model] = {"example": example, "row": row, "message": message, "error": error}
    return costs


def predict(lines: list[dict[str, Any]], costs: dict[str, dict[str, float]]) -> None:
    """Print what more hosts would do, with the batch as it is and with 4,096 examples for each worker."""
    cores, latency, bandwidth = 16, 30e-6, 25e9 / 8
    print(
        f"\nhosts of {cores} cores, one worker each; a message takes {latency * 1e6:.0f} us log2(W), "
        f"a host sends {bandwidth / 1e9:.1f} GB/s; dense all-reduce overlapped with nothing"
    )
    for model, cost in costs.items():
        line = next(line for line in lines if line["model"] == model and line["workers"] > 1)
        constant, exponent = rows_of(lines, model)
        for per_worker in (None, 4096):
            for workers in (1, 10, 100, 1000):
                share = per_worker or max(line["batch"] / workers, 1)
                rows = min(constant * share**exponent, share * line["ids_per_example"])
                work = (cost["example"] * share + (cost["row"] * rows if workers > 1 else 0)) / cores
                sent = bytes_sent(line, workers, rows) if workers > 1 else 0.0
                wire = HEADERS * sent + MESSAGE_BYTES * messages(line)
                talk = messages(line) * latency * math.log2(workers) + wire / bandwidth if workers > 1 else 0.0
                rate = share * workers / (work + talk)
                print(
                    f"{model:16} batch {share * workers:9,.0f}  W = {workers:4}  {work * 1e3:7.2f} ms of work, "
                    f"{talk * 1e3:6.2f} ms of messages  {rate / 1e6:8.2f} M examples/s  "
                    f"{sent / share:7.0f} bytes an example"
                )


if __name__ == "__main__":
    main()
