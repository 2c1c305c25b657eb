"""Connections with deadlines: uvicorn's HTTP protocol has none for a request that does not come, or is not read."""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fieldwise.serving.limits import Limits

__all__ = ["connection_of", "sweep"]

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
    b"content-length: 43\r\nconnection: close\r\n\r\n"
    b'{"error":"too many connections; try again"}'
)
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n"
    b"content-length: 43\r\nconnection: close\r\n\r\n"
    b'{"error":"the request did not come in time"}'
)
_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: 35\r\nconnection: close\r\n\r\n"
    b'{"error":"the headers are too long"}'
)


class _Connection(HttpToolsProtocol):
    """A connection that knows since when it waits for its client."""

    limits: Limits
    receiving_since: float | None = None
    writing_since: float | None = None
    in_headers = True
    header_bytes = 0
    unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, or refuse one connection too many."""
        super().connection_made(transport)
        self.receiving_since = self.loop.time()
        if len(self.connections) > self.limits.connections:
            transport.write(_TOO_MANY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read, and end a connection whose headers have no end."""
        if self.transport.is_closing():
            return
        self.unread_bytes += len(data)
        super().data_received(data)
        if self.in_headers and self.unread_bytes > self.limits.header_bytes and not self.transport.is_closing():
            self.end_with(_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of headers and trailers, which the parser does not."""
        self.header_bytes += len(name) + len(value)
        if self.header_bytes > self.limits.header_bytes:
            raise ValueError("the headers are too long")  # the parser answers 400
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin to wait for a request."""
        super().on_message_begin()
        self.receiving_since = self.loop.time()
        self.in_headers, self.header_bytes = True, 0

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self.in_headers, self.unread_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        super().on_message_complete()
        self.receiving_since = None
        self.unread_bytes = 0

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self.writing_since = self.loop.time()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self.writing_since = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where its client has not read the last answer."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def end_with(self, answer: bytes) -> None:
        """Send a last answer, unless another has begun, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(answer)
        self.transport.close()

    def end_if_late(self, now: float) -> None:
        """Close the connection if its client takes too long to send or to read."""
        if self.writing_since is not None and now - self.writing_since > self.limits.send_seconds:
            self.transport.abort()
        elif self.receiving_since is not None and now - self.receiving_since > self.limits.receive_seconds:
            if self.transport.is_closing():
                self.transport.abort()
            elif not self.unread_bytes and self.in_headers:  # it has never sent a byte
                self.transport.close()
            else:
                self.end_with(_TOO_SLOW)


def connection_of(limits: Limits) -> type[_Connection]:
    """Return the class of a server's connections, as uvicorn takes it."""
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    logging.getLogger("uvicorn.error").propagate = False
    return type("Connection", (_Connection,), {"limits": limits})


async def sweep(state: ServerState, every: float = 1.0) -> None:
    """Look for clients that are late, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        now = loop.time()
        for connection in list(state.connections):
            if isinstance(connection, _Connection):
                connection.end_if_late(now)
