"""More requests than can be answered: some are refused, none fails otherwise, memory is bounded."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from tests.helpers import PATIENCE
from tests.serving.models import asked, log_rows
from tests.serving.servers import Server

ROWS = asked(log_rows(20, seed=6))
PREDICT = "/v1/models/ctr:predict"
CONNECTIONS = 200


def resident_bytes(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("the size of a process is read from /proc")
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer: its status and its head."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        assert part, received
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split()[1]), head


def rounds(server: Server, connections: list[socket.socket], num_rounds: int) -> dict[int, int]:
    """Send a request on every connection at once, and count the answers by status."""
    body = json.dumps({"rows": ROWS}).encode()
    request = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    statuses: dict[int, int] = {}
    for _ in range(num_rounds):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            status, head = answer_of(connection)
            statuses[status] = statuses.get(status, 0) + 1
            assert (b"retry-after: 1" in head) == (status == 503)
    return statuses


def overload(models: Path, tmp_path: Path, num_rounds: int) -> None:
    with Server(tmp_path, models, "--queue", "100") as server:
        connections = [
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(CONNECTIONS)
        ]
        try:
            rounds(server, connections, 5)
            before = resident_bytes(server.process.pid)
            statuses = rounds(server, connections, num_rounds)
            after = resident_bytes(server.process.pid)
        finally:
            for connection in connections:
                connection.close()
        assert set(statuses) == {200, 503}, statuses
        assert after - before < max(0.02 * before, 8 << 20)
        assert len(server.predict(ROWS)) == len(ROWS)
        text = server.ask("GET", "/metrics").body.decode()
        assert 'fieldwise_queued_rows{model="ctr",version="2"} 0' in text


def test_requests_beyond_the_queue_are_told_to_come_again(models: Path, tmp_path: Path) -> None:
    overload(models, tmp_path, 10)


@pytest.mark.long
def test_memory_does_not_grow_in_a_million_requests(models: Path, tmp_path: Path) -> None:
    overload(models, tmp_path, 1_000_000 // CONNECTIONS)
