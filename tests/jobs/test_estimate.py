"""The estimate of a dry run, against what preparing then takes."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from tests.logs import config_text, make_table, write

from fieldwise.cli import main
from fieldwise.config import parse_config
from fieldwise.jobs.prepare import estimate as module
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.prepare.spool import Spool


@pytest.fixture(scope="module")
def table():
    """60,000 rows of a field that is known soon, one that goes on growing, and one that grows with every row."""
    rng = np.random.default_rng(0)
    num_rows = 60_000
    few, many = rng.integers(0, 5, num_rows), np.exp(rng.random(num_rows) * np.log(1e6)).astype(int)
    columns = {"few": few, "many": many.astype(str), "click": rng.integers(0, 2, num_rows)}
    return pa.table({**columns, "new": [f"v{i}" for i in range(num_rows)]})


FIELDS = '[fields.few]\ntype = "category"\n[fields.new]\ntype = "category"\nmin_count = 1\n[fields.many]\nmin_count = 1'


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.csv.gz"])
def test_the_estimate_is_near_what_preparing_finds(tmp_path, monkeypatch, table, name):
    monkeypatch.setattr(module, "_SAMPLE_ROWS", 20_000)
    monkeypatch.setattr("fieldwise.data.csv._BLOCK_BYTES", 1 << 17)
    monkeypatch.setattr("fieldwise.data.parquet.MAX_CHUNK_ROWS", 10_000)
    if name.endswith("parquet"):
        pa.parquet.write_table(table, tmp_path / name)
    else:
        with gzip.open(tmp_path / name, "wb") if name.endswith("gz") else open(tmp_path / name, "wb") as file:
            pa.csv.write_csv(table, file)
    config = parse_config(f'data = {{ train = "{name}", label = "click" }}\n{FIELDS}', base=tmp_path)
    expected = module.estimate(config)
    assert not (tmp_path / ".fieldwise").exists()
    found = prepare(config)
    assert expected.rows == pytest.approx(found.summary["rows_read"], rel=0 if name.endswith("parquet") else 0.1)
    assert expected.exact_rows == name.endswith("parquet")
    assert 20_000 <= expected.sample_rows < 60_000
    features = {field.name: field.features for field in expected.fields}
    rows = found.encoder.rows
    assert features["few"] == rows["few"]
    assert features["new"] == pytest.approx(rows["new"], rel=0.1)
    assert features["many"] == pytest.approx(rows["many"], rel=0.2)
    assert expected.disk == pytest.approx(found.summary["num_bytes"], rel=0.5)
    assert expected.readings == 1
    aside: list[int] = []
    close = Spool.close
    monkeypatch.setattr(Spool, "close", lambda spool: (aside.append(spool.num_bytes), close(spool)))
    shutil.rmtree(tmp_path / ".fieldwise")
    prepare(config)
    assert expected.aside == pytest.approx(aside[0], rel=0.3)


def test_where_the_disk_has_no_room_for_what_lies_aside_another_reading_is_expected(tmp_path, monkeypatch, table):
    pa.parquet.write_table(table.slice(0, 3000), tmp_path / "log.parquet")
    config = parse_config(f'data = {{ train = "log.parquet", label = "click" }}\n{FIELDS}', base=tmp_path)
    with_room = module.estimate(config)
    monkeypatch.setattr(module, "free_bytes", lambda _: 2 * with_room.aside - 1)
    without = module.estimate(config)
    assert (with_room.readings, without.readings) == (1, 2)
    assert with_room.aside > 3000
    assert without.aside == 0


def test_the_dry_run_prints_it_and_writes_nothing(tmp_path, table):
    pa.parquet.write_table(table.slice(0, 3000), tmp_path / "log.parquet")
    (tmp_path / "fieldwise.toml").write_text(f'data = {{ train = "log.parquet", label = "click" }}\n{FIELDS}')
    arguments = ["prepare", str(tmp_path / "fieldwise.toml"), "--dry-run"]
    printed = CliRunner().invoke(main, arguments)
    assert printed.exit_code == 0, printed.stderr
    assert "3,000" in printed.stdout
    assert "memory" in printed.stdout
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert found["rows"] == 3000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fieldwise.toml", "log.parquet"]


def test_a_limit_that_is_too_small_is_refused_beforehand(tmp_path, table):
    pa.parquet.write_table(table.slice(0, 3000), tmp_path / "log.parquet")
    (tmp_path / "fieldwise.toml").write_text(f'data = {{ train = "log.parquet", label = "click" }}\n{FIELDS}')
    for more in ([], ["--dry-run"]):
        result = CliRunner().invoke(main, ["prepare", str(tmp_path / "fieldwise.toml"), "--memory", "10MB", *more])
        assert result.exit_code == 2
        assert "10.00 MB" in result.stderr


def test_a_field_hashed_into_very_many_buckets_takes_no_disk_for_those_that_stay_empty(tmp_path):
    write(make_table(2000), tmp_path / "log.parquet")
    text = config_text("log.parquet", fields="[fields.user]\nbuckets = 50_000_000\n", more="")
    config = parse_config(text, base=tmp_path)
    expected = module.estimate(config)
    assert expected.features > 50_000_000
    assert expected.disk < 500_000
