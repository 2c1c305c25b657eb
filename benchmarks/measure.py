"""What benchmarks share: work in a process of its own, with its seconds and its peak of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """The largest anonymous memory of this process in the block, looked at every 20 ms; mapped files not counted."""

    def __enter__(self) -> PeakMemory:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            lines = _STATUS.read_text().splitlines()
            now = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
            self.bytes = max(self.bytes, now)
            if self._done.wait(0.02):
                return


def in_process(script: str, task: str, *, python: str = sys.executable, **options: object) -> dict[str, Any]:
    """Run ``python script --task TASK --options JSON`` and return the object that it prints last."""
    command = [python, script, "--task", task, "--options", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(task: Callable[..., dict[str, Any]], options: dict[str, Any]) -> None:
    """Run a task in this process and print its figures with its seconds, of processors too, and its peak of memory."""
    with PeakMemory() as peak:
        started = time.perf_counter()
        figures = task(**options)
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time()
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak.bytes, **figures}))


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number over repeated runs; other values are those of the first."""
    first = runs[0]
    return {
        key: median(run[key] for run in runs) if isinstance(value, int | float) else value
        for key, value in first.items()
    }
