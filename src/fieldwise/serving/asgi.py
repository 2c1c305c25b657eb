"""The application for process managers, which make a process for each core: uvicorn's ``--workers``, gunicorn.

::

    FIELDWISE_MODELS=models uvicorn --factory fieldwise.serving.asgi:application --workers 4 --loop uvloop

Every process follows new versions by itself and maps the same files, so that tables are in memory once. Deadlines for
clients are those of the process manager, or of what stands before it.

===================  ==============================================================
FIELDWISE_MODELS     a bundle, a run, or a folder of models; required
FIELDWISE_NAME       the name of the one model
FIELDWISE_TOKEN      what requests must carry
FIELDWISE_LOG        a folder for what was asked and answered
FIELDWISE_POLL       seconds between looks for new versions (2)
===================  ==============================================================
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from fieldwise.errors import ConfigError
from fieldwise.serving.app import App, Send
from fieldwise.serving.exchange import Receive
from fieldwise.serving.limits import Limits
from fieldwise.serving.log import RequestLog
from fieldwise.serving.models import Models
from fieldwise.serving.token import read_token

__all__ = ["application"]


class _Application:
    """The server's application, with a start and an end."""

    def __init__(self, app: App, poll: float) -> None:
        self._app, self._poll = app, poll

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        following = asyncio.create_task(self._app.models.follow(self._poll))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        self._app.models.close()
        if self._app.log is not None:
            self._app.log.close()
        await send({"type": "lifespan.shutdown.complete"})


def application() -> _Application:
    """Return an application for the models that the environment names, loaded.

    Raises
    ------
    ConfigError
        FIELDWISE_MODELS is not set.
    ArtefactError
        No model there can answer.
    """
    path = os.environ.get("FIELDWISE_MODELS")
    if not path:
        raise ConfigError("no models are named", where="FIELDWISE_MODELS", expected="a bundle, a run, or a folder")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the process has no other way to speak

    folder = os.environ.get("FIELDWISE_LOG")
    models = Models(path, os.environ.get("FIELDWISE_NAME"), Limits(), say)
    models.load()
    log = RequestLog(folder, say) if folder else None
    return _Application(App(models, Limits(), version("fieldwise"), read_token(None), log), _seconds_between_looks())


def _seconds_between_looks() -> float:
    given = os.environ.get("FIELDWISE_POLL", "2")
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not seconds >= 0.05:
        raise ConfigError(
            "invalid time between two checks", where="FIELDWISE_POLL", expected="0.05 s or more", got=given
        )
    return seconds
