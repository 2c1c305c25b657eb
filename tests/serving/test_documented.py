"""What docs/serving-http.md shows, as far as it can be run here."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import PATIENCE
from tests.serving.models import COLUMNS, asked, log_rows
from tests.serving.servers import Server

TEXT = (Path(__file__).parents[2] / "docs" / "serving-http.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
ROWS = asked(log_rows(20, seed=8))


def block(language: str, word: str) -> str:
    [found] = [text for kind, text in BLOCKS if kind == language and word in text]
    return found


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("documented"), models) as server:
        yield server


def test_the_requests_of_curl_are_answered(server: Server) -> None:
    answers = []
    for line in block("sh", '"candidates"').splitlines():
        _, url, flag, body = shlex.split(line)
        assert flag == "-d"
        reply = server.ask("POST", "/" + url.split("/", 3)[3], body.encode())
        assert reply.status == 200, reply
        answers.append(reply.json())
    rows, columns, ranked = answers
    assert columns["probability"][0] == pytest.approx(rows["probability"][0], abs=1e-6)
    assert len(columns["probability"]) == 2
    assert len(ranked["candidates"]) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", ["tritonclient.http", "kserve"])
def test_the_python_of_clients_is_run(server: Server, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(module)
    code = block("python", "import tritonclient" if module != "kserve" else "from kserve")
    exec(compile(code.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}"), module, "exec"), {})
    assert re.search(r"0\.\d+", capsys.readouterr().out)


def test_tritons_python_backend_answers_as_the_server_does(
    server: Server, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend's module stands in for Triton's: tensors in, tensors out."""
    backend: Any = types.ModuleType("triton_python_backend_utils")
    backend.Tensor = lambda name, array: (name, array)
    backend.InferenceResponse = lambda tensors: tensors
    backend.get_input_tensor_by_name = lambda request, name: types.SimpleNamespace(as_numpy=lambda: request[name])
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    (tmp_path / "1").mkdir()
    shutil.copytree(models / "ctr" / "2", tmp_path / "1" / "bundle")
    (tmp_path / "1" / "model.py").write_text(block("python", "class TritonPythonModel"))
    spec = importlib.util.spec_from_file_location("model", tmp_path / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_repository": str(tmp_path), "model_version": "1"})
    cells: dict[str, list[Any]] = {name: [row[name] for row in ROWS] for name in COLUMNS}
    request: dict[str, Any] = {
        name: np.array([text.encode() for text in cells[name]], object).reshape(-1, 1) for name in ("city", "at")
    }
    request["code"] = np.array(cells["code"])
    request["age"] = np.array([np.nan if age is None else age for age in cells["age"]])
    bags = [text.split("|") if text else [] for text in cells["tags"]]
    width = max(map(len, bags))
    request["tags"] = np.array([[tag.encode() for tag in bag] + [b""] * (width - len(bag)) for bag in bags], object)
    [[(name, probabilities)]] = model.execute([request])
    model.finalize()
    assert name == "probability"
    np.testing.assert_allclose(probabilities, server.predict(ROWS), atol=1e-6)
    config = next(text for text in TEXT.split("```") if "backend:" in text)
    described = server.ask("GET", "/v2/models/ctr").json()
    assert re.findall(r'name: "(\w+)" data_type', config) == [
        *(tensor["name"] for tensor in described["inputs"]),
        "probability",
    ]


def test_uvicorns_workers_answer_and_end(models: Path, tmp_path: Path) -> None:
    line = block("sh", "uvicorn --factory").strip()
    variable, *command = shlex.split(line)
    assert variable == "FIELDWISE_MODELS=models"
    command[-1] = "0"
    command[0:1] = [sys.executable, "-m", "uvicorn"]
    environment = {**os.environ, "FIELDWISE_MODELS": str(models), "FIELDWISE_TOKEN": "abc"}
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        server = Server.__new__(Server)
        said = ""
        while not (found := re.search(r"running on http://127.0.0.1:(\d+)", said)) or said.count("complete") < 2:
            assert process.poll() is None, said
            said = (tmp_path / "out").read_text()
        server.port = int(found[1])
        for _ in range(4):
            reply = server.ask("POST", "/v1/models/ctr:predict", {"rows": ROWS}, {"Authorization": "Bearer abc"})
            assert reply.status == 200
        assert server.ask("GET", "/metrics").status == 401
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
    assert "Traceback" not in (tmp_path / "out").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = block("ini", "ExecStart").replace("/opt/fieldwise/bin/fieldwise", sys.executable)
    (tmp_path / "fieldwise.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "fieldwise.service")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_the_image_and_the_service_name_options_that_there_are() -> None:
    from fieldwise.cli.serve import command

    options = {option for parameter in command.params for option in parameter.opts}
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    others = {"--factory", "--workers", "--loop", "--http", "--worker-class", "--bind", "--user", "--no-cache-dir"}
    others |= {"--create-home", "--compile", "--rm"}
    others |= {"--fields", "--connections", "--seconds", "--start"}  # of the benchmark
    assert shown <= options | others
