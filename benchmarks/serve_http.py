"""How many requests and rows a second ``fieldwise serve`` answers, against a bare echo server of the same stack.

    python -m benchmarks.serve_http [--fields 7 39] [--seconds 5] [--no-torch] [--no-peers] [--start 1]

Server and client share the machine's cores, so ratios to the echo server of the same run say more than the figures. The
echo server parses the same JSON with msgspec, and answers as many numbers as there are rows; ``torch`` is the same
server with the network in eager PyTorch; scikit-learn (one-hot, logistic regression) and LightGBM (100 trees) stand
behind FastAPI on the same uvicorn, in an environment of their own. ``CPU`` is the processor time of the server: what to
compare on a machine that has other work. ``half load`` is a fixed rate of one-row requests, half of what was reached.
``cold start`` is from the start of the process to the line that says that requests are answered, for a bundle of so
many GB in the page cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvloop
from benchmarks.environment import peer_python

_PEERS = {"scikit-learn": "sklearn", "LightGBM": "lightgbm"}
_REQUIREMENTS = ("fastapi", "uvicorn[standard]", "scikit-learn", "lightgbm", "pandas", "pyarrow")


def make_model(folder: Path, num_fields: int) -> list[dict[str, object]]:
    """Train a network on a random log, and return rows of it."""
    import fieldwise as fw

    rng = random.Random(num_fields)
    names = [f"field_{number:02d}" for number in range(num_fields)]
    rows = [{name: f"{name}-value-{int(rng.paretovariate(1)) % 5000}" for name in names} for _ in range(5000)]
    log = [{**row, "click": rng.randrange(2)} for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(log), folder / "log.parquet")
    fields = {name: fw.FieldConfig(type="category") for name in names}
    config = fw.Config(
        data=fw.DataConfig(train="log.parquet", label="click"),
        fields=fields,
        model=fw.ModelConfig(kind="lc-dnn", units=16, hidden=(256, 128)),
        train=fw.TrainConfig(epochs=1, threads=2),
        base=str(folder),
    )
    fw.train(config, folder / "run")
    return rows


def make_large(folder: Path, gigabytes: float) -> None:
    """Write a bundle whose table has so many bytes: one field of hashed values, 16 units."""
    import msgspec

    from fieldwise.bundle import BundleWriter, block_rows
    from fieldwise.features.encoder import Encoder
    from fieldwise.io.arrays import Pieces
    from fieldwise.models.click import build_model
    from fieldwise.models.config import ModelConfig
    from fieldwise.models.load import dense_arrays
    from fieldwise.models.network import export_network
    from fieldwise.schema import Field, Schema

    num_buckets = int(gigabytes * 1e9 / 64)
    fields = (Field(name="a", column="a", buckets=num_buckets), Field(name="b", column="b"))
    log = pa.table({"a": ["x", "y"] * 5, "b": ["x", "z"] * 5, "click": [0, 1] * 5})
    encoder = Encoder(Schema(label="click", fields=fields)).fit([log])
    config = ModelConfig(kind="lc-dnn", units=16, hidden=(256, 128)).for_schema(encoder.schema)
    model = build_model(config, encoder.layout, 2)
    num_rows, step = encoder.layout.num_features, block_rows(64)
    part = np.random.default_rng(1).normal(size=(step, 16)).astype(np.float32)
    pieces = (part[: min(step, num_rows - first)] for first in range(0, num_rows, step))
    writer = BundleWriter(folder, encoder, msgspec.to_builtins(config), "float32", {})
    table = Pieces(part.dtype, (num_rows, 16), pieces)
    writer.save(1, table, dense_arrays(model), export_network(model.eval()))


def measure_start(gigabytes: float) -> None:
    """Print how long a server takes to start."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "bundle")
        make_large(bundle, gigabytes)
        for again in ("first start", "again"):
            began = time.perf_counter()
            server = Server(sys.executable, "-m", "fieldwise", "serve", str(bundle), "--port", "0", "--name", "m")
            with server:
                seconds, cpu = time.perf_counter() - began, server.cpu_seconds
            print(
                f"cold start, {gigabytes:g} GB, {again}: {seconds:.1f} s, of which {cpu:.1f} s of the processor"
                f" (load {os.getloadavg()[0]:.0f})",
                flush=True,
            )


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Parse a request and answer as many numbers."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body, more = body + message["body"], message["more_body"]
    rows = msgspec.json.decode(body)["rows"]
    answer = msgspec.json.encode({"probability": [0.123456789] * len(rows)})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve_echo() -> None:
    """Run the echo server."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"ready: http://127.0.0.1:{listener.getsockname()[1]} echo", flush=True)
    config = uvicorn.Config(
        echo, http="httptools", loop="uvloop", ws="none", lifespan="off", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])


def serve_torch(path: str) -> None:
    """Run the server with the network in eager PyTorch, on one thread as ONNX Runtime is."""
    import torch

    from fieldwise.cli import main
    from fieldwise.kernels.threads import set_num_threads
    from fieldwise.models.load import load_model
    from fieldwise.serving import version
    from fieldwise.training.score import predict_batches

    torch.set_num_threads(1)
    set_num_threads(1)

    class Eager(version.Predictor):
        """A predictor that asks PyTorch."""

        def __init__(self, run: str | Path) -> None:
            super().__init__(run)
            self._eager = load_model(self.bundle)

        def score(self, batch: Any) -> Any:
            [probabilities] = predict_batches(self._eager, [batch])
            return probabilities

    version.Predictor = Eager  # type: ignore[misc]
    main(["serve", path, "--port", "0", "--name", "m"])


class Server:
    """A server in a process of its own."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> int:
        """Return the port, once requests are answered."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ready: "):
                return int(line.split()[1].rsplit(":", 1)[1])
        raise RuntimeError("the server has ended")

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken; NaN where the system does not say."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Client(asyncio.Protocol):
    """Sends requests on a kept connection, the next when one is answered, or when it is told to."""

    def __init__(self, requests: list[bytes], ask_again: bool) -> None:
        self.requests, self.ask_again = requests, ask_again
        self.seconds: list[float] = []
        self.num_failed = 0
        self.is_free = True
        self._received = b""
        self._next = random.randrange(len(requests))

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def ask(self, due: float | None = None) -> None:
        """Send the next request; its latency counts from when it was due."""
        self._next = (self._next + 1) % len(self.requests)
        self.is_free = False
        self.began = time.perf_counter() if due is None else due
        self.transport.write(self.requests[self._next])

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._received.find(b"content-length: ") + 16
        length = int(self._received[at : self._received.find(b"\r\n", at)])
        if len(self._received) < head + 4 + length:
            return
        self.num_failed += not self._received.startswith(b"HTTP/1.1 200")
        self._received = b""
        self.seconds.append(time.perf_counter() - self.began)
        self.is_free = True
        if self.ask_again:
            self.ask()


async def load(port: int, requests: list[bytes], connections: int, seconds: float, rate: float | None) -> list[float]:
    """Return the seconds of all answers: as many as can be had, or `rate` a second."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(requests, rate is None), "127.0.0.1", port)
        clients.append(client)
    began = time.perf_counter()
    if rate is None:
        for client in clients:
            client.ask()
        await asyncio.sleep(seconds)
    else:
        number = 0
        while (now := time.perf_counter()) < began + seconds:
            while (due := began + number / rate) <= now:
                free = next((client for client in clients if client.is_free), None)
                if free is None:  # it waits, and the wait counts: the request is due
                    break
                free.ask(due)
                number += 1
            await asyncio.sleep(0.0005)
    for client in clients:
        client.ask_again = False
        client.transport.abort()
    assert not any(client.num_failed for client in clients), "requests have failed"
    return [second for client in clients for second in client.seconds]


