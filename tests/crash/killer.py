"""Train, killing it with SIGKILL again and again, and see that every run ends with the same bytes; a script of its own.

    python -m tests.crash.killer CONFIG OUT NUM_KILLS NUM_AT_POINTS SEED

NUM_AT_POINTS of the kills happen at the points of `tests.crash.points`, inside the writing of checkpoints and bundles;
the others at random moments. The script trains once for itself, so that all is imported and compiled, and every attempt
is a fork of it: an attempt costs as long as it lives. When a run came to its end it is compared with the one that was
never killed, and a new one begins.

Prints JSON: the number of kills, of kills at each point, of runs that ended, of attempts that found a checkpoint to go
on from, and of attempts that found one that was being written when its process died.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.crash.points import POINTS, die_at

import fieldwise as fw


def attempt(config: str, out: str, delay: float | None = None, point: str | None = None, arrival: int = 1) -> bool:
    """Train in a child that is killed after `delay` seconds or at a point; return whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if point is not None:
                die_at(point, arrival)
            fw.train(fw.load_config(config), out)
            code = 0
        finally:
            os._exit(code)
    deadline = None if delay is None else time.monotonic() + delay
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
                raise SystemExit(f"training failed: exit status {os.WEXITSTATUS(status)}")
            return os.WIFEXITED(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.001)


def outcome(run: str) -> tuple[dict[str, bytes], object]:
    """Return the bytes of a run's model, and what does not depend on the clock in its result."""
    result = json.loads(Path(run, "run.json").read_text())["content"]["result"]
    bundle = {path.name: path.read_bytes() for path in Path(run, "bundle").iterdir()}
    return bundle, [result[key] for key in ("valid", "test", "epochs", "best_epoch")]


def check(run: str, whole: str) -> None:
    """Compare a run that ended with one that was never killed; nothing unfinished may be left."""
    if outcome(run) != outcome(whole):
        raise SystemExit(f"{run} is not what {whole} is")
    left = [str(path) for path in Path(run).rglob("*") if path.name.endswith(".tmp") or path.name == "checkpoints"]
    if left:
        raise SystemExit(f"left over: {left}")


def main() -> None:
    config, out, num_kills, num_at_points, seed = *sys.argv[1:3], *map(int, sys.argv[3:6])
    chance, whole = random.Random(seed), f"{out}-whole"
    os.fsync = os.fstat  # no power fails here, and a disk would need as long as all else
    fw.train(fw.load_config(config), f"{out}-warm")
    started = time.monotonic()
    fw.train(fw.load_config(config), whole)
    length = time.monotonic() - started
    check(f"{out}-warm", whole)
    at_points = [list(POINTS)[number % len(POINTS)] for number in range(num_at_points)]
    plan: list[str | None] = [*at_points, *[None] * (num_kills - num_at_points)]
    chance.shuffle(plan)
    counts, killed = Counter(), Counter()
    while plan:
        counts["resumed"] += any(Path(out).glob("**/checkpoints/*/manifest.json"))
        counts["unfinished"] += any(Path(out).glob("**/checkpoints/.*.tmp"))
        point, delay = plan[-1], chance.uniform(0, length / 2)
        if point is None:
            ended = attempt(config, out, delay)
        else:
            ended = attempt(config, out, point=point, arrival=chance.randint(1, 4))
        if ended:  # before the moment came
            check(out, whole)
            shutil.rmtree(out)
            counts["ended"] += 1
        else:
            killed[plan.pop() or "anywhere"] += 1
    attempt(config, out)
    check(out, whole)
    counts["ended"] += 1
    print(json.dumps({"kills": killed.total(), "at": killed, **counts, "seconds": length}))


if __name__ == "__main__":
    main()
