"""docs/sklearn.md is run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(text, PAGE.name, "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) >= 3  # an epoch each
    assert (tmp_path / "models" / "first" / "manifest.json").exists()