def request_of(rows: list[dict[str, object]]) -> bytes:
    """Return a request for rows."""
    body = json.dumps({"rows": rows}).encode()
    head = f"host: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"POST /v1/models/m:predict HTTP/1.1\r\n{head}\r\n\r\n".encode() + body


def measure(
    name: str, command: tuple[str, ...], rows: list[dict[str, object]], options: argparse.Namespace
) -> list[float]:
    """Print what a server reaches, and return requests and rows a second."""
    singles = [request_of([row]) for row in rows[:1000]]
    hundreds = [request_of(rows[first : first + 100]) for first in range(0, 5000, 100)]
    server = Server(*command)
    with server as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        def run(requests: list[bytes], rate: float | None = None) -> tuple[np.ndarray, float]:
            runner.run(load(port, requests, options.connections, 0.5, None))  # warm
            before = server.cpu_seconds
            seconds = runner.run(load(port, requests, options.connections, options.seconds, rate))
            return np.array(seconds), (server.cpu_seconds - before) / max(len(seconds), 1)

        one, one_cpu = run(singles)
        hundred, hundred_cpu = run(hundreds)
        half, _ = run(singles, max(len(one), 2) / options.seconds / 2)
    figures = [len(one) / options.seconds, 100 * len(hundred) / options.seconds]
    print(
        f"{name:<28}{figures[0]:>10,.0f}{figures[1]:>12,.0f}{1e6 * one_cpu:>10.0f}{1e4 * hundred_cpu:>10.1f}"
        + "".join(f"{1e3 * np.quantile(half, share) if len(half) else math.nan:>11.1f}" for share in (0.5, 0.99))
    )
    return figures


