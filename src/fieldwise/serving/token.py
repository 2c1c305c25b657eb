"""The token that requests must carry: where it comes from, and how it is compared."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from fieldwise.errors import ConfigError
from fieldwise.io.files import explaining
from fieldwise.serving.refusals import Refusal

__all__ = ["read_token", "require_token"]

_VARIABLE = "FIELDWISE_TOKEN"


def read_token(file: Path | None) -> bytes | None:
    """Return the token of a file, or else of the variable FIELDWISE_TOKEN; None where there is neither.

    Raises
    ------
    ConfigError
        The token is empty.
    ArtefactError
        The file cannot be read.
    """
    if file is not None:
        with explaining(file):
            token = file.read_bytes().strip()
    else:
        text = os.environ.get(_VARIABLE)
        if text is None:
            return None
        token = text.strip().encode()
    if not token:
        raise ConfigError("the token is empty", where=file or _VARIABLE, fix="write a long random text")
    return token


def require_token(headers: dict[bytes, bytes], token: bytes | None) -> None:
    """Raise `Refusal` (401) if a request does not carry the token; the time that takes tells nothing about it.

    Examples
    --------
    >>> require_token({b"authorization": b"Bearer secret"}, b"secret")
    >>> require_token({}, b"secret")
    Traceback (most recent call last):
    ...
    fieldwise.serving.refusals.Refusal: expected the header Authorization: Bearer TOKEN
    """
    if token is None:
        return
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if not hmac.compare_digest(given.strip(), token) or scheme.lower() != b"bearer":
        raise Refusal(401, "expected the header Authorization: Bearer TOKEN", ((b"www-authenticate", b"Bearer"),))
