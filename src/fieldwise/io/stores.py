"""Files that do not lie on this machine: ``s3://``, ``gs://`` and ``hdfs://``, through pyarrow's filesystems.

A remote name is ``SCHEME://HOST/PATH``, taken as it is written: nothing in it is escaped. The host is the bucket, or
for ``hdfs`` the name node (none for the one of Hadoop's own configuration); ``anonymous@`` before a bucket reads a
public one without credentials. Who one is and where the store is come from where its own tools look:

s3
    ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE`` and the files of ``~/.aws``, or the machine's
    role; ``AWS_REGION``; ``AWS_ENDPOINT_URL`` (or ``AWS_ENDPOINT_URL_S3``) for other stores that speak its protocol.
gs
    Application Default Credentials; ``STORAGE_EMULATOR_HOST`` for a local one.
hdfs
    A Hadoop client: ``HADOOP_HOME``, ``JAVA_HOME``, ``CLASSPATH``. The tests put another of pyarrow's filesystems in
    its place: paths and messages are tested, a name node never was.

Waiting is bounded: a store that does not answer is an error within about half a minute, one of ``gs`` within two
minutes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from fieldwise.errors import ConfigError, DataError, UserError, did_you_mean

__all__ = [
    "expand",
    "is_of_store",
    "is_remote",
    "local_path",
    "open_file",
    "open_stream",
    "remote_name",
    "stamp",
    "unreadable",
]

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hdfs": "hdfs"}
_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_FOLDED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # what pathlib makes of it
_MAGIC = re.compile(r"[*?\[]")
_SETTINGS = ("AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "HADOOP_")

_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS, _RETRY_SECONDS = 5, 20, 3, 20
_STREAM_BYTES = 8 << 20
"""Asked for at a time: a request takes about as long for the first byte as for the next MB."""

_DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "INVALID_CLIENT_TOKEN", "UNRECOGNIZED_CLIENT",
           "EXPIRED_TOKEN", "HTTP status 401", "HTTP status 403", "PERMISSION_DENIED", "UNAUTHENTICATED",
           "access token", "Permission denied", "AccessControlException")  # fmt: skip
_AWAY = ("NETWORK_CONNECTION", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "UNAVAILABLE", "CURL error",
         "curlCode", "Connection refused", "timed out", "HDFS connection failed")  # fmt: skip
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "for a public bucket write s3://anonymous@BUCKET",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; "
    "for a public bucket write gs://anonymous@BUCKET",
    "hdfs": "ask for the right to read it, or take a ticket with kinit",
}
_REACH = {
    "s3": "check the network, AWS_ENDPOINT_URL and AWS_REGION",
    "gs": "check the network and the credentials",
    "hdfs": "check the name node's host and port",
}


class _Store(NamedTuple):
    """A filesystem of pyarrow, and how the names of its files begin."""

    scheme: str
    prefix: str
    system: Any

    def name(self, path: str) -> str:
        """Return the name of a file of the store."""
        return self.prefix + (path if self.scheme != "hdfs" or path.startswith("/") else f"/{path}")


def remote_name(name: str | Path) -> str | None:
    """Return the name of a file that does not lie on this machine; None for one that does.

    Examples
    --------
    >>> remote_name("s3://logs/a.csv"), remote_name(Path("s3://logs/a.csv")), remote_name("logs/a.csv")
    ('s3://logs/a.csv', 's3://logs/a.csv', None)
    """
    text = str(name)
    if isinstance(name, Path):
        folded = _FOLDED.match(text)
        if folded and folded.group(1) in _SCHEMES:
            return f"{folded.group(1)}://{text[folded.end() :]}"
    return text if _REMOTE.match(text) else None


def is_remote(name: str | Path) -> bool:
    """Whether a file does not lie on this machine."""
    return remote_name(name) is not None


def local_path(path: str | Path) -> Path:
    """Return a path that something is to be written to; it has to be on this machine.

    Raises
    ------
    ConfigError
        It is a remote name.
    """
    if remote := remote_name(path):
        raise ConfigError(
            "logs are read from stores, but nothing is written to them",
            where=remote,
            fix="name a local path, and copy it",
        )
    return Path(path)


def expand(name: str, is_log: Callable[[str, str], bool], no_log: Callable[[str], DataError]) -> Iterator[str]:
    """Yield the files behind a remote file, glob or folder, sorted inside the last two.

    Parameters
    ----------
    name
        A remote name. ``*``, ``?`` and ``[...]`` stay inside a level of folders, ``**`` stands for any number.
    is_log
        Whether a file of a folder, by its name and its path below the folder, is one of a log.
    no_log
        Makes the error for a folder without one.

    Raises
    ------
    DataError
        Nothing is there, or the store cannot be asked.
    """
    store, path = _locate(name)
    with reaching(name):
        kind = _kind(store, path)
    if kind == "file":
        yield name
    elif kind == "folder":
        yield from _below(store, path, is_log, no_log)
    elif _MAGIC.search(path):
        matches = _glob(store, path, name)
        if not matches:
            raise DataError("no file matches the pattern", where=name, fix="check the path; quote it in a shell")
        for match, is_file in matches:
            if is_file:
                yield store.name(match)
            else:
                yield from _below(store, match, is_log, no_log)
    else:
        folder, _, last = path.rpartition("/")
        with reaching(name):
            if store.scheme != "hdfs" and _kind(store, path.partition("/")[0]) == "nothing":
                raise DataError("there is no such bucket", where=name, fix="check its name and the endpoint")
        near = [entry.base_name for entry in _list(store, folder, name)] if folder else []
        fix = did_you_mean(last, near[:1000]) if near else "check the path"
        raise DataError("there is no such file", where=name, fix=fix)


def open_file(name: str) -> pa.NativeFile:
    """Open a remote file for reading at any place."""
    store, path = _locate(name)
    with reaching(name):
        return store.system.open_input_file(path)


def open_stream(name: str) -> pa.NativeFile:
    """Open a remote file for reading from its beginning on, in large pieces."""
    store, path = _locate(name)
    with reaching(name):
        return store.system.open_input_stream(path, compression=None, buffer_size=_STREAM_BYTES)


def stamp(name: str, file: pa.NativeFile) -> tuple[int | str, ...]:
    """Return what changes when the content of an open remote file does: its size, and its entity tag or time."""
    with reaching(name):
        told = {_text(key).lower(): _text(value) for key, value in (file.metadata() or {}).items()}
        if tag := told.get("etag") or told.get("generation"):
            return file.size(), tag
        store, path = _locate(name)
        return file.size(), str(store.system.get_file_info(path).mtime_ns)


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn an error of a store into a DataError that says what is wrong with the file."""
    try:
        yield
    except UserError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise unreadable(name, error) from None


