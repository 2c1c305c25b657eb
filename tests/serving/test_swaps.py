"""New versions take the place of the one that answers, without a failed request; damaged ones never do."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import PATIENCE
from tests.serving.models import asked, library, log_rows
from tests.serving.servers import Server

ROWS = asked(log_rows(40, seed=5))
PREDICT = "/v1/models/ctr:predict"


def probabilities(bundle: Path) -> np.ndarray:
    return library(bundle, ROWS)


def publish(bundle: Path, folder: Path, version: int) -> None:
    """Copy a bundle under a name that nobody looks at, and rename it."""
    shutil.copytree(bundle, folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


def wait_until_it_answers(server: Server, version: int | str, model: str = "ctr") -> None:
    end = time.monotonic() + PATIENCE
    while server.ask("GET", f"/v2/models/{model}").json()["parameters"]["answers"] != str(version):
        assert time.monotonic() < end, server.out


class Load:
    """Clients on kept connections that ask all the time, and check every answer against the version it names."""

    def __init__(self, server: Server, rows: list[Any], expected: list[np.ndarray], num_clients: int) -> None:
        self.failures: list[object] = []
        self.num_answers = 0
        self.versions: set[str] = set()
        self.seconds: list[float] = []
        self._server, self._rows, self._expected = server, rows, expected
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        connection = self._server.connect()
        try:
            while not self._done.is_set():
                first = rng.randrange(len(self._rows))
                rows = self._rows[first : first + rng.randrange(1, 4)]
                began = time.perf_counter()
                connection.request("POST", PREDICT, json.dumps({"rows": rows}).encode())
                reply = connection.getresponse()
                body = json.loads(reply.read())
                self.seconds.append(time.perf_counter() - began)
                self.num_answers += 1
                if reply.status != 200:
                    self.failures.append(body)
                    continue
                self.versions.add(body["model_version"])
                expected = self._expected[int(body["model_version"]) % 2][first : first + len(rows)]
                if np.abs(np.array(body["probability"]) - expected).max() > 1e-6:
                    self.failures.append((body, expected))
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()


def swap_under_load(models: Path, tmp_path: Path, num_swaps: int, num_clients: int, num_answers: int) -> Load:
    bundles = [models / "ctr" / "2", models / "ctr" / "1"]  # by version modulo 2
    expected = np.array([probabilities(bundle) for bundle in bundles])
    telling = np.flatnonzero(np.abs(expected[0] - expected[1]) > 1e-3)  # which of the two has answered
    assert len(telling) >= 20
    rows = [ROWS[row] for row in telling]
    folder = tmp_path / "ctr"
    publish(bundles[1], folder, 1)
    with Server(tmp_path, folder) as server, Load(server, rows, list(expected[:, telling]), num_clients) as load:
        for version in range(2, num_swaps + 2):
            while load.num_answers < num_answers * (version - 1) / num_swaps and not load.failures:
                time.sleep(0.01)
            publish(bundles[version % 2], folder, version)
            wait_until_it_answers(server, version)
            if version > 3:
                shutil.rmtree(folder / str(version - 3))
        maps = Path(f"/proc/{server.process.pid}/maps")
        end = time.monotonic() + PATIENCE
        while maps.exists() and f"/{num_swaps}/table" in maps.read_text():  # the version before is unmapped
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not load.failures, load.failures[:3]
    assert load.versions >= {str(version) for version in range(2, num_swaps + 1)}
    return load


def test_five_swaps_under_load_fail_no_request(models: Path, tmp_path: Path) -> None:
    swap_under_load(models, tmp_path, num_swaps=5, num_clients=8, num_answers=400)


@pytest.mark.long
def test_a_hundred_swaps_during_200_000_requests_fail_none(models: Path, tmp_path: Path) -> None:
    load = swap_under_load(models, tmp_path, num_swaps=100, num_clients=64, num_answers=200_000)
    assert load.num_answers >= 200_000


def test_damaged_and_half_copied_versions_are_refused_and_said(models: Path, tmp_path: Path) -> None:
    good, better = models / "ctr" / "1", models / "ctr" / "2"
    folder = tmp_path / "ctr"
    publish(good, folder, 1)
    with Server(tmp_path, folder) as server:
        expected = server.predict(ROWS)
        for version, path in enumerate(sorted(better.iterdir()), 2):
            damaged = tmp_path / f"damaged-{version}"
            shutil.copytree(better, damaged)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            (damaged / path.name).write_bytes(content)
            publish(damaged, folder, version)
            server.wait_for(f"version {version} refused: .*{path.name.split('-')[0]}")
        half = folder / "20"
        half.mkdir()
        for path in sorted(better.iterdir(), reverse=True)[:-1]:
            shutil.copyfile(path, half / path.name)
            time.sleep(0.15)
        server.wait_for("version 20 refused: no saved model found")
        reply = server.ask("POST", PREDICT, {"rows": ROWS}).json()
        assert (reply["model_version"], reply["probability"]) == ("1", expected)
        assert server.ask("POST", "/v1/models/ctr/versions/2:predict", {"rows": ROWS}).status == 503
        assert "fieldwise_refused_versions" in server.ask("GET", "/metrics").body.decode()
        [model] = server.ask("GET", "/status").json()["models"]
        assert len(model["refused"]) == 1 + len(list(better.iterdir()))
        first = sorted(better.iterdir())[0]
        shutil.copyfile(first, half / first.name)  # the copy is whole now
        wait_until_it_answers(server, 20)
        np.testing.assert_allclose(server.predict(ROWS), probabilities(better), atol=1e-6)


@pytest.mark.long
def test_none_of_200_damaged_and_50_half_copied_versions_answers(models: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    folder, better = tmp_path / "ctr", models / "ctr" / "2"
    publish(models / "ctr" / "1", folder, 1)
    names = sorted(path.name for path in better.iterdir())
    with Server(tmp_path, folder) as server:
        expected = server.predict(ROWS)
        for version in range(2, 252):
            damaged = tmp_path / "damaged"
            shutil.copytree(better, damaged)
            if version < 202:
                path = damaged / rng.choice(names)
                content = bytearray(path.read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
            else:
                for name in rng.sample(names, rng.randrange(1, len(names))):
                    size = (damaged / name).stat().st_size
                    os.truncate(damaged / name, rng.randrange(size))
            damaged.rename(folder / str(version))
            server.wait_for(f"version {version} refused")
            reply = server.ask("POST", PREDICT, {"rows": ROWS}).json()
            assert (reply["model_version"], reply["probability"]) == ("1", expected)
            shutil.rmtree(folder / str(version))


def test_a_version_that_is_taken_away_is_rolled_back_and_current_names_one(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ctr"
    (folder / "versions").mkdir(parents=True)
    publish(models / "ctr" / "1", folder / "versions", 9)
    publish(models / "ctr" / "2", folder / "versions", 10)
    with Server(tmp_path, folder, "--name", "clicks") as server:
        wait_until_it_answers(server, 10, "clicks")
        (folder / "new").write_text("9\n")
        (folder / "new").rename(folder / "current")
        wait_until_it_answers(server, 9, "clicks")
        (folder / "current").unlink()
        wait_until_it_answers(server, 10, "clicks")
        shutil.rmtree(folder / "versions" / "10")
        wait_until_it_answers(server, 9, "clicks")
        shutil.rmtree(folder)  # what is in memory answers
        server.wait_for("no model found")
        assert len(server.predict(ROWS, "/v1/models/clicks:predict")) == len(ROWS)


def test_a_run_is_served_under_its_checksum_and_follows_the_next_save(models: Path, tmp_path: Path) -> None:
    run = tmp_path / "daily"
    shutil.copytree(models / "ctr" / "1", run / "bundle")
    with Server(tmp_path, run) as server:
        before = server.ask("POST", "/v1/models/daily:predict", {"rows": ROWS}).json()
        assert len(before["model_version"]) == 12
        for path in (models / "ctr" / "2").iterdir():
            if path.name != "manifest.json":
                shutil.copyfile(path, run / "bundle" / f".{path.name}")
                (run / "bundle" / f".{path.name}").rename(run / "bundle" / path.name)
        shutil.copyfile(models / "ctr" / "2" / "manifest.json", run / "bundle" / ".new")
        (run / "bundle" / ".new").rename(run / "bundle" / "manifest.json")
        server.wait_for("answers, in place of " + before["model_version"])
        after = server.ask("POST", "/v1/models/daily:predict", {"rows": ROWS}).json()
        assert after["model_version"] != before["model_version"]
        np.testing.assert_allclose(after["probability"], probabilities(models / "ctr" / "2"), atol=1e-6)
