"""The model of a fitted estimator: a bundle in a folder of its own, pickled as bytes, removed when nobody holds it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from fieldwise.bundle import open_bundle
from fieldwise.errors import ArtefactError
from fieldwise.forks import ForkLock
from fieldwise.io.files import checksum
from fieldwise.serving.predictor import Predictor

__all__ = ["SavedModel"]

_FORMAT = 1


def _new_folder(owner: object) -> Path:
    """Return a new private folder, which is removed when `owner` is garbage or the process ends.

    A forked child leaves its parent's folders alone.
    """
    folder = Path(tempfile.mkdtemp(prefix="fieldwise-"))
    weakref.finalize(owner, _remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


class SavedModel:
    """A bundle that nobody else has, and that never changes.

    A pickle of it holds the bytes of the bundle's files and their checksums: no path, and of Python's objects no more
    than a dict of bytes and texts. Unpickled, it writes them into a new temporary folder when it is first asked.

    Parameters
    ----------
    bundle
        The folder of a bundle, whose files are moved into one of this object's own.

    Examples
    --------
    >>> import pickle
    >>> saved = SavedModel(Path("runs/first/bundle"))  # doctest: +SKIP
    >>> pickle.loads(pickle.dumps(saved)).predictor.predict({"user": "u7"})  # doctest: +SKIP
    array([0.0421], dtype=float32)
    """

    def __init__(self, bundle: Path) -> None:
        folder = _new_folder(self)
        for path in bundle.iterdir():
            shutil.move(path, folder)
        self._begin({}, folder)

    def _begin(self, packed: dict[str, tuple[bytes, str]], folder: Path | None) -> None:
        self._packed, self._folder = packed, folder
        self._predictor: Predictor | None = None
        self._lock = ForkLock()

    @property
    def folder(self) -> Path:
        """The folder of the bundle.

        Raises
        ------
        ArtefactError
            It was unpickled, and its bytes are not those that were pickled.
        """
        with self._lock:
            if self._folder is None:
                folder = _new_folder(self)
                for name, (content, expected) in self._packed.items():
                    if Path(name).name != name or checksum(content) != expected:
                        raise ArtefactError("the pickled model is damaged", where=name, got=checksum(content))
                    (folder / name).write_bytes(content)
                self._folder, self._packed = folder, {}
            return self._folder

    @property
    def predictor(self) -> Predictor:
        """What answers from it."""
        folder = self.folder
        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor(folder)
            return self._predictor

    def __getstate__(self) -> dict[str, Any]:
        """Return the bytes of all files."""
        packed = self._packed
        if self._folder is not None:
            contents = {name: (self._folder / name).read_bytes() for name in open_bundle(self._folder).files}
            packed = {name: (content, checksum(content)) for name, content in contents.items()}
        return {"format": _FORMAT, "files": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the bytes of all files."""
        if state.get("format") != _FORMAT:
            raise ArtefactError(
                "the pickled model is of another version", expected=f"format {_FORMAT}", got=state.get("format")
            )
        self._begin(dict(state["files"]), None)

    def __deepcopy__(self, memo: dict[int, Any]) -> SavedModel:
        """Return itself: nothing changes it."""
        return self
