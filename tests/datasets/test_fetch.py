"""Fetching, from a server on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from fieldwise.datasets.fetch import fetch_url
from fieldwise.errors import DataError

CONTENT = b"user,click\n1,0\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + 10 * (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(b"<html>log in" if self.path == "/login" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_fetched_lies_whole_in_its_place(url, tmp_path):
    fetch_url(f"{url}/log", tmp_path / "cache" / "log.csv", "sha256", SHA256)
    assert (tmp_path / "cache" / "log.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(("page", "error"), [("login", DataError), ("missing", OSError), ("cut", (OSError, DataError))])
def test_what_is_not_the_file_leaves_nothing_behind(url, tmp_path, page, error):
    with pytest.raises(error):
        fetch_url(f"{url}/{page}", tmp_path / "log.csv", "sha256", hashlib.sha256(b"other").hexdigest())
    assert list(tmp_path.iterdir()) == []
