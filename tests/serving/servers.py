"""Servers in processes of their own, on loopback, and a plain client for them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers import PATIENCE
from tests.processes import FORKS

__all__ = ["Reply", "Server"]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def _serve(arguments: list[str], out: str, environment: dict[str, str]) -> None:
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.update(environment)
    from fieldwise.cli import main

    main(arguments)


class Server:
    """``fieldwise serve`` on a free port; ends with the block.

    ``out`` is what it has printed.
    """

    def __init__(self, folder: Path, path: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self._out = folder / f"server-{time.monotonic_ns()}.txt"
        arguments = ["serve", str(path), "--port", "0", "--poll", "0.1", *options]
        self.process = FORKS.Process(target=_serve, args=(arguments, str(self._out), environment or {}))

    def __enter__(self) -> Server:
        self.process.start()
        found = self.wait_for(r"ready: http://[^ ]*:(\d+) ")
        self.port = int(found[1])
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(PATIENCE)

    @property
    def out(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the server has printed something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            is_alive = self.process.is_alive()
            found = re.search(pattern, self.out)
            if found:
                return found
            assert is_alive, f"the server has ended:\n{self.out}"
            time.sleep(0.02)
        raise AssertionError(f"the server has not printed {pattern!r}:\n{self.out}")

    def stop(self) -> int | None:
        """Send SIGTERM, wait, and return the exit code."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.join(PATIENCE)
        return self.process.exitcode

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Reply:
        """Send a request on a connection of its own; a body that is no bytes as JSON."""
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
            body = json.dumps(body).encode()
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {}, **more)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def predict(self, rows: list[dict[str, object]], path: str = "/v1/models/ctr:predict") -> list[float]:
        """Return the probabilities of rows."""
        reply = self.ask("POST", path, {"rows": rows})
        assert reply.status == 200, reply
        probabilities: list[float] = reply.json()["probability"]
        return probabilities
