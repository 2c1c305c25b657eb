"""An S3-compatible store on this machine, for tests; as a script, the server itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow.fs

ROOT = Path(__file__).parents[1]
BUCKET = "logs"
REGION = "us-east-1"


@contextmanager
def s3_server(**environment: str) -> Iterator[str]:
    """Run a store on the loopback interface, and return its endpoint."""
    with _server("s3", **environment) as endpoint:
        yield endpoint


@contextmanager
def _server(*arguments: str, **environment: str) -> Iterator[str]:
    # A process of its own: pyarrow keeps Python's lock while it waits for some of the answers.
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def put(endpoint: str, key: str, data: bytes) -> str:
    """Write an object, and return its name."""
    system = pyarrow.fs.S3FileSystem(
        access_key="user", secret_key="secret", endpoint_override=endpoint, region=REGION, allow_bucket_creation=True
    )
    system.create_dir(BUCKET)
    with system.open_output_stream(f"{BUCKET}/{key}", compression=None) as file:
        file.write(data)
    return f"s3://{BUCKET}/{key}"


@contextmanager
def gs_server(folder: Path) -> Iterator[str]:
    """Serve the files below a folder as objects of the bucket `BUCKET`, as Google does, and return the endpoint."""
    with _server("gs", str(folder)) as endpoint:
        yield endpoint


class _GsHandler(BaseHTTPRequestHandler):
    """What pyarrow asks of Google's JSON API."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        bucket, of_objects, key = url.path.removeprefix("/storage/v1/b/").partition("/o")
        path = Path(sys.argv[2]) / (key := unquote(key.removeprefix("/")))
        if bucket != BUCKET or (key and not path.is_file()):
            self._answer(404, b'{"error": {"code": 404, "message": "Not Found"}}')
        elif not of_objects:
            self._answer(200, json.dumps({"kind": "storage#bucket", "name": BUCKET, "id": BUCKET}).encode())
        elif not key:
            files = sorted(file for file in Path(sys.argv[2]).rglob("*") if file.is_file())
            found = [self._about(file) for file in files]
            items = [item for item in found if item["name"].startswith(asked.get("prefix", ""))]
            self._answer(200, json.dumps({"kind": "storage#objects", "items": items}).encode())
        elif asked.get("alt") == "media":
            data = path.read_bytes()
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            end = min(int(last or len(data)) + 1, len(data))
            span = f"bytes {first}-{end - 1}/{len(data)}"
            self._answer(206 if "Range" in self.headers else 200, data[int(first) : end], span)
        else:
            self._answer(200, json.dumps(self._about(path)).encode())

    def _answer(self, code: int, body: bytes, span: str | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        if span is not None:
            self.send_header("Content-Range", span)
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def _about(path: Path) -> dict[str, Any]:
        times = dict.fromkeys(("timeCreated", "updated"), "2026-11-10T00:00:00Z")
        about = {"name": str(path.relative_to(sys.argv[2])), "size": str(path.stat().st_size), "generation": "7"}
        return {"kind": "storage#object", "bucket": BUCKET, **about, **times}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    if sys.argv[1] == "gs":
        host, port = "127.0.0.1", (google := ThreadingHTTPServer(("127.0.0.1", 0), _GsHandler)).server_port
        Thread(target=google.serve_forever, daemon=True).start()
    else:
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()  # until whoever started it ends
