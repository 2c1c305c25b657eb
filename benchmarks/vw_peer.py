"""Vowpal Wabbit through its own Python package; run by `benchmarks/lr.py` in an environment that has it.

    python benchmarks/vw_peer.py TRAIN TEST PASSES

Reads the text once, which writes VW's binary cache, then learns from the cache alone: 1, 2, ... passes, each time anew.
Prints a line of JSON: seconds of the text pass and of each number of passes, and the predictions' files.
"""

from __future__ import annotations

import json
import sys
import time

from vowpalwabbit import Workspace

_COMMON = "--loss_function logistic --link logistic -b 24 --holdout_off --quiet"


def run(options: str) -> tuple[float, float]:
    """Let VW read its data to the end; return the seconds on the clock and of all processors, saving included."""
    started, started_cpu = time.perf_counter(), time.process_time()
    Workspace(f"{_COMMON} {options}").finish()
    return time.perf_counter() - started, time.process_time() - started_cpu


def main() -> None:
    """Learn, predict, report."""
    train, test, passes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cache = f"{train}.cache"
    text, _ = run(f"-d {train} --cache_file {cache} -k -f {train}.model0")
    learning: list[tuple[float, float]] = []
    predictions = []
    for count in range(1, passes + 1):
        learning.append(run(f"-d {train} --cache_file {cache} --passes {count} -f {train}.model{count}"))
        predictions.append(f"{test}.predictions{count}")
        run(f"-t -d {test} -i {train}.model{count} -p {predictions[-1]}")
    seconds, cpu_seconds = zip(*learning, strict=True)
    print(json.dumps({"text_seconds": text, "seconds": seconds, "cpu": cpu_seconds, "predictions": predictions}))


if __name__ == "__main__":
    main()
