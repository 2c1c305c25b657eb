"""Train a run, killing it with SIGKILL at random moments, until it is done; a script of its own.

    python killer.py CONFIG OUT NUM_KILLS SEED

The script trains once for itself, so that all is imported and compiled, and every attempt is a fork of it: an attempt
costs as long as it lives. Prints JSON: the number of kills, how many attempts found a checkpoint to go on from, and
how many found one that was being written when its process died.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import fieldwise as fw


def attempt(config: str, out: str, delay: float | None) -> bool:
    """Train in a child that is killed after `delay` seconds; return whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
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


def main() -> None:
    config, out, num_kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    moments = random.Random(seed)
    fw.train(fw.load_config(config), f"{out}-warm")
    started = time.monotonic()
    fw.train(fw.load_config(config), f"{out}-timed")
    length = time.monotonic() - started
    kills = resumed = unfinished = 0
    while kills < num_kills:
        resumed += any(Path(out).glob("**/checkpoints/*/manifest.json"))
        unfinished += any(Path(out).glob("**/checkpoints/.*.tmp"))
        if attempt(config, out, moments.uniform(0, length / 2)):
            shutil.rmtree(out)  # it was done before the moment came: begin a new run
        else:
            kills += 1
    attempt(config, out, None)
    print(json.dumps({"kills": kills, "resumed": resumed, "unfinished": unfinished, "seconds": length}))


if __name__ == "__main__":
    main()
