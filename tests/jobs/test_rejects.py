"""--max-rejects holds for a log that was prepared before, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldwise as fw
from fieldwise.errors import DataError

CONFIG = '[data]\ntrain = ["log.csv"]\nlabel = "click"\n[fields.age]\ntype = "number"\n'


def test_a_limit_on_rejects_is_asked_of_a_log_that_is_prepared_already(tmp_path: Path) -> None:
    rows = [f"{'x' if i in (3, 5) else i},{i % 2}\n" for i in range(10)]
    (tmp_path / "log.csv").write_text("age,click\n" + "".join(rows))
    config = fw.parse_config(CONFIG, base=tmp_path)
    assert fw.prepare(config, max_rejects=2).summary["rows_rejected"] == 2
    for limit, expected in ((1, "at most 1\n"), (0.19, "at most 19.0000% of the rows")):
        with pytest.raises(DataError, match=rf"row 4, the first of them, column age\n  expected: {expected}"):
            fw.prepare(config, max_rejects=limit)
    assert fw.prepare(config, max_rejects=0.2).summary["rows_rejected"] == 2
    assert fw.prepare(config).summary["rows_rejected"] == 2


def test_what_preparing_warned_of_is_said_again_where_the_log_was_prepared_before(tmp_path: Path) -> None:
    """Weights that are large only after the first 50,000 rows, by which fields are judged, among them."""
    rows = "".join(f"{i % 2},a{i % 7}:1|b:{1e7 if i > 50_000 else 2:g}\n" for i in range(50_100))
    (tmp_path / "log.csv").write_text("click,qty\n" + rows)
    text = '[data]\ntrain = ["log.csv"]\nlabel = "click"\n[fields.qty]\ntype = "bag"\nweighted = true\nnorm = "none"\n'
    config = fw.parse_config(text, base=tmp_path)
    for _ in range(2):
        heard: list[str] = []
        fw.prepare(config, listen=lambda event: heard.append(getattr(event, "text", "")))  # noqa: B023
        assert [text for text in heard if "weights as large as 1e+07" in text]