def measure_swaps(folder: Path, rows: list[dict[str, object]], options: argparse.Namespace) -> None:
    """Print latencies at a fixed rate without new versions, and with one every second."""
    singles = [request_of([row]) for row in rows[:1000]]
    shutil.copytree(folder / "run" / "bundle", folder / "models" / "m" / "1")
    command = (sys.executable, "-m", "fieldwise", "serve", str(folder / "models"), "--port", "0", "--poll", "0.2")
    with Server(*command) as port, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reached = runner.run(load(port, singles, options.connections, 2, None))
        rate = len(reached) / 2 / 2
        still = runner.run(load(port, singles, options.connections, options.seconds, rate))
        done = threading.Event()

        def publish() -> None:
            version = 2
            while not done.wait(1):
                hidden = folder / "models" / "m" / f".{version}"
                shutil.copytree(folder / "run" / "bundle", hidden)
                hidden.rename(hidden.with_name(str(version)))
                version += 1

        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            swapped = runner.run(load(port, singles, options.connections, options.seconds, rate))
        finally:
            done.set()
            publishing.join()
    for name, seconds in (("without new versions", still), ("a new version a second", swapped)):
        half, most = (1e3 * np.quantile(seconds, share) for share in (0.5, 0.99))
        print(f"{name:<28}{rate:>10,.0f} requests/s: median {half:.1f} ms, p99 {most:.1f} ms", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, nargs="+", default=[7, 39])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--start", type=float, default=1.0, help="GB of the bundle of the cold start; 0: none")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_echo() if options.serve[0] == "echo" else serve_torch(options.serve[1])
        return
    if options.start:
        measure_start(options.start)
    print(f"{'':<28}{'requests/s':>10}{'rows/s':>12}{'CPU us':>10}{'CPU us':>10}{'half load':>12}{'p99':>10}")
    print(f"{'':<28}{'of one row':>10}{'in hundreds':>12}{'a request':>10}{'a row':>10}{'median, ms':>12}{'ms':>10}")
    this = (sys.executable, "-m", "benchmarks.serve_http", "--serve")
    for num_fields in options.fields:
        with tempfile.TemporaryDirectory() as folder:
            rows = make_model(Path(folder), num_fields)
            run = str(Path(folder, "run"))
            bare = measure(f"echo, {num_fields} fields", (*this, "echo"), rows, options)
            command = (sys.executable, "-m", "fieldwise", "serve", run, "--port", "0", "--name", "m")
            ours = measure(f"fieldwise, {num_fields} fields", command, rows, options)
            if not options.no_torch:
                measure(f"torch, {num_fields} fields", (*this, "torch", run), rows, options)
            if not options.no_peers:
                python = str(peer_python("http", *_REQUIREMENTS))
                script, log = str(Path(__file__).with_name("peer_http.py")), str(Path(folder, "log.parquet"))
                for name, peer in _PEERS.items():
                    measure(f"{name}, {num_fields} fields", (python, script, peer, log), rows, options)
            measure_swaps(Path(folder), rows, options)
            print(f"{'fieldwise / echo':<28}{ours[0] / bare[0]:>10.2f}{ours[1] / bare[1]:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
