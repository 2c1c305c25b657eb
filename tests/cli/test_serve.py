"""``fieldwise serve`` that cannot begin: a line that says why, exit code 2, no traceback."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldwise.cli import main


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    assert "no model found" in refused(tmp_path / "none", "--port", 0)
    assert str(tmp_path) in refused(tmp_path, "--port", 0)
    (tmp_path / "ctr" / "1").mkdir(parents=True)
    assert "no saved model found" in refused(tmp_path, "--port", 0)


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(tmp_path, "--port", port)


def test_names_and_tokens_are_checked(tmp_path: Path) -> None:
    assert "invalid name" in refused(tmp_path, "--port", 0, "--name", "a/b")
    (tmp_path / "token").write_text("\n")
    assert "the token is empty" in refused(tmp_path, "--port", 0, "--token-file", tmp_path / "token")
    assert "nowhere" in refused(tmp_path, "--port", 0, "--token-file", tmp_path / "nowhere")


def test_a_missing_extra_is_named_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert "pip install 'fieldwise[serve]'" in refused(tmp_path)
