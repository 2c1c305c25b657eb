"""Reading remote files, ``s3://``, ``gs://`` and ``hdfs://``, through pyarrow's filesystems.

A remote name is ``SCHEME://HOST/PATH``, without any escaping. The host is the bucket, or for ``hdfs`` the name node
(empty for the one in Hadoop's configuration); ``anonymous@`` before a public bucket reads it without credentials.
Credentials and endpoints are taken from the same places as by the stores' own tools:

s3
    ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE`` and the files of ``~/.aws``, or the role of the
    machine; ``AWS_REGION``; ``AWS_ENDPOINT_URL`` (or ``AWS_ENDPOINT_URL_S3``) for S3-compatible stores.
gs
    Application Default Credentials; ``STORAGE_EMULATOR_HOST`` for a local emulator.
hdfs
    A Hadoop client: ``HADOOP_HOME``, ``JAVA_HOME``, ``CLASSPATH``. The tests replace it by another pyarrow filesystem:
    paths and messages are tested, a real name node never was.

A store that does not respond raises an error within about half a minute, within two minutes for ``gs``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from fieldwise.errors import ConfigError, DataError, UserError

__all__ = [
    "Store",
    "is_of_store",
    "is_remote",
    "local_path",
    "locate",
    "open_file",
    "open_stream",
    "reaching",
    "remote_name",
    "unreadable",
    "version_tag",
]

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hdfs": "hdfs"}
_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_FOLDED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # how pathlib writes it
_SETTINGS = ("AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "HADOOP_")

_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS, _RETRY_SECONDS = 5, 20, 3, 20
_STREAM_BYTES = 8 << 20
"""Bytes per request: the latency of a request is about the transfer time of 1 MB."""

_DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "INVALID_CLIENT_TOKEN", "UNRECOGNIZED_CLIENT",
           "EXPIRED_TOKEN", "HTTP status 401", "HTTP status 403", "PERMISSION_DENIED", "UNAUTHENTICATED",
           "access token", "Permission denied", "AccessControlException")  # fmt: skip
_AWAY = ("NETWORK_CONNECTION", "REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "UNAVAILABLE", "CURL error",
         "curlCode", "Connection refused", "timed out", "HDFS connection failed")  # fmt: skip
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "for a public bucket use s3://anonymous@BUCKET",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; "
    "for a public bucket use gs://anonymous@BUCKET",
    "hdfs": "request read permission, or get a ticket with kinit",
}
_REACH = {
    "s3": "check the network, AWS_ENDPOINT_URL and AWS_REGION",
    "gs": "check the network and the credentials",
    "hdfs": "check the host and port of the name node",
}


class Store(NamedTuple):
    """A pyarrow filesystem and the prefix of the names of its files."""

    scheme: str
    prefix: str
    system: Any

    def name(self, path: str) -> str:
        """Return the full name of a file of the store."""
        return self.prefix + (path if self.scheme != "hdfs" or path.startswith("/") else f"/{path}")


def remote_name(name: str | Path) -> str | None:
    """Return the name of a remote file as a string, or None if the file is local.

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
    """Return whether a file is remote."""
    return remote_name(name) is not None


def local_path(path: str | Path) -> Path:
    """Return a path to write to, which must be local.

    Raises
    ------
    ConfigError
        The name is remote, or none.
    """
    if "\0" in str(path):
        raise ConfigError("a path holds a zero byte, which no file system has", got=repr(str(path)))
    if remote := remote_name(path):
        raise ConfigError(
            "writing to remote stores is not supported",
            where=remote,
            fix="write to a local path, then copy the result",
        )
    return Path(path)


def open_file(name: str) -> pa.NativeFile:
    """Open a remote file for random access."""
    store, path = locate(name)
    with reaching(name):
        return store.system.open_input_file(path)


def open_stream(name: str) -> pa.NativeFile:
    """Open a remote file for sequential reading, with requests of 8 MB."""
    store, path = locate(name)
    with reaching(name):
        return store.system.open_input_stream(path, compression=None, buffer_size=_STREAM_BYTES)


