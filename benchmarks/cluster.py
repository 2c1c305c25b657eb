"""What a step would cost on more workers than there are here: a model, fitted to what was measured.

    python benchmarks/cluster.py CONFIG [--steps 40] [--keep FOLDER]    measure first; as root, bytes on a wire too
    python benchmarks/cluster.py measured.json [wire.json]              what was measured before

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
are assumed, and printed with what follows from them. The same costs, with chance, overlap and failures, are in
`benchmarks/simulation.py`, which is held against the seconds of the clock measured here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cluster_costs import (
    HEADERS,
    HEADERS_OF_PACKETS,
    PART_BYTES,
    bytes_sent,
    example_seconds,
    parts,
    phases,
    rows_of,
)
from scipy.optimize import nnls
from simulation import Cluster, Floats, Phase, check, paper_seconds, step_seconds, talk, useful_share

MODELS, HIDDEN = "lr,dnn,lc-dnn:1,lc-wide-deep:1", "400,400"


def main() -> None:
    """Measure where asked to, fit, check and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", help="a configuration, or the lines that were measured")
    parser.add_argument("wire", nargs="?", help="lines measured with --namespaces")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="a folder for measured.json and wire.json")
    options = parser.parse_args()
    if options.measured.endswith(".toml"):
        lines, on_wire = measure(options.measured, options.steps, options.keep)
    else:
        lines = json.loads(Path(options.measured).read_text())
        on_wire = json.loads(Path(options.wire).read_text()) if options.wire else []
    print_epochs(lines)
    check_bytes([line for line in lines if line["workers"] > 1])
    check_wire(on_wire)
    costs = check_fit(lines + on_wire)
    check_clock(lines, costs)
    predict(lines, costs)
    predict_large(lines, costs)


