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
