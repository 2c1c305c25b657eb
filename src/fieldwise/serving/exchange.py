"""A request as it comes, and an answer as it goes: bodies with their limits, JSON."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from fieldwise.serving.limits import HeldBytes, Limits
from fieldwise.serving.refusals import Refusal

__all__ = ["Answer", "Disconnected", "Headers", "Receive", "json_answer", "read_body", "read_headers"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = dict[bytes, bytes]
JSON = b"application/json"
_encode = msgspec.json.Encoder().encode
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_CLOSE = ((b"connection", b"close"),)


class Disconnected(Exception):
    """The client has gone before it had sent its request."""


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return a value as JSON."""
    return Answer(status, _encode(value), JSON, headers)


def read_headers(scope: dict[str, Any]) -> Headers:
    """Return the headers by their lower-case names; of one that is repeated the last."""
    return dict(scope["headers"])


async def read_body(headers: Headers, receive: Receive, limits: Limits, held: HeldBytes) -> bytes:
    """Return the body of a request, decompressed; the caller gives its length back to `held`.

    Bytes are counted as they come, whatever the headers say of them.

    Raises
    ------
    Refusal
        It is too large (413), came too slowly (408), or is not compressed as it says (400, 415); there are too many
        bytes of other requests (503).
    Disconnected
        The client has gone.
    """
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:
        body: bytes = message["body"]
        if len(body) > limits.body_bytes:
            raise _too_large(limits)
        held.take(len(body))
    else:
        body = await _rest(message, receive, limits, held)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"identity", b""):
        return body
    num_bytes = len(body)
    try:
        body = _decompressed(body, encoding, limits)
        held.take(len(body))
    finally:
        held.give(num_bytes)
    return body


async def _rest(message: dict[str, Any], receive: Receive, limits: Limits, held: HeldBytes) -> bytes:
    parts: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(limits.receive_seconds):
            while True:
                if message["type"] != "http.request":
                    raise Disconnected
                part = message["body"]
                if num_bytes + len(part) > limits.body_bytes:
                    raise _too_large(limits)
                held.take(len(part))
                num_bytes += len(part)
                parts.append(part)
                if not message["more_body"]:
                    return b"".join(parts)
                message = await receive()
    except BaseException as error:
        held.give(num_bytes)
        if isinstance(error, TimeoutError):
            raise Refusal(408, f"the body did not come within {limits.receive_seconds:g} s", _CLOSE) from None
        raise


def _decompressed(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    if encoding not in _WINDOW_BITS:
        raise Refusal(415, f"unknown content-encoding {ascii(encoding.decode('latin-1'))[:50]}; known: gzip, deflate")
    reader = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = reader.decompress(body, limits.body_bytes + 1)
    except zlib.error:
        raise Refusal(400, f"the body is not {encoding.decode()}") from None
    if len(content) > limits.body_bytes:
        raise _too_large(limits)
    if not reader.eof or reader.unused_data:
        raise Refusal(400, f"the body is no whole {encoding.decode()} stream")
    return content


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"a body holds {limits.body_bytes} bytes at most", _CLOSE)
