"""Other people's clients and checkers: Triton's, KServe's, schemathesis, and requests that are mutated."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.models import COLUMNS, asked, library, log_rows
from tests.serving.servers import Server

ROWS = asked(log_rows(30, seed=11))


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("asked"), models) as server:
        yield server


@pytest.fixture(scope="module")
def expected(models: Path) -> np.ndarray:
    return library(models / "ctr" / "2", ROWS)


def arrays() -> dict[str, np.ndarray]:
    """Return the rows as clients of tensors hold them: texts as objects, missing numbers as NaN, bags padded."""
    found: dict[str, np.ndarray] = {}
    for name in COLUMNS:
        cells: list[Any] = [row[name] for row in ROWS]
        if name == "age":
            found[name] = np.array([np.nan if cell is None else cell for cell in cells])
        elif name == "code":
            found[name] = np.array(cells, np.int64)
        elif name == "tags":
            bags = [text.split("|") if text else [] for text in cells]
            width = max(map(len, bags))
            found[name] = np.array([bag + [""] * (width - len(bag)) for bag in bags], object)
        else:
            found[name] = np.array(cells, object).reshape(-1, 1)
    return found


@pytest.mark.filterwarnings("ignore")  # of gevent, when it is imported
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritons_client_gets_the_probabilities(
    server: Server, expected: np.ndarray, binary: bool, compression: str | None
) -> None:
    client_module = pytest.importorskip("tritonclient.http")
    client = client_module.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("ctr")
    assert client.is_model_ready("ctr", "1")
    assert not client.is_model_ready("ctr", "99")
    assert client.get_server_metadata()["name"] == "fieldwise"
    datatypes = {tensor["name"]: tensor["datatype"] for tensor in client.get_model_metadata("ctr")["inputs"]}
    inputs = []
    for name, array in arrays().items():
        kind = "INT64" if name == "code" else datatypes[name]
        inputs.append(client_module.InferInput(name, list(array.shape), kind))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    outputs = [client_module.InferRequestedOutput("probability", binary_data=binary)]
    for asked_for in (outputs, None):
        result = client.infer(
            "ctr", inputs, outputs=asked_for, request_id="7", request_compression_algorithm=compression
        )
        assert result.get_response()["model_version"] == "2"
        assert result.get_response()["id"] == "7"
        np.testing.assert_allclose(result.as_numpy("probability"), expected, atol=1e-6)
    with pytest.raises(sys.modules["tritonclient.utils"].InferenceServerException, match="lack column"):
        client.infer("ctr", inputs[1:])
    client.close()


@pytest.mark.filterwarnings("ignore")
def test_kserves_client_gets_the_probabilities(server: Server, expected: np.ndarray) -> None:
    kserve = pytest.importorskip("kserve")

    async def ask() -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        base = f"http://127.0.0.1:{server.port}"
        assert await client.is_server_live(base)
        assert await client.is_server_ready(base)
        assert await client.is_model_ready(base, "ctr")
        inputs = []
        for name, array in arrays().items():
            kind = {"age": "FP64", "code": "INT64"}.get(name, "BYTES")
            inputs.append(kserve.InferInput(name, list(array.shape), kind))
            inputs[-1].set_data_from_numpy(array, binary_data=False)
        return await client.infer(base, kserve.InferRequest("ctr", inputs), model_name="ctr")

    answer = asyncio.run(ask())
    np.testing.assert_allclose(answer.outputs[0].as_numpy(), expected, atol=1e-6)


def schemathesis(server: Server, tmp_path: Path, num_cases: int) -> None:
    pytest.importorskip("schemathesis", exc_type=ImportError)
    # What breaks the schema by its size is refused as too large.
    config = '[checks.negative_data_rejection]\nexpected-statuses = ["400", "404", "413"]\n'
    (tmp_path / "schemathesis.toml").write_text(config)
    url = f"http://127.0.0.1:{server.port}"
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--url", url),
            # Texts that are no numbers and the like fit the schema, and are refused.
            *("--exclude-checks", "positive_data_acceptance", "--max-examples", str(num_cases), "--seed", "1"),
            *("--phases", "examples,fuzzing"),
            *("--mode", "all", "--no-color", "--generation-database", "none"),
            # No test fails by a clock.
            *("--request-timeout", "600", "--suppress-health-check", "too_slow"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(\d+) generated, \1 passed", done.stdout), done.stdout
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 4 * num_cases


@pytest.mark.filterwarnings("ignore")
def test_the_description_holds_for_thirty_requests_of_each_kind(server: Server, tmp_path: Path) -> None:
    schemathesis(server, tmp_path, 30)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_the_description_holds_for_a_thousand_requests_of_each_kind(server: Server, tmp_path: Path) -> None:
    schemathesis(server, tmp_path, 1000)


def bodies() -> list[tuple[str, dict[str, str], bytes]]:
    """Return whole requests to be mutated: path, headers, body."""
    tensors = [
        {"name": name, "shape": [3], "datatype": {"age": "FP64", "code": "INT64"}.get(name, "BYTES"), "data": cells}
        for name in COLUMNS
        for cells in [[row[name] for row in ROWS[:3]]]
    ]
    raw = np.arange(3.0).tobytes()
    text = b"".join(len(word).to_bytes(4, "little") + word for word in (b"city1", b"", b"city2"))
    binary = [
        {"name": "age", "shape": [3, 1], "datatype": "FP64", "parameters": {"binary_data_size": len(raw)}},
        {"name": "city", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(text)}},
        *(tensor for tensor in tensors if tensor["name"] not in ("age", "city")),
    ]
    head = json.dumps({"inputs": binary, "outputs": [{"name": "probability"}]}).encode()
    context = {name: ROWS[0][name] for name in ("city", "at", "age")}
    candidates = [{"code": 3, "tags": ["t1", "t2"]}, {"code": "4", "tags": None}]
    return [
        ("/v1/models/ctr:predict", {}, json.dumps({"rows": ROWS[:3]}).encode()),
        ("/v1/models/ctr:predict", {}, json.dumps({"context": context, "candidates": candidates, "top": 1}).encode()),
        ("/v1/models/kinds:predict", {}, json.dumps({"columns": {n: [r[n] for r in ROWS] for n in COLUMNS}}).encode()),
        ("/v2/models/ctr/infer", {}, json.dumps({"id": "a", "inputs": tensors}).encode()),
        ("/v2/models/ctr/infer", {"Inference-Header-Content-Length": str(len(head))}, head + raw + text),
    ]


TOKENS = (
    b"null",
    b"[]",
    b"{}",
    b"1e308",
    b"-1",
    b"NaN",
    b'"\\ud800"',
    b"\xff",
    b"true",
    b"9" * 40,
    b"[[[[",
    b'""',
    b"\0",
)


def mutated(body: bytes, rng: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at : at + rng.randrange(1, 20)] = b""
        elif kind == 1:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        else:  # a value becomes another
            end = min((changed.find(mark, at) for mark in (b",", b"]", b"}") if changed.find(mark, at) > 0), default=at)
            start = max(changed.rfind(mark, 0, end) for mark in (b":", b"[", b",")) + 1
            changed[start:end] = rng.choice(TOKENS)
    return bytes(changed)


def ask_mutated(server: Server, num_requests: int) -> None:
    rng = random.Random(1)
    statuses: dict[int, int] = {}
    connection = server.connect()
    for _ in range(num_requests):
        path, headers, body = rng.choice(bodies_of_all)
        body = mutated(body, rng)
        connection.request("POST", path, body, headers)
        reply = connection.getresponse()
        said = reply.read()
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        assert reply.status in (200, 400, 413), (reply.status, said, body)
        assert b"Traceback" not in said
        if reply.headers.get("Connection") == "close":
            connection.close()
    connection.close()
    assert statuses[200] > 0
    assert statuses[400] > num_requests / 3


bodies_of_all = bodies()


def test_mutated_requests_are_answered_or_refused(server: Server) -> None:
    ask_mutated(server, 3000)


@pytest.mark.long
def test_a_hundred_thousand_mutated_requests_are_answered_or_refused(server: Server) -> None:
    ask_mutated(server, 100_000)
