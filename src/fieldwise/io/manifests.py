"""Manifests: JSON files with the name of a format, a version and the checksum of their own content.

The manifest of an artefact is written last: its presence means that the folder is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fieldwise.errors import ArtefactError
from fieldwise.io.files import MAX_HEADER_BYTES, RESTORE, checksum, explaining, require_file, write_bytes

__all__ = ["Upgrades", "manifest_format", "read_manifest", "write_manifest"]

Content = TypeVar("Content", bound=msgspec.Struct)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON object in which the content of a manifest is stored."""

    format: str
    version: int
    checksum: str
    content: msgspec.Raw


def write_manifest(path: str | Path, content: msgspec.Struct, *, format: str, version: int) -> str:
    """Write a manifest atomically and return the checksum of its content.

    White space does not enter the checksum, so that a manifest stays valid if it is re-indented.

    Parameters
    ----------
    path
        The file to write; an existing one is replaced.
    content
        What the manifest says.
    format, version
        The kind of artefact, and the version of its format, >= 1.

    Raises
    ------
    ResourceError, ArtefactError
        The file cannot be written (`files.atomic_file`).
    """
    body = msgspec.json.encode(content)
    digest = checksum(body)
    text = msgspec.json.encode(_Envelope(format, version, digest, msgspec.Raw(body)))
    write_bytes(path, msgspec.json.format(text, indent=1) + b"\n")
    return digest


Upgrades = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
"""For every older version that can still be read, a function from its content to that of the next version."""


def read_manifest(
    path: str | Path, type: type[Content], *, format: str, version: int, upgrades: Upgrades | None = None
) -> tuple[Content, str]:
    """Return the content of a manifest, upgraded to the current version, and the checksum of the stored content.

    Parameters
    ----------
    path
        The manifest.
    type
        The class of its content in the current version.
    format, version
        The expected format, and its current version.
    upgrades
        How to read older versions; none by default.

    Raises
    ------
    ArtefactError
        The manifest is missing or damaged, of another format, of a newer version, or of an older version without an
        upgrade.
    """
    path = Path(path)
    require_file(path)
    with explaining(path):
        num_bytes = path.stat().st_size
        if num_bytes > MAX_HEADER_BYTES:
            raise ArtefactError(
                "the manifest is too large", where=path, expected=f"at most {MAX_HEADER_BYTES} bytes", got=num_bytes
            )
        text = path.read_bytes()
    try:
        envelope = msgspec.json.decode(text, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError("the manifest cannot be read", where=path, got=error, fix=RESTORE) from None
    if envelope.format != format:
        raise ArtefactError("the artefact has another format", where=path, expected=format, got=envelope.format)
    steps = range(envelope.version, version)
    if envelope.version > version:
        raise ArtefactError(
            "the artefact was written by a newer version of fieldwise",
            where=path,
            expected=f"format version {version} or older",
            got=envelope.version,
            fix="install a newer version of fieldwise, or create the artefact again with this one",
        )
    if not all(step in (upgrades or {}) for step in steps):
        raise ArtefactError(
            "the artefact was written by an older version of fieldwise whose format is no longer supported",
            where=path,
            expected=f"format version {version}",
            got=envelope.version,
            fix="create it again, or use the version of fieldwise that wrote it",
        )
    body = msgspec.json.format(bytes(envelope.content), indent=-1)
    digest = checksum(body)
    if digest != envelope.checksum:
        raise ArtefactError(
            "the manifest is damaged", where=path, expected=f"checksum {envelope.checksum}", got=digest, fix=RESTORE
        )
    try:
        for step in steps:
            body = msgspec.json.encode((upgrades or {})[step](msgspec.json.decode(body, type=dict[str, Any])))
        return msgspec.json.decode(body, type=type), digest
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise ArtefactError("the manifest has invalid content", where=path, got=error, fix=RESTORE) from None


def manifest_format(path: str | Path) -> str | None:
    """Return the format that a manifest declares, or None if it cannot be read."""
    try:
        require_file(Path(path))
        return msgspec.json.decode(Path(path).read_bytes(), type=_Envelope).format
    except (OSError, ArtefactError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
