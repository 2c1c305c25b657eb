"""Training runs on several workers, started, watched and killed as a person or a broken machine would."""

from __future__ import annotations

import glob
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from tests.helpers import PATIENCE
from tests.logs import config_text, make_table, write
from tests.processes import FORKS

from fieldwise.bundle import open_bundle
from fieldwise.distributed.group import Workers

Result = TypeVar("Result")
FIELDWISE = [sys.executable, "-m", "fieldwise"]
MORE = """
[model]
kind = "lc-wide-deep"
units = 2
hidden = [8]
unit_dropout = 0.0
[train]
epochs = 2
batch_size = 256
threads = 1
patience = 9
precision = "float64"
checkpoint_steps = 2
negative_rate = 0.8
calibration = "temperature"
[pretrain]
epochs = 1
"""


def make_log(folder: Path, more: str = MORE) -> Path:
    """Write a log and its configuration, and return the latter."""
    write(make_table(), folder / "log.parquet")
    (folder / "fieldwise.toml").write_text(config_text("log.parquet", more=more))
    return folder / "fieldwise.toml"


def command(config: Path, out: Path, *options: str) -> list[str]:
    """Return what a person types to train, with the result as JSON."""
    words = ["train", str(config), "--out", str(out), "--json", "--no-report", *options]
    return [*FIELDWISE, *words]


def start(config: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Begin `fieldwise train`."""
    return begin(command(config, out, *options))


def begin(words: list[str]) -> subprocess.Popen[str]:
    """Begin a command, as one that no worker gives."""
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "OMP_NUM_THREADS": "1"},
    )


@contextmanager
def started(config: Path, out: Path, *options: str):
    """Begin `fieldwise train`, and leave nothing of it behind."""
    process = start(config, out, *options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def train(config: Path, out: Path, *options: str) -> dict:
    """Run `fieldwise train` to its end and return its result; what else is on standard output fails."""
    process = start(config, out, *options)
    output, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, messages
    return json.loads(output)


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def checkpoints(out: Path) -> set[str]:
    """Return the checkpoints of a run, of its pretraining too."""
    # Not Path.glob: it raises where a folder is removed while it looks.
    found = glob.glob(f"{out}/**/checkpoints/[0-9]*/manifest.json", recursive=True)
    return {os.path.dirname(path) for path in found}


class Recovery(NamedTuple):
    """The seconds from a kill to the next checkpoint, and whether a checkpoint was being written at the kill."""

    seconds: float
    saving: bool


def kill_workers(process: subprocess.Popen[str], out: Path, num_kills: int, moments: random.Random) -> list[Recovery]:
    """Kill workers while they train: at a random moment, and every other time while they write a checkpoint."""
    recoveries: list[Recovery] = []
    while len(recoveries) < num_kills and process.poll() is None:
        seen = checkpoints(out)
        if not wait_until(lambda seen=seen: checkpoints(out) - seen, process):
            break
        if len(recoveries) % 2:
            wait_until(lambda: unfinished(out), process, pause=0.0)
        else:
            time.sleep(moments.uniform(0, 0.3))
        workers = workers_of(process.pid)
        if not workers:
            continue
        seen = checkpoints(out)
        os.kill(moments.choice(workers), signal.SIGKILL)
        killed_at, saving = time.monotonic(), bool(unfinished(out))
        wait_until(lambda workers=workers: not set(workers) & set(workers_of(process.pid)), process)
        if wait_until(lambda seen=seen: checkpoints(out) - seen, process):
            recoveries.append(Recovery(time.monotonic() - killed_at, saving))
    return recoveries


def unfinished(out: Path) -> list[str]:
    """Return the checkpoints that are being written, or that nobody went on writing."""
    return glob.glob(f"{out}/**/checkpoints/.*.tmp", recursive=True)


def wait_until(happened, process: subprocess.Popen[str], seconds: float = PATIENCE, pause: float = 0.005) -> bool:
    """Wait until something happened, or the process ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if happened():
            return True
        if process.poll() is not None:
            return False
        time.sleep(pause)
    raise AssertionError("nothing happened")


def weights(run: Path) -> dict[str, np.ndarray]:
    """Return all weights of a run's model."""
    bundle = open_bundle(run)
    return {"table": np.array(bundle.table), **{name: np.array(array) for name, array in bundle.dense.items()}}


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run_workers(work: Callable[..., Result], num_workers: int | None, *arguments: object) -> list[Result]:
    """Call ``work(workers, *arguments)`` in so many processes, and return what each returned; in one, with None in
    place of the workers, where `num_workers` is None.
    """
    environments: list[dict[str, str]] = [{}]
    if num_workers is not None:
        shared = {"WORLD_SIZE": str(num_workers), "LOCAL_WORLD_SIZE": str(num_workers)}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        environments = [{**shared, "RANK": str(rank)} for rank in range(num_workers)]
    pipes = [FORKS.Pipe(duplex=False) for _ in environments]
    processes = [
        FORKS.Process(target=_work, args=(work, arguments, environment, writer))
        for environment, (_, writer) in zip(environments, pipes, strict=True)
    ]
    try:
        for process in processes:
            process.start()
        for _, writer in pipes:
            writer.close()
        returned = [reader.recv() for reader, _ in pipes]
        for process in processes:
            process.join(PATIENCE)
        assert [process.exitcode for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return returned


def _work(
    work: Callable[..., object], arguments: Sequence[object], environment: dict[str, str], writer: Connection
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    torch.set_num_threads(1)
    workers = Workers.join() if environment else None
    returned = work(workers, *arguments)
    if workers is not None:
        workers.close()
    writer.send(returned)
    if workers is not None:
        workers.end()
