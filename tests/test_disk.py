from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fieldwise.errors import ResourceError
from fieldwise.io.disk import free_bytes, require_disk
from fieldwise.training.checkpoint import Checkpoints


@pytest.fixture
def set_free(monkeypatch):
    """Return what sets the bytes that every disk has free."""

    def set_free(num_bytes: int) -> None:
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=num_bytes, f_frsize=1, f_bfree=1 << 60))

    return set_free


def test_a_folder_that_does_not_exist_has_the_room_of_the_one_above_it(tmp_path):
    (tmp_path / "file").touch()
    assert free_bytes(tmp_path / "a" / "b" / "c") is not None
    assert free_bytes(tmp_path / "file" / "a") is None, "no folder can be there"


def test_what_does_not_fit_is_refused_with_both_figures_and_the_place(tmp_path, set_free):
    set_free(3_000_000)
    require_disk(3_000_000, tmp_path, "the model")
    with pytest.raises(ResourceError) as caught:
        require_disk(4_500_000_000, tmp_path, "the model")
    message = str(caught.value)
    for part in ("the model does not fit on the disk", str(tmp_path), "4.50 GB free", "3.00 MB"):
        assert part in message


def test_nothing_is_refused_where_the_room_is_unknown(monkeypatch, tmp_path):
    def fail(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "statvfs", fail)
    require_disk(1 << 60, tmp_path, "the model")


def test_a_checkpoint_without_room_is_refused_before_a_byte_and_those_before_it_stay(tmp_path, set_free):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    table, dense = np.ones((1000, 3), dtype=np.float32), {"bias": np.zeros(500)}
    set_free(12_000 + 4_000)
    checkpoints.save(1, table, dense, {"step": 1})
    set_free(12_000 + 4_000 - 1)
    with pytest.raises(ResourceError, match=r"checkpoint of step 2 does not fit(.|\n)*16.00 kB free(.|\n)*16.00 kB"):
        checkpoints.save(2, table, dense, {"step": 2})
    assert [path.name for path in checkpoints.folder.iterdir()] == ["00000001"]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.state == {"step": 1}
