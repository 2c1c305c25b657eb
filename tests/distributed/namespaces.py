"""Two hosts on this machine: network namespaces with a wire between them. Root only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.helpers import PATIENCE

ADDRESS = "10.77.0.1"
needs_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2")


@contextmanager
def two_hosts() -> Iterator[list[str]]:
    """Yield the names of two namespaces; the first has ADDRESS."""
    names = [f"fieldwise-{os.getpid()}-{host}" for host in "ab"]
    with ExitStack() as held:
        for name in names:
            _ip("netns", "add", name)
            held.callback(_ip, "netns", "del", name)
        _ip("link", "add", "veth0", "netns", names[0], "type", "veth", "peer", "name", "veth1", "netns", names[1])
        for host, name in enumerate(names):
            _ip("-n", name, "addr", "add", f"10.77.0.{host + 1}/24", "dev", f"veth{host}")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", f"veth{host}", "up")
        yield names


def run_on(names: list[str], command: list[str]) -> list[str]:
    """Run the same command on every host, and return what each printed."""
    hosts = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in names
    ]
    outputs = [process.communicate(timeout=PATIENCE) for process in hosts]
    assert [process.returncode for process in hosts] == [0, 0], outputs
    return [text for text, _ in outputs]


def bytes_sent(names: list[str]) -> int:
    """Return the bytes that went over the wire so far, with all headers."""
    statistics = [_ip("-n", name, "-s", "-j", "link", "show", f"veth{host}") for host, name in enumerate(names)]
    return sum(json.loads(text)[0]["stats64"]["tx"]["bytes"] for text in statistics)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
