"""Update a run, killed with SIGKILL again and again; a script of its own.

    python -m tests.crash.update_killer RUN WHAT NUM_KILLS SEED      WHAT is JSON: what `update` is given

Every second kill comes at a random moment, the others at a failure point (`tests.crash.prepare_killer`). After each the
version in use can be opened and verified, and is the one before or the new one, byte for byte; then the same command
ends with what one that nobody killed has left, byte for byte. Prints JSON: kills, and how many at which point.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.crash.prepare_killer import Points
from tests.jobs.update.runs import contents

import fieldwise as fw
from fieldwise.bundle import bundle_in_use
from fieldwise.jobs.update.update import update  # imports torch, once for all forks


def attempt(
    run: Path, given: dict[str, Any], *, delay: float | None = None, fatal: tuple[str, int] | None = None
) -> bool:
    """Update in a child that dies after `delay` seconds or at a failure point; return whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if fatal is not None:
                Points(fatal).install()
            update(run, **given, overrides=["gate.min_clicks=20"])
            code = 0
        finally:
            os._exit(code)
    deadline = None if delay is None else time.monotonic() + delay
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
                raise SystemExit(f"the update failed: exit status {os.WEXITSTATUS(status)}")
            return os.WIFEXITED(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.001)


def points_of(run: Path, given: dict[str, Any]) -> dict[str, int]:
    """Return how often each failure point is passed."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        points = Points()
        points.install()
        update(run, **given, overrides=["gate.min_clicks=20"])
        with os.fdopen(write_end, "w") as pipe:
            json.dump(points.counts, pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        counts: dict[str, int] = json.load(pipe)
    os.wait()
    return counts


def main() -> None:
    original, given, num_kills, seed = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(seed)
    os.fsync = os.fstat  # no power fails here, and a disk would need as long as all else
    with tempfile.TemporaryDirectory(dir=original.parent) as folder:
        run = Path(folder) / "run"

        def anew() -> None:
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(original, run)

        anew()
        before = bundle_in_use(run)
        digests = {fw.open_bundle(before).digest}
        assert attempt(run, given)
        anew()
        started = time.monotonic()
        assert attempt(run, given)
        length, whole = time.monotonic() - started, contents(run)
        assert bundle_in_use(run) != before, "the day is published"
        digests.add(fw.open_bundle(run).digest)
        anew()
        points = points_of(run, given)
        assert contents(run) == whole
        killed: Counter[str] = Counter()
        tried = 0
        while killed.total() < num_kills:
            tried += 1
            anew()
            if tried % 2:
                what, done = "a random moment", attempt(run, given, delay=chance.uniform(0, length))
            else:
                what = chance.choice(list(points))
                done = attempt(run, given, fatal=(what, chance.randint(1, points[what])))
            killed[what] += not done
            assert fw.open_bundle(run).verify().digest in digests, f"half a version is in use after {what}"
            assert attempt(run, given)
            found = contents(run)
            assert found == whole, (what, sorted(k for k in {*found, *whole} if found.get(k) != whole.get(k)))
        left = [path.name for path in run.rglob("*") if path.name.endswith(".tmp")]
        assert not left, left
    sys.stdout.write(json.dumps({"kills": killed, "points": points, "seconds": round(length, 3)}) + "\n")


if __name__ == "__main__":
    main()
