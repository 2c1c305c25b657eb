"""Running the server: a socket, uvicorn, and an end without a request cut off."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from fieldwise.errors import ConfigError
from fieldwise.serving.app import App
from fieldwise.serving.connection import connection_of, sweep
from fieldwise.serving.limits import Limits
from fieldwise.serving.log import RequestLog
from fieldwise.serving.models import Models

__all__ = ["run"]


class _Server(uvicorn.Server):
    """A server that ends gracefully when it is told to, and then is done: uvicorn's own raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    ConfigError
        The address is not to be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            "the server cannot listen",
            where=f"{host}:{port}",
            got=error.strerror or error,
            fix="choose another --port, or stop what listens there",
        ) from None


def run(
    models: Models,
    host: str,
    port: int,
    *,
    limits: Limits,
    version: str,
    token: bytes | None = None,
    poll: float = 2.0,
    log: RequestLog | None = None,
    ready: Callable[[str, dict[str, str]], None],
) -> None:
    """Answer requests until SIGTERM or SIGINT; requests under way are answered before this returns.

    Parameters
    ----------
    models
        Not loaded yet.
    host, port
        Where to listen; port 0: any that is free.
    limits, version, token, log
        As for `App`.
    poll
        Seconds between two looks for new versions.
    ready
        Is called when requests are answered, with the address and the version of each model that answers.
    """
    _raise_file_limit()
    gc.freeze()  # what has been imported stays: a search for garbage need not look at it, which takes .7 s
    listener = listen(host, port)
    try:
        models.load()
        app = App(models, limits, version, token, log)
        config = uvicorn.Config(
            app,
            http=connection_of(limits),
            loop="uvloop",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=limits.stop_seconds,
        )
        at = listener.getsockname()
        shown = f"[{at[0]}]" if ":" in at[0] else at[0]
        url = f"http://{shown}:{at[1]}"
        answering = {model.name: model.current.name for model in models.by_name.values() if model.current}
        server = _Server(config)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, models, listener, poll, lambda: ready(url, answering)))
    finally:
        listener.close()
        models.close()
        if log is not None:
            log.close()


async def _serve(
    server: _Server, models: Models, listener: socket.socket, poll: float, ready: Callable[[], None]
) -> None:
    server.config.load()

    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        ready()

    beside = [asyncio.create_task(work) for work in (tell(), models.follow(poll), sweep(server.server_state))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in beside:
            task.cancel()
        for task in beside:
            with suppress(asyncio.CancelledError):
                await task


def _raise_file_limit() -> None:
    """Allow as many connections as the system does; many systems begin with 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))