def version_tag(name: str, file: pa.NativeFile) -> tuple[int | str, ...]:
    """Return a value that changes with the content of an open remote file: its size, and its entity tag or its time."""
    with reaching(name):
        told = {_text(key).lower(): _text(value) for key, value in (file.metadata() or {}).items()}
        if tag := told.get("etag") or told.get("generation"):
            return file.size(), tag
        store, path = locate(name)
        return file.size(), str(store.system.get_file_info(path).mtime_ns)


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn an error that the store raises inside the block into a DataError about the file."""
    try:
        yield
    except UserError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise unreadable(name, error) from None


def is_of_store(error: Exception) -> bool:
    """Return whether an error was raised by the store (no access, no response) rather than by the content of a file."""
    return isinstance(error, FileNotFoundError) or any(sign in str(error) for sign in ("AWS Error", *_DENIED, *_AWAY))


def unreadable(name: str, error: BaseException) -> DataError:
    """Return a DataError with the cause of a store's error and what to do about it."""
    scheme = _SCHEMES[name.partition("://")[0].lower()]
    text = str(error)
    got = text.partition("\n")[0][:500]
    if "libjvm" in text or "libhdfs" in text:
        fix = "install Hadoop's client and Java, and set HADOOP_HOME, JAVA_HOME and CLASSPATH (hadoop classpath --glob)"
        return DataError("hdfs:// requires a Hadoop client, which was not found", where=name, got=got, fix=fix)
    if "NO_SUCH_BUCKET" in text or "bucket does not exist" in text:
        return DataError("there is no such bucket", where=name, got=got, fix="check its name and AWS_ENDPOINT_URL")
    if any(sign in text for sign in _DENIED):
        return DataError("the store denied access", where=name, got=got, fix=_CREDENTIALS[scheme])
    if any(sign in text for sign in _AWAY):
        return DataError("the store cannot be reached", where=name, got=got, fix=_REACH[scheme])
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file", where=name, fix="check the path")
    return DataError("the file cannot be read", where=name, got=got)


def locate(name: str) -> tuple[Store, str]:
    """Return the store of a remote name, and the path of the file in it."""
    match = _REMOTE.match(name)
    assert match is not None, "the name is remote"
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme not in _SCHEMES:
        raise ConfigError(
            "unsupported type of path", where=name, expected="a local path, s3://, gs:// or hdfs://", got=scheme
        )
    host, _, inside = rest.partition("/")
    user, at, host = host.rpartition("@")
    if at and (user != "anonymous" or _SCHEMES[scheme] == "hdfs"):
        raise ConfigError(
            "credentials are not allowed in a path", where=f"{scheme}://...@{host}", fix=_CREDENTIALS["s3"]
        )
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
    return Store(_SCHEMES[scheme], prefix, system), path


@lru_cache(maxsize=64)
def _connect(scheme: str, host: str, anonymous: bool, settings: tuple[tuple[str, str], ...]) -> Any:
    """Return the filesystem of a bucket or name node; `settings` are the environment variables that it depends on."""
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
            named, _, emulator = known.get("STORAGE_EMULATOR_HOST", "").rpartition("://")  # some clients take no scheme
            return fs.GcsFileSystem(
                anonymous=anonymous or bool(emulator),
                retry_time_limit=timedelta(seconds=_RETRY_SECONDS),
                **({"scheme": named or "http", "endpoint_override": emulator} if emulator else {}),
            )
        name, _, port = host.partition(":")
        if port and not port.isdecimal():
            raise ConfigError("invalid port", where=f"hdfs://{host}", expected="a number, as in hdfs://HOST:8020/PATH",
                              got=port)  # fmt: skip
        return fs.HadoopFileSystem(name or "default", int(port or 0))
    except ImportError as error:
        raise ConfigError(
            f"the installed pyarrow does not support {scheme}://",
            got=error,
            fix="install pyarrow with pip install pyarrow",
        ) from None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