def is_of_store(error: Exception) -> bool:
    """Whether an error comes from a store that refuses or does not answer, and not from the bytes that it gave."""
    return isinstance(error, FileNotFoundError) or any(sign in str(error) for sign in ("AWS Error", *_DENIED, *_AWAY))


def unreadable(name: str, error: BaseException) -> DataError:
    """Return what to tell of an error of a store."""
    scheme = _SCHEMES[name.partition("://")[0].lower()]
    text = str(error)
    got = text.partition("\n")[0][:500]
    if "libjvm" in text or "libhdfs" in text:
        fix = "install Hadoop's client and Java, and set HADOOP_HOME, JAVA_HOME and CLASSPATH (hadoop classpath --glob)"
        return DataError("hdfs:// needs a Hadoop client, which is not there", where=name, got=got, fix=fix)
    if "NO_SUCH_BUCKET" in text or "bucket does not exist" in text:
        return DataError("there is no such bucket", where=name, got=got, fix="check its name and AWS_ENDPOINT_URL")
    if any(sign in text for sign in _DENIED):
        return DataError("the store refuses access", where=name, got=got, fix=_CREDENTIALS[scheme])
    if any(sign in text for sign in _AWAY):
        return DataError("the store cannot be reached", where=name, got=got, fix=_REACH[scheme])
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file", where=name, fix="check the path")
    return DataError("the file cannot be read", where=name, got=got)


