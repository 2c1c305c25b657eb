"""Raw rows that a run keeps as Parquet files: those that are held out, and those whose labels have not come.

What is kept are the raw rows and not their features: a vocabulary gives the ids of features that left to new ones, so
encoded rows would change their meaning while they wait, and a person's values can be taken out of texts. The names of
files follow from what is in them. Which of them count is for the record of the run to say (`versions.Record`), so an
update that is killed has changed nothing. Pages have checksums, which are compared when they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fieldwise.errors import ArtefactError
from fieldwise.io.files import RESTORE, atomic_file, explaining, sync_folder

__all__ = ["RowFiles"]


class RowFiles:
    """A folder of rows.

    Parameters
    ----------
    folder
        Made when the first file is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> pa.Table:
        """Return the rows of a file.

        Raises
        ------
        ArtefactError
            It is missing or damaged.
        """
        path = self.folder / name
        try:
            with explaining(path):
                return pq.read_table(path, page_checksum_verification=True)
        except pa.ArrowException as error:
            raise ArtefactError("rows that the run keeps are damaged", where=path, got=error, fix=RESTORE) from None

    def write(self, name: str, rows: pa.Table) -> str:
        """Write a file, and return its name."""
        with atomic_file(self.folder / name) as file:
            pq.write_table(rows, file, compression="zstd", write_page_checksum=True)
        return name

    def take_from(self, other: Path) -> None:
        """Move the files of another folder here, where all is ready to be named."""
        files = sorted(other.glob("*.parquet"))
        if files:
            with explaining(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                for path in files:
                    path.rename(self.folder / path.name)
                sync_folder(self.folder)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove all other files, which no record names any more, and the folder where none is left."""
        kept = set(names)
        for path in (*self.folder.glob("*.parquet"), *self.folder.glob(".*.tmp")):
            if path.name not in kept:
                with explaining(path):
                    path.unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or not empty
            self.folder.rmdir()
