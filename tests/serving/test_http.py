"""The server in a process of its own: what it answers, and that it answers what the model does."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.browser import needs_browser
from tests.serving.models import COLUMNS, FIELDS, asked, library, log_rows
from tests.serving.servers import Server

ROWS = log_rows(30, seed=9)
PREDICT, INFER = "/v1/models/ctr:predict", "/v2/models/ctr/infer"


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), models) as server:
        yield server


@pytest.fixture(scope="module")
def expected(models: Path) -> np.ndarray:
    return library(models / "ctr" / "2", asked(ROWS))


def tensors(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return rows as inputs of the protocol, in JSON."""
    inputs: list[dict[str, object]] = []
    for name in COLUMNS:
        cells = [row[name] for row in rows]
        kind = {"age": "FP64", "code": "INT64"}.get(name, "BYTES")
        inputs.append({"name": name, "shape": [len(rows)], "datatype": kind, "data": cells})
    return inputs


def test_rows_columns_and_tensors_are_answered_as_the_library_does(server: Server, expected: np.ndarray) -> None:
    rows = asked(ROWS)
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    by_row = server.ask("POST", PREDICT, {"rows": rows}).json()
    by_column = server.ask("POST", PREDICT, {"columns": columns}).json()
    infer = server.ask("POST", INFER, {"id": "x", "inputs": tensors(rows)}).json()
    [output] = infer.pop("outputs")
    assert by_row == by_column
    assert (by_row["model_name"], by_row["model_version"]) == ("ctr", "2")
    assert infer == {"model_name": "ctr", "model_version": "2", "id": "x"}
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP32", [30])
    np.testing.assert_allclose(by_row["probability"], expected, atol=1e-6)
    np.testing.assert_allclose(output["data"], expected, atol=1e-6)


def test_a_row_is_answered_alike_alone_and_among_others(server: Server, expected: np.ndarray) -> None:
    alone = [server.predict([row])[0] for row in asked(ROWS[:7])]
    np.testing.assert_allclose(alone, expected[:7], atol=1e-6)
    np.testing.assert_allclose(server.predict(asked(ROWS[:7])), expected[:7], atol=1e-6)


def test_nested_data_and_padded_bags_say_the_same(server: Server, expected: np.ndarray) -> None:
    inputs = tensors(asked(ROWS))
    for tensor in inputs:
        tensor["shape"] = [30, 1]
        tensor["data"] = [[cell] for cell in tensor["data"]]  # type: ignore[attr-defined]
    bags = [str(row["tags"]).split("|") if row["tags"] else [] for row in ROWS]
    width = max(map(len, bags))
    inputs[-1] |= {"shape": [30, width], "data": [bag + [""] * (width - len(bag)) for bag in bags]}
    flat = [*inputs[:-1], {**inputs[-1], "data": [text for bag in inputs[-1]["data"] for text in bag]}]  # type: ignore[attr-defined]
    for sent in (inputs, flat):
        [output] = server.ask("POST", INFER, {"inputs": sent}).json()["outputs"]
        np.testing.assert_allclose(output["data"], expected, atol=1e-6)


def test_binary_tensors_are_read_and_written(server: Server, expected: np.ndarray) -> None:
    inputs, tail = [], b""
    for tensor in tensors(asked(ROWS)):
        cells = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            raw = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in cells)  # type: ignore[attr-defined]
        elif tensor["datatype"] == "FP64":
            raw = np.array([np.nan if cell is None else cell for cell in cells], "<f8").tobytes()  # type: ignore[attr-defined]
        else:
            raw = np.array(cells, "<i8").tobytes()
        inputs.append({**tensor, "parameters": {"binary_data_size": len(raw)}})
        tail += raw
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    reply = server.ask("POST", INFER, head + tail, {"Inference-Header-Content-Length": str(len(head))})
    assert reply.status == 200, reply
    length = int(reply.headers["inference-header-content-length"])
    [output] = json.loads(reply.body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 120}
    assert output["shape"] == [30]
    np.testing.assert_allclose(np.frombuffer(reply.body[length:], "<f4"), expected, atol=1e-6)


