"""Prepare a log, killed with SIGKILL again and again, until it is done; a script of its own.

    python -m tests.crash.prepare_killer CONFIG NUM_KILLS SEED

Every second kill comes at a random moment; the others from inside, at a failure point: half of a write to a file of
the cache, or just before or after a rename, a sync or a removal. Counts are spilled to disk and tables mapped, as they
are of a log far beyond memory. The script prepares once for itself, so that all is imported and compiled, and every
attempt is a fork of it.

After each kill no folder may be taken for a prepared log but a whole one, byte for byte; now and then the log is
prepared to its end, and nothing but the prepared log and its lock may be left. Prints JSON: kills, those of each point,
and how often something was there to clean up.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fieldwise as fw
from fieldwise.io import files
from fieldwise.jobs.prepare import prepare as verb
from fieldwise.jobs.prepare.budget import Budget

CALLS = ("rename", "replace", "fsync", "rmdir", "unlink")


class Points:
    """Calls that a process can be killed at: counted by name, and fatal at one, say the third ``after rename``."""

    def __init__(self, fatal: tuple[str, int] | None = None) -> None:
        self.fatal, self.counts = fatal, Counter[str]()

    def _reached(self, name: str) -> bool:
        self.counts[name] += 1
        return self.fatal == (name, self.counts[name])

    def install(self) -> None:
        """Put the points into this process, which is a fork and does not take them out again."""
        for name in CALLS:
            setattr(os, name, self._call(name, getattr(os, name)))
        write, points = files._NewFile.write, self

        def half(self: Any, data: Any) -> int:
            if points._reached(f"write {self.path.name}"):
                view = memoryview(data).cast("B")
                write(self, view[: len(view) // 2])
                die()
            return write(self, data)

        files._NewFile.write = half  # type: ignore[method-assign]

    def _call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._reached(f"before {name}"):
                die()
            result = function(*arguments, **options)
            if self._reached(f"after {name}"):
                die()
            return result

        return call


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spilling(schema: Any, limit: int | None, of: Callable[..., Budget] = Budget.of) -> Budget:
    """Return a budget in which counts and tables hardly fit into memory."""
    return of(schema, limit)._replace(counter_bytes=1 << 12, table_bytes=0, chunk_bytes=1 << 16)


def attempt(config: fw.Config, *, delay: float | None = None, fatal: tuple[str, int] | None = None) -> bool:
    """Prepare in a child that dies after `delay` seconds or at a failure point; return whether it came to the end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if fatal is not None:
                Points(fatal).install()
            fw.prepare(config)
            code = 0
        finally:
            os._exit(code)
    deadline = None if delay is None else time.monotonic() + delay
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
                raise SystemExit(f"preparing failed: exit status {os.WEXITSTATUS(status)}")
            return os.WIFEXITED(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.0005)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def points_of(config: fw.Config, cache: Path) -> dict[str, int]:
    """Return how often each failure point is passed by a run that finds what a dead process has left."""
    attempt(config, fatal=("write prepared.json", 1))
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        points = Points()
        points.install()
        fw.prepare(config)
        with os.fdopen(write_end, "w") as pipe:
            json.dump(points.counts, pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        counts: dict[str, int] = json.load(pipe)
    os.wait()
    shutil.rmtree(cache)
    return counts


def main() -> None:
    config, num_kills, seed = fw.load_config(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    cache = Path(config.base) / ".fieldwise"
    chance = random.Random(seed)
    os.fsync = os.fstat  # no power fails here, and a disk would need as long as all else
    verb.Budget.of = staticmethod(spilling)  # type: ignore[method-assign]
    key = fw.prepare(config).folder.name
    whole = contents(cache / key)
    shutil.rmtree(cache)
    started = time.monotonic()
    fw.prepare(config)
    length = time.monotonic() - started
    shutil.rmtree(cache)
    points = points_of(config, cache)
    killed: Counter[str] = Counter()
    cleaned = finished = tried = 0
    while killed.total() < num_kills:
        tried += 1
        if tried % 2:
            what, done = "a random moment", attempt(config, delay=chance.uniform(0, length))
        else:  # every name in turn, at any of its places
            what = list(points)[tried // 2 % len(points)]
            done = attempt(config, fatal=(what, chance.randint(1, points[what])))
        killed[what] += not done
        if (cache / key).exists():
            assert contents(cache / key) == whole, f"half a prepared log after {what}"
        cleaned += (cache / f".{key}.tmp").exists()
        if done or (cache / key).exists() or chance.random() < 0.2:
            attempt(config)
            assert contents(cache / key) == whole, f"another prepared log after {what}"
            assert {path.name for path in cache.iterdir()} == {key, f".{key}.lock"}, f"something is left after {what}"
            finished += 1
            shutil.rmtree(cache)
    attempt(config)
    assert contents(cache / key) == whole
    report = {"kills": killed, "points": points, "cleaned": cleaned, "finished": finished}
    sys.stdout.write(json.dumps({**report, "seconds": round(length, 3)}) + "\n")


if __name__ == "__main__":
    main()
