"""Manifests: JSON with a format name, a version and the checksum of its own content.

A manifest is written last, and says that its folder is complete.
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


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    """What a manifest's file holds around its content."""

    format: str
    version: int
    checksum: str
    content: msgspec.Raw


def write_manifest(path: str | Path, content: msgspec.Struct, *, format: str, version: int) -> str:
    """Write a manifest atomically and return the checksum of its content.

    The checksum is taken without white space, so that a manifest stays valid when a person re-indents it.
    """
    body = msgspec.json.encode(content)
    seal = checksum(body)
    text = msgspec.json.encode(_Sealed(format, version, seal, msgspec.Raw(body)))
    write_bytes(path, msgspec.json.format(text, indent=1) + b"\n")
    return seal


Upgrades = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
"""For every older version that can be read, what turns the content of its manifest into that of the next version."""


def read_manifest(
    path: str | Path, type: type[Content], *, format: str, version: int, upgrades: Upgrades | None = None
) -> tuple[Content, str]:
    """Return a manifest's content, as that of the version of today, and its checksum.

    Raises
    ------
    ArtefactError
        It is damaged, of another kind, of a newer version, or of an older one that cannot be read any more.
    """
    path = Path(path)
    require_file(path)
    with explaining(path):
        num_bytes = path.stat().st_size
        if num_bytes > MAX_HEADER_BYTES:
            raise ArtefactError(
                "the manifest is too long", where=path, expected=f"at most {MAX_HEADER_BYTES} bytes", got=num_bytes
            )
        text = path.read_bytes()
    try:
        sealed = msgspec.json.decode(text, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError("the manifest cannot be read", where=path, got=error, fix=RESTORE) from None
    if sealed.format != format:
        raise ArtefactError("this is another kind of artefact", where=path, expected=format, got=sealed.format)
    steps = range(sealed.version, version)
    if sealed.version > version:
        raise ArtefactError(
            "the artefact was written by a newer version of fieldwise",
            where=path,
            expected=f"format version {version} or older",
            got=sealed.version,
            fix="install a newer fieldwise, or make it anew with this one",
        )
    if not all(step in (upgrades or {}) for step in steps):
        raise ArtefactError(
            "the artefact was written by an older version of fieldwise, whose format is no longer read",
            where=path,
            expected=f"format version {version}",
            got=sealed.version,
            fix="make it anew, or use the version of fieldwise that wrote it",
        )
    body = msgspec.json.format(bytes(sealed.content), indent=-1)
    seal = checksum(body)
    if seal != sealed.checksum:
        raise ArtefactError(
            "the manifest is damaged", where=path, expected=f"checksum {sealed.checksum}", got=seal, fix=RESTORE
        )
    try:
        for step in steps:
            body = msgspec.json.encode((upgrades or {})[step](msgspec.json.decode(body, type=dict[str, Any])))
        return msgspec.json.decode(body, type=type), seal
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise ArtefactError("the manifest does not fit its format", where=path, got=error, fix=RESTORE) from None


def manifest_format(path: str | Path) -> str | None:
    """Return what kind of artefact a manifest says it belongs to; None where it cannot be read."""
    try:
        require_file(Path(path))
        return msgspec.json.decode(Path(path).read_bytes(), type=_Sealed).format
    except (OSError, ArtefactError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