def test_three_classes_have_a_column_each(server: Server, models: Path) -> None:
    reply = server.ask("POST", "/v1/models/kinds:predict", {"rows": asked(ROWS)}).json()
    expected = library(models / "kinds" / "7", asked(ROWS))
    np.testing.assert_allclose(reply["probability"], expected, atol=1e-6)
    assert reply["classes"] == ["a", "b", "c"]
    assert np.asarray(reply["probability"]).shape == (30, 3)
    np.testing.assert_allclose(np.sum(reply["probability"], axis=1), 1, atol=1e-6)
    [output] = server.ask("POST", "/v2/models/kinds/infer", {"inputs": tensors(asked(ROWS))}).json()["outputs"]
    assert output["shape"] == [30, 3]
    np.testing.assert_allclose(np.reshape(output["data"], (30, 3)), reply["probability"], atol=1e-7)


def test_candidates_are_ranked_by_their_probability(server: Server) -> None:
    context = {"city": "city1", "age": 30, "at": "2026-11-03 10:00:00"}
    candidates = [{"code": code, "tags": "t1|t2"} for code in range(20)]
    plain = server.predict([{**context, **candidate} for candidate in candidates])
    reply = server.ask("POST", PREDICT, {"context": context, "candidates": candidates, "top": 5}).json()
    best = sorted(range(20), key=lambda index: (-plain[index], index))[:5]
    assert [found["index"] for found in reply["candidates"]] == best
    for found in reply["candidates"]:
        assert found["probability"] == pytest.approx(plain[found["index"]], abs=1e-6)


