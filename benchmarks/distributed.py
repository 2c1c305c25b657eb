"""Seconds, CPU seconds and bytes of a training step: one process, and W workers on this machine.

python benchmarks/distributed.py CONFIG [--workers 0,1,2,4] [--models lr,lc-dnn:1,...] [--hidden 400,400] [--steps 60]
    [--batch 4096] [--comm-dtype full] [--draws 0] [--namespaces] [--json FILE]

With --namespaces every worker is a host of its own: a network namespace, joined to the others by a bridge (root only),
and the bytes that went over its interface are counted too, with all headers.

0 workers is one process as `fieldwise train` makes it; 1 is a single worker of torchrun. One thread a process. Every
line is the median of the steps after the first 5, as worker 0 sees it; CPU is that of all workers and of all their
threads, by all the steps after the first 5. Models are trained on the log of CONFIG, prepared if it is not; with
--draws D in place of it, on examples drawn anew: 39 fields of D features in all, ids as skewed as 1 / rank.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

import fieldwise as fw
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Examples
from fieldwise.distributed.group import Workers
from fieldwise.jobs.train.team import stepper_of, world_of
from fieldwise.kernels.layout import SINGLE, Batch, Layout
from fieldwise.kernels.threads import set_num_threads
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.nn.deep import count_weights
from fieldwise.nn.standardise import Standardise
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.config import TrainConfig

WARM = 5


def main() -> None:
    """Measure what the command line says, each number of workers in processes of its own."""
    options = parse()
    if options.task:
        task(options)
        return
    lines: list[dict[str, Any]] = []
    for model in options.models.split(","):
        for count in map(int, options.workers.split(",")):
            line = run(model, count, options.namespaces and count > 1)
            lines.append(line)
            print(
                f"{model:16} W = {count} {line['milliseconds']:8.2f} ms a step, {line['waiting']:4.0%} of it waiting  "
                f"{line['cpu_microseconds']:7.2f} CPU us, {line['bytes_per_example']:8.1f} bytes "
                f"({line['wire_bytes_per_example']:.1f} on the wire) an example  "
                f"loss {line['loss']:.4f}  {line['seconds_per_epoch']:6.2f} s an epoch",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(lines, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--workers", default="0,1,2")
    parser.add_argument("--models", default="lr,dnn,lc-dnn:1,lc-dnn:8,lc-wide-deep:1")
    parser.add_argument("--hidden", default="400,400")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--comm-dtype", default="full")
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(model: str, count: int, namespaces: bool) -> dict[str, Any]:
    """Start the processes for one line, and return what worker 0 prints."""
    command = [sys.executable, *sys.argv, "--task", model]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    local, address = (1, "10.78.0.1") if namespaces else (count, "127.0.0.1")
    places = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(local), "MASTER_ADDR": address, "MASTER_PORT": port}
    environments = [{**places, "RANK": str(rank)} for rank in range(count)] or [{}]
    with hosts(count if namespaces else 0) as prefixes:
        processes = [
            subprocess.Popen(
                [*(prefixes[rank] if prefixes else []), *command],
                env={**os.environ, "OMP_NUM_THREADS": "1", **own},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank, own in enumerate(environments)
        ]
        outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{model} on {count} workers failed")
    line: dict[str, Any] = json.loads(outputs[0].splitlines()[-1])
    return line


@contextmanager
def hosts(count: int) -> Iterator[list[list[str]]]:
    """Make network namespaces on one bridge; yields what a command for each begins with."""
    names = [f"fwbench{host}" for host in range(count)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    with ExitStack() as held:
        if count:
            ip("netns", "add", "fwbench")
            held.callback(ip, "netns", "del", "fwbench")
            ip("-n", "fwbench", "link", "add", "bridge", "type", "bridge")
            ip("-n", "fwbench", "link", "set", "bridge", "up")
        for host, name in enumerate(names):
            ip("netns", "add", name)
            held.callback(ip, "netns", "del", name)
            ip("link", "add", f"port{host}", "netns", "fwbench", "type", "veth", "peer", "name", "wire", "netns", name)
            ip("-n", "fwbench", "link", "set", f"port{host}", "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"10.78.0.{host + 1}/24", "dev", "wire")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "wire", "up")
        yield [["ip", "netns", "exec", name] for name in names]


def on_the_wire() -> int:
    """Return the bytes that this host has sent, headers and all; 0 where it is no namespace of ours."""
    path = Path("/sys/class/net/wire/statistics/tx_bytes")
    return int(path.read_text()) if path.exists() else 0


def task(options: argparse.Namespace) -> None:
    """Train for some steps as this one of the workers, and print a line as JSON."""
    set_num_threads(1)
    torch.set_num_threads(1)
    workers = Workers.join() if "RANK" in os.environ else None
    world = world_of(workers)
    layout, batches, epoch_examples = source(options, (world.rank, world.size))
    kind, _, units = options.task.partition(":")
    config = ModelConfig(kind=kind, units=int(units or 8), hidden=tuple(map(int, options.hidden.split(","))))
    model = build_model(config, layout, 2)
    rule = TableOptimizerConfig(name="ftrl" if kind == "lr" else "adam")
    stepper = stepper_of(model, TrainConfig(batch_size=options.batch, table=rule, comm_dtype=options.comm_dtype), world)
    model.table.draw(0)
    model.train()
    seconds: list[float] = []
    own_work: list[float] = []
    examples = cpu = 0.0
    for number, batch in zip(range(options.steps + WARM), stepper.ahead(batches), strict=False):
        if number == WARM:  # compiled and warm
            cpu, examples = time.process_time(), 0.0
            sent = workers.traffic.step_bytes if workers else 0
            waited = workers.traffic.seconds if workers else 0.0
            asked = workers.traffic.rows_asked if workers else 0
            ids = workers.traffic.ids if workers else 0
            wire = on_the_wire()
        begun, waited_before = time.perf_counter(), workers.traffic.seconds if workers else 0.0
        loss = stepper.step(batch, 1.0)
        seconds.append(time.perf_counter() - begun)
        own_work.append(seconds[-1] - (workers.traffic.seconds - waited_before if workers else 0.0))
        examples += batch.batch.num_examples
    cpu = time.process_time() - cpu
    traffic = workers.traffic if workers else None
    own = [
        cpu,
        examples,
        traffic.step_bytes - sent if traffic else 0,
        traffic.seconds - waited if traffic else 0.0,
        traffic.rows_asked - asked if traffic else 0,
        traffic.ids - ids if traffic else 0,
        on_the_wire() - wire,
    ]
    all_workers = workers.collect(torch.tensor(own, dtype=torch.float64)) if workers else torch.tensor([own])
    cpu, examples, sent, waited, asked, ids, wire = all_workers.sum(dim=0).tolist()
    steps = torch.tensor(own_work[WARM:], dtype=torch.float64)
    own_steps = workers.collect(steps) if workers else steps[None]
    step = statistics.median(seconds[WARM:])
    matrices, others = count_weights(model)
    line = {
        "model": options.task,
        "workers": 0 if workers is None else workers.size,
        "milliseconds": step * 1e3,
        "cpu_microseconds": cpu / examples * 1e6,
        "bytes_per_example": sent / examples,
        "rows_per_example": asked / examples,
        "ids_per_example": ids / examples,
        "wire_bytes_per_example": wire / examples,
        "waiting": waited / (sum(seconds[WARM:]) * len(all_workers)),
        "own_milliseconds": [[round(each * 1e3, 3) for each in of_worker] for of_worker in own_steps.tolist()],
        "seconds_per_epoch": step * -(-epoch_examples // options.batch),
        "loss": loss,
        "batch": options.batch,
        "fields": layout.num_fields,
        "table_width": model.table.num_weights,
        "dense_parameters": matrices + others,
        "units": sum(each.num_features for each in model.modules() if isinstance(each, Standardise)),
        "traffic": msgspec.to_builtins(traffic) if traffic else None,
    }
    if workers is None or workers.rank == 0:
        print(json.dumps(line), flush=True)
    if workers is not None:
        workers.close()
        workers.end()


def source(options: argparse.Namespace, share: tuple[int, int]) -> tuple[Layout, Iterator[Examples], int]:
    """Return the layout, this worker's part of enough batches, and the examples of an epoch."""
    if options.draws:
        layout = Layout.of([SINGLE] * 39, [options.draws // 39] * 39)
        return layout, drawn(layout, options.batch, share), options.batch * options.steps
    cache = fw.prepare(fw.load_config(options.config)).parts["train"]
    batches = Batches(cache, options.batch, share=share)
    return cache.layout, (part for epoch in range(1000) for part in batches.epoch(epoch)), cache.num_examples


def drawn(layout: Layout, batch_size: int, share: tuple[int, int]) -> Iterator[Examples]:
    """Yield this worker's part of random batches; all workers draw the same ones."""
    rng, part = np.random.default_rng(0), slice(*(batch_size * k // share[1] for k in (share[0], share[0] + 1)))
    rows = np.diff(layout.base)[:, None]
    while True:
        ids = (rows ** rng.random((len(rows), batch_size)) - 1).astype(np.uint32)[:, part]
        labels = rng.integers(0, 2, batch_size).astype(np.int32)[part]
        none = np.empty(0)
        num = ids.shape[1]
        batch = Batch(
            np.ascontiguousarray(ids),
            np.empty((0, num), np.float32),
            np.empty((0, num + 1), np.int64),
            none.astype(np.uint32),
            none.astype(np.float32),
        )
        yield Examples(batch, labels, None, None)


if __name__ == "__main__":
    main()
