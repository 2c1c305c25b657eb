"""The folder in which what is made of a log is kept."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fieldwise.errors import ResourceError
from fieldwise.io.locks import artefact_lock


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_where_the_folder_for_prepared_logs_cannot_be_written_the_message_names_the_setting(
    tmp_path, monkeypatch, number
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(ResourceError, match=r"data\.cache=/a/folder") as error,
        artefact_lock(tmp_path / ".fieldwise", "key"),
    ):
        pass
    assert error.value.where == tmp_path / ".fieldwise"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_what_is_whole_in_a_folder_that_cannot_be_written_is_used(tmp_path, monkeypatch, number):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    (tmp_path / "key").mkdir()
    monkeypatch.setattr(Path, "open", refuse)
    with artefact_lock(tmp_path, "key") as place:
        assert place.folder == tmp_path / "key"
    with pytest.raises(ResourceError), artefact_lock(tmp_path, "another"):
        pass