def measure(config: str, steps: int, keep: Path | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run `benchmarks/distributed.py` on one process and 1, 2 and 4 workers; as root also with a wire between them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        script = str(Path(__file__).with_name("distributed.py"))
        found = []
        for name, words in (
            ("measured", ["--workers", "0,1,2,4"]),
            ("wire", ["--workers", "2,4", "--namespaces"] if os.geteuid() == 0 else []),
        ):
            path = folder / f"{name}.json"
            if words:
                words = [script, config, "--models", MODELS, "--hidden", HIDDEN, "--steps", str(steps), *words]
                subprocess.run([sys.executable, *words, "--json", str(path)], check=True)
            found.append(json.loads(path.read_text()) if words else [])
    return found[0], found[1]


def print_epochs(lines: list[dict[str, Any]]) -> None:
    """Print the CPU time of an example, and the seconds of an epoch, by model and number of workers."""
    counts = list(dict.fromkeys(line["workers"] for line in lines))
    names = ["one process" if count == 0 else f"W = {count}" for count in counts]
    print("\nCPU microseconds of all workers per example (seconds of the clock per epoch):")
    print(f"| model | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for model in dict.fromkeys(line["model"] for line in lines):
        cells = [
            f"{line['cpu_microseconds']:.2f} ({line['seconds_per_epoch']:.2f})"
            for line in lines
            if line["model"] == model
        ]
        print(f"| {model} | {' | '.join(cells)} |")
    print()


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
    if not lines:
        print("the wire was not measured")
    for line in lines:
        workers, share = line["workers"], line["batch"] / line["workers"]
        sent = bytes_sent(line, workers, line["rows_per_example"] * share)
        expected = (HEADERS * sent + PART_BYTES * parts(line, workers)) / share
        print(
            f"{line['model']:16} W = {workers}: {line['wire_bytes_per_example']:8.1f} bytes an example on the wire, "
            f"{line['wire_bytes_per_example'] / expected:.2f} of the model's"
        )


def check_fit(lines: list[dict[str, Any]]) -> Floats:
    """Return r, d and m, after printing them and how far each measurement is from a fit to the others."""
    several = [line for line in lines if line["workers"] > 1]
    shares = np.array([line["batch"] / line["workers"] for line in several])
    measured = np.array([line["cpu_microseconds"] for line in several]) * 1e-6 * shares
    examples = np.array([example_seconds(lines, line["model"]) for line in several]) * shares
    rows = np.array([line["rows_per_example"] for line in several]) * shares
    dense = [line["dense_parameters"] for line in several]
    factors = np.stack([rows, dense, [parts(line, line["workers"]) for line in several]], axis=1)

    def fitted(chosen: npt.NDArray[np.bool_]) -> Floats:
        # Relative errors count, or the slow models alone would.
        scaled = factors[chosen] / measured[chosen, None]
        costs: Floats = nnls(scaled, (measured - examples)[chosen] / measured[chosen])[0]
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


def spread_of(lines: list[dict[str, Any]]) -> Floats:
    """Return own work over its median: every step of a process alone on its core."""
    found = [
        np.array(worker) / np.median(worker)
        for line in lines
        if line["workers"] <= 1 and line["model"] != "lr"  # whose steps are shorter than what disturbs them
        for worker in line.get("own_milliseconds", [])
    ]
    return np.concatenate(found) if found else np.ones(1)


def check_clock(lines: list[dict[str, Any]], costs: Floats) -> None:
    """Compare the steps that the simulation makes on this machine with the clock's."""
    spread, num_cores = spread_of(lines), len(os.sched_getaffinity(0))
    print(
        f"\nown work of a step, over its median: 95 % below {np.quantile(spread, 0.95):.2f}, largest "
        f"{spread.max():.2f} of {len(spread)}. Milliseconds of a step, of which the fit saw none ({num_cores} cores):"
    )
    for line in lines:
        workers = max(line["workers"], 1)
        here = Cluster(cores=min(1.0, num_cores / workers), latency=0.0, bandwidth=math.inf)
        share, seconds = line["batch"] / workers, example_seconds(lines, line["model"])
        rows = line["rows_per_example"] * share
        steps = phases(line, seconds, costs, workers, share, rows, HEADERS)
        check(steps, workers, here)
        # Parts of messages are work here, where workers share cores.
        steps = [each._replace(parts=each.parts / here.cores) for each in steps]
        found = float(np.median(step_seconds(steps, workers, here, spread))) * 1e3
        print(
            f"{line['model']:16} W = {line['workers']}: {line['milliseconds']:8.2f} measured, {found:8.2f} simulated "
            f"({found / line['milliseconds'] - 1:+.0%})"
        )


def predict(lines: list[dict[str, Any]], costs: Floats) -> None:
    """Print what more hosts would do, with the batch as it is and with 4,096 examples for each worker."""
    cluster, spread, free = Cluster(), spread_of(lines), costs * [1.0, 1.0, 0.0]
    print(
        f"\nhosts of {cluster.cores:.0f} cores, one worker each; a message takes {cluster.latency * 1e6:.0f} us "
        f"log2(W), a host sends {cluster.bandwidth / 1e9:.1f} GB/s. Parts of messages as dear as here, and free of "
        "charge:\nmilliseconds by the paper model (nothing overlapped), by the simulation without chance, and with it; "
        "M examples/s of the last"
    )
    for model in dict.fromkeys(line["model"] for line in lines):
        line = next(line for line in lines if line["model"] == model and line["workers"] > 1)
        constant, exponent = rows_of(lines, model)
        for per_worker in (None, 4096):
            for workers in (1, 10, 100, 1000):
                share = per_worker or max(line["batch"] / workers, 1)
                rows = min(constant * share**exponent, share * line["ids_per_example"])
                cells = [
                    step_cells(
                        phases(line, example_seconds(lines, model), cost, workers, share, rows, HEADERS_OF_PACKETS),
                        workers,
                        cluster,
                        spread,
                        share,
                    )
                    for cost in (costs, free)
                ]
                print(f"{model:16} batch {share * workers:9,.0f}  W = {workers:4}  {cells[0]}   {cells[1]}")


def step_cells(steps: list[Phase], workers: int, cluster: Cluster, spread: Floats, share: float) -> str:
    """Return what the paper model and the simulation say of a step."""
    check(steps, workers, cluster)
    calm = step_seconds(steps, workers, cluster, np.ones(1), num_steps=1).mean()
    drawn = step_seconds(steps, workers, cluster, spread).mean()
    paper = paper_seconds(steps, workers, cluster)
    return f"{paper * 1e3:7.2f} {calm * 1e3:7.2f} {drawn * 1e3:7.2f} ms {share * workers / drawn / 1e6:7.2f} M/s"


def predict_large(lines: list[dict[str, Any]], costs: Floats) -> None:
    """Print what a table of 10^11 rows would do: LC-DNN, K = 1, 39 ids an example, all different, in 10^10 examples."""
    cluster, spread, rows, share = Cluster(), spread_of(lines), 1e11, 4096
    model = "lc-dnn:1"
    line = next((line for line in lines if line["model"] == model and line["workers"] > 1), None)
    if line is None:
        return
    line = {**line, "units": 39, "table_width": 1}
    row_bytes = 8.0  # a weight and Adagrad's sum
    print(
        f"\n10^11 rows ({rows * row_bytes / 1e12:.1f} TB with Adagrad), {model}, 39 ids an example of which each is "
        f"a row of its own,\n4,096 examples a worker; a host writes {cluster.host_disk / 1e9:.0f} GB/s, all together "
        f"{cluster.storage / 1e9:.0f}; a host fails once in\n{cluster.hours_between_failures:,.0f} hours, a restart "
        f"takes {cluster.restart:.0f} s and the reading of a checkpoint"
    )
    for workers in (10, 100, 1000):
        for label, cost in (("parts as dear as here", costs), ("parts free of charge", costs * [1.0, 1.0, 0.0])):
            steps = phases(line, example_seconds(lines, model), cost, workers, share, share * 39.0, HEADERS_OF_PACKETS)
            step = step_seconds(steps, workers, cluster, spread).mean()
            waits = {each.name: talk(each, workers, cluster) for each in steps}
            longest = max(waits, key=lambda name: waits[name])
            one_slow = paper_seconds(
                [each._replace(work=each.work / 0.7, parts=each.parts / 0.7) for each in steps], workers, cluster
            )
            print(
                f"W = {workers:4} {label:22} {step * 1e3:7.1f} ms a step ({longest} longest on the wire: "
                f"{waits[longest] * 1e3:.1f}), {share * workers / step / 1e6:6.2f} M examples/s, "
                f"{1e10 * step / (share * workers) / 60:6.1f} minutes for 10^10; one host of .7 of the speed makes it "
                f"{one_slow / paper_seconds(steps, workers, cluster):.2f} times as long"
            )
        for minutes in (10.0, None):
            run = useful_share(rows * row_bytes, workers, cluster, minutes=minutes)
            print(
                f"         {rows * row_bytes / workers / 1e9:5.1f} GB a host, a checkpoint takes "
                f"{run.checkpoint_seconds:.0f} s, one every {run.minutes_between:.0f} minutes: {run.failures:.2f} "
                f"failures a day, {run.useful:.1%} of the time is training that counts"
            )
    seconds = 4 * rows / cluster.host_disk
    print(f"the bundle, {4 * rows / 1e12:.1f} TB by worker 0 alone: {seconds:,.0f} s for each epoch kept")


if __name__ == "__main__":
    main()