def _locate(name: str) -> tuple[_Store, str]:
    """Return the store of a remote name, and the path of the file in it."""
    match = _REMOTE.match(name)
    assert match is not None, "the name is remote"
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme not in _SCHEMES:
        raise ConfigError(
            "this kind of path is not known", where=name, expected="a local path, s3://, gs:// or hdfs://", got=scheme
        )
    host, _, inside = rest.partition("/")
    user, at, host = host.rpartition("@")
    if at and (user != "anonymous" or _SCHEMES[scheme] == "hdfs"):
        raise ConfigError("no password belongs into a path", where=f"{scheme}://...@{host}", fix=_CREDENTIALS["s3"])
    if _SCHEMES[scheme] == "hdfs":
        host_of_store, path = host, "/" + inside.rstrip("/")
    else:
        if not host:
            raise ConfigError("the path names no bucket", where=name, expected=f"{scheme}://BUCKET/PATH")
        host_of_store, path = host, f"{host}/{inside}".rstrip("/")
    settings = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith(_SETTINGS)))
    with reaching(name):
        system = _connect(_SCHEMES[scheme], host_of_store, bool(at), settings)
    prefix = f"{scheme}://{host}" if _SCHEMES[scheme] == "hdfs" else f"{scheme}://{user}{at}"
    return _Store(_SCHEMES[scheme], prefix, system), path


@lru_cache(maxsize=64)
def _connect(scheme: str, host: str, anonymous: bool, settings: tuple[tuple[str, str], ...]) -> Any:
    """Return the filesystem of a bucket or name node; `settings` are what it reads from the environment."""
    from pyarrow import fs  # late: only remote logs need it

    known = dict(settings)
    try:
        if scheme == "s3":
            endpoint = known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL")
            region = known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION")
            if region is None and endpoint is None:
                region = fs.resolve_s3_region(host)
            return fs.S3FileSystem(
                anonymous=anonymous,
                endpoint_override=endpoint,
                region=region or "us-east-1",
                connect_timeout=_CONNECT_SECONDS,
                request_timeout=_REQUEST_SECONDS,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            )
        if scheme == "gs":
            emulator = _REMOTE.fullmatch(known.get("STORAGE_EMULATOR_HOST", ""))
            return fs.GcsFileSystem(
                anonymous=anonymous or emulator is not None,
                retry_time_limit=timedelta(seconds=_RETRY_SECONDS),
                **({"scheme": emulator.group(1), "endpoint_override": emulator.group(2)} if emulator else {}),
            )
        name, _, port = host.partition(":")
        return fs.HadoopFileSystem(name or "default", int(port or 0))
    except ImportError as error:
        raise ConfigError(
            f"this pyarrow was built without {scheme}://",
            got=error,
            fix="install pyarrow from PyPI, as in: pip install pyarrow",
        ) from None


def _kind(store: _Store, path: str) -> str:
    from pyarrow.fs import FileType

    kinds = {FileType.File: "file", FileType.Directory: "folder"}
    return kinds.get(store.system.get_file_info(path).type, "nothing")


def _list(store: _Store, folder: str, name: str, recursive: bool = False) -> list[Any]:
    """Return what is in a folder of a store; nothing where there is no such folder."""
    from pyarrow.fs import FileSelector

    with reaching(name):
        found = store.system.get_file_info(FileSelector(folder, allow_not_found=True, recursive=recursive))
    return sorted(found, key=lambda info: str(info.path))


def _below(
    store: _Store, folder: str, is_log: Callable[[str, str], bool], no_log: Callable[[str], DataError]
) -> Iterator[str]:
    name = store.name(folder)
    files = [info.path for info in _list(store, folder, name, recursive=True) if info.is_file]
    chosen = [path for path in files if is_log(store.name(path), path[len(folder) :].lstrip("/"))]
    if not chosen:
        raise no_log(name)
    yield from (store.name(path) for path in chosen)


def _glob(store: _Store, pattern: str, name: str) -> list[tuple[str, bool]]:
    """Return the paths that match a pattern, and whether each is a file."""
    parts = pattern.split("/")
    depth = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    if depth == 0:
        raise ConfigError("a bucket cannot be a pattern", where=name, fix="name the bucket")
    folder, wanted = "/".join(parts[:depth]), parts[depth:]
    entries = _list(store, folder, name, recursive=len(wanted) > 1 or "**" in wanted)
    return [
        (info.path, info.is_file)
        for info in entries
        if _matches(info.path[len(folder) :].lstrip("/").split("/"), wanted)
    ]


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Whether the levels of a path are those of a pattern; a name that begins with a dot has to be asked for."""
    if not wanted:
        return not parts
    if wanted[0] == "**":
        deeper = bool(parts) and not parts[0].startswith(".") and _matches(parts[1:], wanted)
        return deeper or _matches(parts, wanted[1:])
    if not parts or (parts[0].startswith(".") and not wanted[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
