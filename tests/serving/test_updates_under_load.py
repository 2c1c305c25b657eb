"""A run is served while other processes update it: no request fails, and each answer is of the version it names."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.helpers import PATIENCE
from tests.jobs.update.runs import day_of, train
from tests.processes import FORKS
from tests.serving.servers import Server

import fieldwise as fw

COLUMNS = ["user", "item", "price", "age", "tags"]
TABLE = day_of(50, 40).select(COLUMNS)
ROWS = TABLE.to_pylist()
PREDICT = "/v1/models/ctr:predict"


class Clients:
    """Threads on kept connections that ask all the time and note every answer."""

    def __init__(self, server: Server, count: int) -> None:
        self.failures: list[object] = []
        self.answers: list[tuple[str, int, list[float]]] = []
        self._server, self._done = server, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let all requests under way come to their end."""
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        connection = self._server.connect()
        try:
            while not self._done.is_set():
                first = int(rng.integers(len(ROWS) - 5))
                rows = ROWS[first : first + 1 + int(rng.integers(4))]
                connection.request("POST", PREDICT, json.dumps({"rows": rows}).encode())
                reply = connection.getresponse()
                body = json.loads(reply.read())
                if reply.status == 200:
                    self.answers.append((body["model_version"], first, body["probability"]))
                else:
                    self.failures.append(body)
                time.sleep(0.002)  # the processor is for the updates as well
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()


def run_verb(words: list[str]) -> None:
    from fieldwise.cli import main

    sys.argv = ["fieldwise", *words]
    main(words)


def in_a_process(*words: str) -> None:
    """Run a verb in a process of its own, to its end."""
    process = FORKS.Process(target=run_verb, args=([*words],))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0, words


def publish_under_load(folder: Path, num_days: int, num_clients: int) -> Clients:
    run = train(folder, "lc-dnn")
    first = fw.Predictor(run).predict(TABLE)  # known by its checksum until the first update numbers it
    expected: dict[str, Any] = {fw.open_bundle(run).digest[:12]: first, "1": first}
    with Server(folder, run, "--name", "ctr") as server, Clients(server, num_clients) as clients:
        for number in range(1, num_days + 1):
            day = folder / f"{number}.parquet"
            pq.write_table(day_of(number, 600), day)
            in_a_process("update", str(run), "--data", str(day), "--no-gate", "--quiet", "--no-report")
            if number == num_days // 2:
                in_a_process("rollback", str(run))
            name = (run / "versions" / "current").read_text().strip()
            for version in {name, str(number + 1)}:
                expected[version] = fw.Predictor(run / "versions" / version).predict(TABLE)
            end = time.monotonic() + PATIENCE
            while not any(version == name for version, *_ in clients.answers[-num_clients:]):
                assert time.monotonic() < end, server.out
                assert not clients.failures, clients.failures[:3]
                time.sleep(0.02)
        clients.stop()
        assert server.stop() == 0
    assert not clients.failures, clients.failures[:3]
    wrong = [
        (version, first)
        for version, first, said in clients.answers
        if np.abs(np.array(said) - expected[version][first : first + len(said)]).max() > 1e-6
    ]
    assert not wrong
    assert len({version for version, *_ in clients.answers}) >= num_days
    return clients


@pytest.mark.long
def test_sixty_publications_and_a_rollback_under_load_fail_no_request(tmp_path: Path) -> None:
    clients = publish_under_load(tmp_path, num_days=60, num_clients=8)
    sys.stdout.write(
        f"{len(clients.answers)} answers of {len({version for version, *_ in clients.answers})} versions\n"
    )