def test_metadata_names_a_tensor_for_each_column_that_is_read(server: Server) -> None:
    described = server.ask("GET", "/v2/models/ctr").json()
    assert {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in described["inputs"]} == {
        "city": ("BYTES", [-1]),
        "code": ("BYTES", [-1]),
        "age": ("FP64", [-1]),
        "at": ("BYTES", [-1]),
        "tags": ("BYTES", [-1, -1]),
    }
    assert described["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1]}]
    assert described["versions"] == ["2", "1"]
    assert server.ask("GET", "/v2/models/kinds").json()["outputs"][0]["shape"] == [-1, 3]
    assert server.ask("GET", "/v2").json()["name"] == "fieldwise"
    assert server.ask("GET", "/v2/models").json() == {"models": ["ctr", "kinds"]}
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/ctr/ready", "/v2/models/ctr/versions/1/ready"):
        assert server.ask("GET", path).status == 200


def test_a_version_can_be_named(server: Server, models: Path) -> None:
    older = library(models / "ctr" / "1", asked(ROWS))
    reply = server.ask("POST", "/v1/models/ctr/versions/1:predict", {"rows": asked(ROWS)}).json()
    assert reply["model_version"] == "1"
    np.testing.assert_allclose(reply["probability"], older, atol=1e-6)
    infer = server.ask("POST", "/v2/models/ctr/versions/1/infer", {"inputs": tensors(asked(ROWS))}).json()
    assert infer["model_version"] == "1"
    np.testing.assert_allclose(infer["outputs"][0]["data"], older, atol=1e-6)
    assert server.ask("POST", "/v2/models/ctr/versions/3/infer", {"inputs": []}).status == 404


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies_are_read(server: Server, expected: np.ndarray, encoding: str) -> None:
    body = json.dumps({"rows": asked(ROWS)}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    reply = server.ask("POST", PREDICT, packed, {"Content-Encoding": encoding})
    np.testing.assert_allclose(reply.json()["probability"], expected, atol=1e-6)
    assert server.ask("POST", PREDICT, packed[:-9], {"Content-Encoding": encoding}).status == 400
    assert server.ask("POST", PREDICT, b"no " + packed, {"Content-Encoding": encoding}).status == 400
    assert server.ask("POST", PREDICT, packed, {"Content-Encoding": "br"}).status == 415


ROW = asked(ROWS)[0]
BAD_ROWS = {
    "no JSON": (b"{", ""),
    "another form": ({"row": []}, "expected one of"),
    "two forms": ({"rows": [], "columns": {}}, "expected one of"),
    "no column": ({"rows": [{name: ROW[name] for name in COLUMNS if name != "age"}]}, "column age"),
    "several columns": ({"rows": [{"city": "Rome"}]}, "columns code, age, at, tags; a value that is not known is null"),
    "no number": ({"rows": [{**ROW, "age": "old"}]}, "column age"),
    "a list in a category": ({"rows": [{**ROW, "city": ["a"]}]}, "city"),
    "a nested list": ({"rows": [{**ROW, "city": [["a"]]}]}, "column city"),
    "columns that differ in length": ({"columns": {"city": ["a"], "code": []}}, "city 1, code 0"),
    "a lone surrogate": (b'{"rows": [{"city": "\\ud800"}]}', "column city: half of a surrogate pair"),
    "one in a bag": (b'{"columns": {"city": ["a"], "tags": [["a", "\\udc00"]]}}', "column tags: half of a surrogate"),
    "one in a bag of weights": (b'{"context": {"tags": {"\\udc00": 1}}, "candidates": []}', "column tags: half of"),
    "NaN": (b'{"rows": [{"age": NaN}]}', "column age: NaN is not JSON; a missing value is null"),
    "thousands of digits": (b'{"rows": [{"code": ' + b"1" * 5000 + b"}]}", "column code: an integer has 4,300 digits"),
    "no UTF-8": (b'{"rows": [{"city": "\xff"}]}', ""),
    "deep nesting": (b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "a number beyond doubles": (b'{"rows": [{"age": 1e999}]}', "column age: a number beyond the range of floats"),
    "a top below 1": ({"context": {}, "candidates": [ROW], "top": 0}, "top"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_read_are_refused_with_the_column(server: Server, case: str) -> None:
    body, said = BAD_ROWS[case]
    reply = server.ask("POST", PREDICT, body)
    assert reply.status == 400, reply
    assert said in reply.json()["error"]
    assert "Traceback" not in reply.body.decode()


def test_integers_beyond_64_bits_are_texts_like_others(server: Server) -> None:
    huge = 10**30
    assert server.predict([{**ROW, "code": huge}]) == server.predict([{**ROW, "code": str(huge)}])
    assert server.predict([{**ROW, "code": 3}]) == server.predict([{**ROW, "code": "3"}])
    assert server.predict([{**ROW, "code": 3.0}]) == server.predict([{**ROW, "code": "3"}])


def test_a_column_that_is_known_in_training_only_has_one_value(server: Server, expected: np.ndarray) -> None:
    rows = [{**row, "position": 5} for row in asked(ROWS)]
    np.testing.assert_allclose(server.predict(rows), expected, atol=1e-6)
    position = {"name": "position", "shape": [30], "datatype": "INT64", "data": [5] * 30}
    [output] = server.ask("POST", INFER, {"inputs": [*tensors(asked(ROWS)), position]}).json()["outputs"]
    np.testing.assert_allclose(output["data"], expected, atol=1e-6)


def test_contributions_add_up_to_the_logit(server: Server, expected: np.ndarray) -> None:
    reply = server.ask("POST", "/v1/models/ctr:explain", {"rows": asked(ROWS)}).json()
    assert {*FIELDS} <= {*reply["fields"]}
    assert reply["fields"][-1] == "base"
    contributions = np.array(reply["contributions"])
    assert contributions.shape == (30, len(reply["fields"]))
    np.testing.assert_allclose(contributions.sum(axis=1), reply["logit"], atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(reply["logit"]))), expected, atol=1e-6)
    assert len(set(contributions[:, -1])) == 1
    assert server.ask("POST", "/v1/models/ctr:explain", {"rows": asked(ROWS) * 4}).status == 413
    assert server.ask("POST", "/v1/models/ctr:explain", {"rows": []}).status == 400
    assert server.ask("POST", "/v1/models/kinds:explain", {"rows": asked(ROWS)}).status == 400


def test_no_rows_have_no_probabilities(server: Server) -> None:
    assert server.predict([]) == []
    empty = [{**tensor, "shape": [0], "data": []} for tensor in tensors([ROW])]
    assert server.ask("POST", INFER, {"inputs": empty}).json()["outputs"][0]["data"] == []


BAD_TENSORS = {
    "unknown": ({"name": "cty", "shape": [1], "datatype": "BYTES", "data": ["a"]}, "did you mean"),
    "twice": ({"name": "city", "shape": [1], "datatype": "BYTES", "data": ["a"]}, "twice"),
    "type": ({"name": "city", "shape": [1], "datatype": "STRING", "data": ["a"]}, "datatype"),
    "shape": ({"name": "city", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]}, "city"),
    "negative": ({"name": "city", "shape": [-1], "datatype": "BYTES", "data": ["a"]}, "city"),
    "count": ({"name": "city", "shape": [1], "datatype": "BYTES", "data": ["a", "b"]}, "city"),
    "kind": ({"name": "city", "shape": [1], "datatype": "BYTES", "data": [5]}, "city"),
    "range": ({"name": "city", "shape": [1], "datatype": "INT8", "data": [500]}, "city"),
    "rows": ({"name": "city", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}, "rows"),
    "size": ({"name": "city", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}, "city"),
    "none": ({"name": "city", "shape": [1], "datatype": "BYTES"}, "city"),
}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'"\\ud800"', "column city: half of a surrogate pair"),
        (b'NaN, "\\ud800"', "column city: half of a surrogate pair"),
        (b"1e999", "column city: a number beyond the range of floats"),
        (b"1" * 5000, "column city: an integer has 4,300 digits"),
        (b"{}", "input city: expected BYTES, got {}"),
    ],
    ids=repr,
)
def test_json_that_cannot_be_read_is_refused_with_its_column(server: Server, data: bytes, said: str) -> None:
    body = b'{"inputs": [{"name": "city", "shape": [1], "datatype": "BYTES", "data": [' + data + b"]}]}"
    reply = server.ask("POST", INFER, body)
    assert reply.status == 400, reply
    assert said in reply.json()["error"]


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_that_cannot_be_read_are_refused_with_their_name(server: Server, case: str) -> None:
    tensor, said = BAD_TENSORS[case]
    others = tensors([ROW]) if case in ("twice", "unknown") else tensors([ROW])[1:]
    reply = server.ask("POST", INFER, {"inputs": [*others, tensor]})
    assert reply.status == 400, reply
    assert said in reply.json()["error"]


