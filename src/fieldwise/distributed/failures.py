"""Serialization of an exception of one worker, so that all workers can raise it."""

from __future__ import annotations

import msgspec

from fieldwise import errors
from fieldwise.errors import FieldwiseError, UserError

__all__ = ["decode_failure", "encode_failure"]


class _Failure(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    what: str
    where: str | None = None
    expected: str | None = None
    got: str | None = None
    fix: str | None = None


def encode_failure(error: FieldwiseError) -> bytes:
    r"""Serialize an exception; see `decode_failure`.

    Examples
    --------
    >>> error = decode_failure(encode_failure(errors.DataError("the label is not a class", got=7)))
    >>> type(error).__name__, str(error)
    ('DataError', 'the label is not a class\n  got: 7')
    """
    kind = type(error).__name__
    if not isinstance(error, UserError):
        return msgspec.json.encode(_Failure(kind, str(error)))
    details = (error.where, error.expected, error.got, error.fix)
    return msgspec.json.encode(_Failure(kind, error.what, *(None if d is None else str(d) for d in details)))


def decode_failure(data: bytes) -> FieldwiseError:
    """Return an exception with the class and the message of the one that `encode_failure` serialized."""
    failure = msgspec.json.decode(data, type=_Failure)
    kind: type[FieldwiseError] = getattr(errors, failure.kind)
    if not issubclass(kind, UserError):
        return kind(failure.what)
    return kind(failure.what, where=failure.where, expected=failure.expected, got=failure.got, fix=failure.fix)
