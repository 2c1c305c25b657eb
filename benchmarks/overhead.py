"""What the workers of a training cost beyond one process, in CPU seconds per example; one thread each.

    python benchmarks/overhead.py [--quick] [--json]

`peer` is one process. W = 1 is a single worker of torchrun and has to stay within 1.05 times of it; for W = 2 the CPU
seconds of both workers are added up, within 1.4 times. LC-DNN, hidden layers [2048, 1024], 39 fields of a million
features as skewed as 1 / rank, batches of 4,096, products in bfloat16 where the processor has them. Runs are
interleaved and the least of each is taken: other work on the machine only adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LIMITS = {1: 1.05, 2: 1.4}


def main() -> None:
    """Measure, in turn, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="hidden [256, 128], one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    hidden, rounds = ("256,128", 1) if options.quick else ("2048,1024", options.rounds)
    least: dict[int, float] = {}
    for _ in range(rounds):
        for line in measure(hidden, options.steps):
            workers, micros = line["workers"], line["cpu_microseconds"]
            least[workers] = min(least.get(workers, micros), micros)
            if not options.json:
                print(f"W = {workers}: {micros:.2f} CPU us an example", flush=True)
    lines = [
        {
            "what": f"CPU microseconds an example, W = {workers}",
            "ours": least[workers],
            "peer": least[0],
            "ratio": least[workers] / least[0],
            "limit": limit,
        }
        for workers, limit in LIMITS.items()
    ]
    if options.json:
        print(json.dumps({"lines": lines}, indent=1))
    else:
        for line in lines:
            print("{what}: {ours:.2f} against {peer:.2f}, {ratio:.3f} times (limit {limit})".format(**line))
    sys.exit(any(line["ratio"] > line["limit"] for line in lines))


def measure(hidden: str, steps: int) -> list[dict[str, Any]]:
    """Return a line of `benchmarks/distributed.py` for one process and for one and two workers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lines.json"
        command = [sys.executable, str(Path(__file__).with_name("distributed.py")), "none", "--draws", "1000000"]
        command += ["--models", "lc-dnn:1", "--hidden", hidden, "--workers", "0,1,2", "--steps", str(steps)]
        subprocess.run([*command, "--json", str(out)], check=True, stdout=subprocess.DEVNULL)
        lines: list[dict[str, Any]] = json.loads(out.read_text())
    return lines


if __name__ == "__main__":
    main()
