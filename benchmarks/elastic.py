"""How well fieldwise's agents recover from killed workers and hosts, and how well plain torchrun's.

    python benchmarks/elastic.py [--trials 20] [--launchers fieldwise,torchrun] [--what worker,host] [--json]

`worker`: one host with two workers; one of them gets SIGKILL. Seconds from there to the next checkpoint, and whether
the weights are in the end, bit for bit, those of an undisturbed run.

`host`: two hosts on this machine, a worker each, of which one is enough; the agent of one gets SIGKILL. Seconds to the
next checkpoint of the other; then the host is started again: seconds to the next checkpoint of both. What takes more
than `--patience` seconds, or ends an agent, is a failure: all are started again. Every other kill hits the host that
serves the rendezvous. torchrun gets the same heartbeats (`--rdzv-conf`), and waits 30 seconds for further hosts, its
default: with 5, as ours, the two never met.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fieldwise.bundle import open_bundle

CONFIG = """
[data]
train = ["synth.parquet"]
split = "split"
label = "click"
[model]
kind = "lc-dnn"
units = 2
hidden = [8]
[train]
epochs = {epochs}
patience = 9999
batch_size = 256
threads = 1
precision = "float64"
checkpoint_steps = {steps}
"""


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--launchers", default="fieldwise,torchrun")
    parser.add_argument("--what", default="worker,host")
    parser.add_argument("--patience", type=float, default=90)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["--rows", "8000", "--fields", "6", "--features", "300", "--out", name]
        subprocess.run([sys.executable, "-m", "fieldwise", "datasets", "synth", *words], check=True, stdout=sys.stderr)
        for what in options.what.split(","):
            for launcher in options.launchers.split(","):
                trials = {"worker": of_workers, "host": of_hosts}[what]
                lines.append({"what": what, "launcher": launcher, **trials(folder, launcher, options)})
                print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"lines": lines}, indent=1) if options.json else "\n".join(map(said, lines)))


def said(line: dict[str, Any]) -> str:
    """Return a line for people."""

    def of(key: str) -> str:
        found = line.get(key, [])
        return f"{statistics.median(found):.1f} (most {max(found):.1f})" if found else "-"

    recovered = f"recovered {len(line['seconds'])} of {line['trials']}, seconds {of('seconds')}"
    text = f"{line['launcher']:10} {line['what']:7} {recovered}"
    if line["what"] == "host":
        return f"{text}; taken back {len(line['back'])}, seconds {of('back')}; {line['failures']}"
    return f"{text}; weights equal: {line['equal']}"


def of_workers(folder: Path, launcher: str, options: argparse.Namespace) -> dict[str, Any]:
    """Kill workers of one host until the run has ended."""
    config = folder / "worker.toml"
    config.write_text(CONFIG.format(epochs=4 * options.trials, steps=20))
    whole, out = folder / "whole", folder / f"worker-{launcher}"
    if not whole.exists():
        started(launcher, config, whole, 2).communicate()
    process, moments, seconds, kills = started(launcher, config, out, 2), random.Random(5), [], 0
    while kills < options.trials and process.poll() is None:
        before = checkpoints(out)
        if not waited(lambda before=before: checkpoints(out) - before, options.patience, process):
            break
        time.sleep(moments.uniform(0, 0.3))
        workers = children(process.pid)
        if len(workers) != 2:
            continue
        os.kill(moments.choice(workers), signal.SIGKILL)
        kills += 1
        begun, before = time.monotonic(), checkpoints(out)
        waited(lambda workers=workers: not set(workers) & set(children(process.pid)), options.patience, process)
        if waited(lambda before=before: checkpoints(out) - before, options.patience, process):
            seconds.append(time.monotonic() - begun)
    process.communicate()
    equal = process.returncode == 0 and all(
        np.array_equal(a, b) for a, b in zip(weights(whole), weights(out), strict=True)
    )
    return {"trials": kills, "seconds": seconds, "equal": equal}


def of_hosts(folder: Path, launcher: str, options: argparse.Namespace) -> dict[str, Any]:
    """Kill agents of two hosts."""
    config, out = folder / "host.toml", folder / f"host-{launcher}"
    config.write_text(CONFIG.format(epochs=99_999, steps=20))
    seconds: list[float] = []
    back: list[float] = []
    failures: dict[str, int] = {}

    def begin() -> list[subprocess.Popen[bytes]]:
        port = free_port()
        first = started(launcher, config, out, 1, port)
        time.sleep(0.5)  # so that the first serves the rendezvous
        return [first, started(launcher, config, out, 1, port)]

    hosts, port = begin(), 0
    for trial in range(options.trials):
        before = checkpoints(out, 2)
        if not waited(lambda before=before: checkpoints(out, 2) - before, options.patience, *hosts):
            failures["no meeting of two"] = failures.get("no meeting of two", 0) + 1
        else:
            serving = trial % 2 == 0
            killed = 0 if serving else 1
            before, begun = checkpoints(out, 1), time.monotonic()
            hosts[killed].kill()
            if waited(lambda before=before: checkpoints(out, 1) - before, options.patience, hosts[1 - killed]):
                seconds.append(time.monotonic() - begun)
                port = port_of(hosts[1 - killed])
                begun, before = time.monotonic(), checkpoints(out, 2)
                hosts = [hosts[1 - killed], started(launcher, config, out, 1, port)]  # who is left serves, or served
                if waited(lambda before=before: checkpoints(out, 2) - before, options.patience, *hosts):
                    back.append(time.monotonic() - begun)
                    continue
                what = "not taken back"
            else:
                what = "killed with the rendezvous" if serving else "killed without the rendezvous"
            failures[what] = failures.get(what, 0) + 1
        for host in hosts:
            end(host)
        hosts = begin()
    for host in hosts:
        end(host)
    return {"trials": options.trials, "seconds": seconds, "back": back, "failures": failures}


def started(launcher: str, config: Path, out: Path, workers: int, port: int | None = None) -> subprocess.Popen[bytes]:
    """Start the agent of a host; with a port it is one of two hosts."""
    train = ["-m", "fieldwise", "train", str(config), "--out", str(out), "--json", "--timeout", "20"]
    if launcher == "fieldwise":
        hosts = [] if port is None else ["--hosts", "1:2", "--rendezvous", f"127.0.0.1:{port}"]
        words = [*train, "--workers", str(workers), *hosts]
    else:
        conf = "join_timeout=600,last_call_timeout=30,keep_alive_interval=1,keep_alive_max_attempt=8,read_timeout=20"
        place = ["--standalone"] if port is None else [
            "--nnodes", "1:2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}",
            "--rdzv-id", "fieldwise", "--rdzv-conf", conf, "--local-addr", "127.0.0.1",
        ]  # fmt: skip
        words = ["-m", "torch.distributed.run", *place, "--nproc-per-node", str(workers), "--max-restarts", "100",
                 "--monitor-interval", "0.1", *train]  # fmt: skip
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    clean |= {"OMP_NUM_THREADS": "1", "FIELDWISE_ELASTIC_PORT": str(port)}
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean)


def port_of(process: subprocess.Popen[bytes]) -> int:
    """Return the port of the rendezvous that a host was given."""
    words = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    return int(next(word for word in words if word.startswith(b"FIELDWISE_ELASTIC_PORT=")).split(b"=")[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End a host and its workers."""
    workers = children(process.pid)
    process.kill()
    process.wait()
    for worker in workers:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            continue


def waited(happened: Callable[[], object], seconds: float, *processes: subprocess.Popen[bytes]) -> bool:
    """Wait until something has happened; False where a process ended before, or it took too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if happened():
            return True
        if any(process.poll() is not None for process in processes):
            return False
        time.sleep(0.01)
    return False


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def checkpoints(out: Path, num_workers: int = 0) -> set[str]:
    """Return the checkpoints of a run, those that so many workers have written."""
    name = {0: "manifest.json", 1: "table.safetensors"}.get(
        num_workers, f"table-00000-of-{num_workers:05d}.safetensors"
    )
    return {os.path.dirname(path) for path in glob.glob(f"{out}/checkpoints/[0-9]*/{name}")}


def weights(run: Path) -> list[Any]:
    """Return all weights of a model."""
    bundle = open_bundle(run)
    return [np.array(bundle.table), *(np.array(array) for _, array in sorted(bundle.dense.items()))]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
