"""What a server refuses: too many bytes, rows and values, slow clients, no token; and how it ends."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.helpers import PATIENCE
from tests.serving.models import asked, log_rows
from tests.serving.servers import Server

ROWS = asked(log_rows(10, seed=3))
PREDICT = "/v1/models/ctr:predict"
TOKEN = {"Authorization": "Bearer a-long-token"}
BYTES = 20_000


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "token").write_text("a-long-token\n")
    options = ("--max-bytes", str(BYTES), "--max-rows", "50", "--deadline", "1", "--token-file", str(folder / "token"))
    with Server(folder, models, *options) as server:
        yield server


def answers(server: Server) -> bool:
    return server.ask("POST", PREDICT, {"rows": ROWS}, TOKEN).status == 200


def raw(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_a_token_is_asked_for_except_of_health_and_the_page(server: Server) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/"):
        assert server.ask("GET", path).status == 200
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Basic a-long-token"}):
        refused = server.ask("POST", PREDICT, {"rows": ROWS}, headers)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        for path in ("/metrics", "/status", "/v2/models/ctr", "/openapi.json"):
            assert server.ask("GET", path, None, headers).status == 401
    assert answers(server)


def test_bodies_are_counted_whatever_they_say_of_themselves(server: Server) -> None:
    body = json.dumps({"rows": ROWS, "more": "x" * BYTES}).encode()

    def parts() -> Iterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    assert server.ask("POST", PREDICT, body, TOKEN).status == 413
    assert server.ask("POST", PREDICT, parts(), TOKEN, encode_chunked=True).status == 413
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) > BYTES
    small = gzip.compress(b" " * 5_000_000)
    assert len(small) < BYTES
    for packed in (bomb, small):
        assert server.ask("POST", PREDICT, packed, {**TOKEN, "Content-Encoding": "gzip"}).status == 413
    assert answers(server)


def test_an_announced_body_is_refused_before_it_comes(server: Server) -> None:
    with raw(server) as connection:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-long-token\r\n"
        connection.sendall(f"{head}Content-Length: 1000000000000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 413")


def test_rows_and_values_are_counted(server: Server) -> None:
    refused = server.ask("POST", PREDICT, {"rows": [{"city": "a"}] * 51}, TOKEN)
    assert refused.status == 413
    assert "50 rows" in refused.json()["error"]
    long = server.ask("POST", PREDICT, {"rows": [{**ROWS[0], "tags": "|" * 10_001}]}, TOKEN)
    assert long.status == 413
    assert "tags" in long.json()["error"]
    shape = {"name": "tags", "shape": [1, 10**12], "datatype": "BYTES", "data": []}
    assert server.ask("POST", "/v2/models/ctr/infer", {"inputs": [shape]}, TOKEN).status == 413
    assert answers(server)


def test_endless_headers_are_refused(server: Server) -> None:
    with raw(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 431")
    with raw(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000)
        assert read_to_the_end(connection)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400")
    assert answers(server)


def test_clients_that_are_slow_are_closed_and_others_answered(server: Server) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-long-token\r\nContent-Length: 1000\r\n"
    silent, headers, body = [raw(server) for _ in range(50)], [raw(server) for _ in range(50)], []
    for connection in headers:
        connection.sendall(head.encode())
    for _ in range(50):
        body.append(raw(server))
        body[-1].sendall(f"{head}\r\n".encode() + b"{")
    done = threading.Event()

    def drip() -> None:
        while not done.wait(0.1):
            for connection in (*headers, *body):
                with suppress(OSError):
                    connection.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        while any(not has_ended(connection) for connection in (*silent, *headers, *body)):
            assert answers(server)
    finally:
        done.set()
        dripping.join()
    assert answers(server)


def has_ended(connection: socket.socket) -> bool:
    """Return whether a connection that was left open is closed by now."""
    if connection.fileno() < 0:
        return True
    connection.settimeout(0.01)
    try:
        ended = not connection.recv(65_536)
    except TimeoutError:
        return False
    except ConnectionResetError:
        ended = True
    if ended:
        connection.close()
    return ended


def test_a_stop_answers_what_is_under_way(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path, models) as server:
        body = json.dumps({"rows": ROWS}).encode()
        with raw(server) as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body[:10])
            while "fieldwise_requests_total" not in server.ask("GET", "/metrics").body.decode():
                pass
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            time.sleep(0.3)
            connection.sendall(body[10:])
            reply = read_to_the_end(connection)
            stopping.join(PATIENCE)
        assert reply.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in reply
        assert server.process.exitcode == 0
        assert "Traceback" not in server.out