def test_what_there_is_not_is_said(server: Server) -> None:
    assert server.ask("GET", "/v3").status == 404
    assert "there is: ctr" in server.ask("GET", "/v2/models/none").json()["error"]
    refused = server.ask("GET", PREDICT)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert server.ask("POST", "/metrics", b"").status == 405
    assert server.ask("POST", "/v2/models/none/infer", {"inputs": []}).status == 404


def test_metrics_count_what_was_answered(server: Server) -> None:
    def sample(name: str, text: str) -> float:
        [line] = [line for line in text.splitlines() if line.startswith(name + " ")]
        return float(line.rsplit(" ", 1)[1])

    new = [{**row, "city": "nowhere"} for row in asked(ROWS[:10])]
    before = server.ask("GET", "/metrics").body.decode()
    server.predict(new)
    after = server.ask("GET", "/metrics").body.decode()
    labels = 'model="ctr",version="2"'
    for name, more in {
        f"fieldwise_rows_total{{{labels}}}": 10,
        f"fieldwise_batches_total{{{labels}}}": 1,
        f'fieldwise_unseen_values_total{{{labels},field="city"}}': 10,
        f'fieldwise_values_total{{{labels},field="city"}}': 10,
        f'fieldwise_probability_count{{{labels},class="1"}}': 10,
        'fieldwise_requests_total{route="predict",status="200"}': 1,
        'fieldwise_request_seconds_count{route="predict"}': 1,
    }.items():
        assert sample(name, after) - sample(name, before) == more, name
    for line in after.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2


@pytest.mark.long
@needs_browser
def test_a_browser_shows_the_page_without_a_complaint(server: Server, tmp_path: Path) -> None:
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
             "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [*words, f"http://127.0.0.1:{server.port}/"], capture_output=True, text=True, timeout=600, check=True
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "Model ctr" in done.stdout
    assert "99th percentile" in done.stdout


def test_the_page_and_the_description_are_there(server: Server) -> None:
    page = server.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert b"http:" not in page.body
    assert b"https:" not in page.body
    server.predict(asked(ROWS))
    [ctr, kinds] = server.ask("GET", "/status").json()["models"]
    assert (ctr["name"], kinds["name"]) == ("ctr", "kinds")
    assert ctr["versions"][0]["answers"] is True
    assert sum(ctr["versions"][0]["histogram"][0]) == ctr["versions"][0]["rows"] >= 30
    described = server.ask("GET", "/openapi.json").json()
    assert {"/v2/models/ctr/infer", "/v1/models/ctr:predict"} <= set(described["paths"])
    row = described["components"]["schemas"]["ctr.PlainRequest"]["oneOf"][0]["properties"]["rows"]["items"]
    assert set(row["properties"]) == set(COLUMNS)
