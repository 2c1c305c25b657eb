"""Rows that are held out, and the files that keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fieldwise.errors import ArtefactError
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.update.holdout import HeldOutDays, content_columns, held_out
from fieldwise.schema import Field, Schema

SCHEMA = Schema(fields=(Field(name="city", column="city"),), label="click", id="id")


def day(number: int, rows: int = 500) -> pa.Table:
    rng = np.random.default_rng(number)
    return pa.table(
        {
            "id": np.arange(rows) + 1_000 * number,
            "city": [f"c{city}" for city in rng.integers(0, 30, rows)],
            "click": (rng.random(rows) < 0.3).astype(int),
        }
    )


def ids_held_out(table: pa.Table) -> set[int]:
    mask = held_out(row_digests(table, content_columns(SCHEMA, table.column_names)))
    return set(table["id"].to_numpy()[mask].tolist())


def test_a_day_in_two_halves_in_another_order_and_with_late_labels_holds_out_the_same_rows() -> None:
    table = day(1, 5_000)
    expected = ids_held_out(table)
    assert 400 < len(expected) < 600
    assert ids_held_out(table.slice(0, 1_700)) | ids_held_out(table.slice(1_700)) == expected
    assert ids_held_out(table.take(np.random.default_rng(0).permutation(5_000))) == expected
    assert ids_held_out(table.set_column(2, "click", pa.nulls(5_000, pa.int64()))) == expected
    assert ids_held_out(table.select(["click", "city", "id"])) == expected


def test_files_are_kept_until_they_leave_the_window_and_as_long_as_a_state_names_them(tmp_path: Path) -> None:
    days = HeldOutDays(tmp_path / "heldout")
    content = content_columns(SCHEMA, day(0).column_names)
    names = [days.add(number, day(number), content) for number in range(20, 30)]
    names.append(days.add(29, day(31), content))  # a second part of the day
    assert [days.read(name).num_rows for name in days.within(names, 29, 7)] == [500] * 8
    assert days.leaving(names, 29, 7) == names[:3]
    assert days.read(names[4]).equals(day(24))
    (tmp_path / "heldout" / ".half.tmp").write_bytes(b"x")
    days.keep_only(names[3:])
    assert sorted(path.name for path in (tmp_path / "heldout").iterdir() if path.suffix == ".parquet") == sorted(
        names[3:]
    )
    days.keep_only(names[3:])


def test_to_add_a_part_again_changes_nothing(tmp_path: Path) -> None:
    days = HeldOutDays(tmp_path)
    name = days.add(5, day(5), ["id", "city"])
    content = (tmp_path / name).read_bytes()
    assert days.add(5, day(5), ["id", "city"]) == name
    assert (tmp_path / name).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    days = HeldOutDays(tmp_path)
    name = days.add(5, day(5), ["id", "city"])
    content = (tmp_path / name).read_bytes()
    for place in range(4, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        (tmp_path / name).write_bytes(damaged)
        try:
            read = days.read(name)
        except ArtefactError:
            continue
        assert read.equals(day(5)), place  # a byte of the footer that nothing reads
    (tmp_path / name).unlink()
    with pytest.raises(ArtefactError):
        days.read(name)
