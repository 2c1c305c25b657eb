"""The server as an ASGI application.

=======================================================  ==========================================================
address                                                  answer
=======================================================  ==========================================================
GET  /v2/health/live, /v2/health/ready                   200, or 503 where no model answers
GET  /v2, /v2/models                                     the server's metadata; the names of its models
GET  /v2/models/NAME[/versions/V][/ready]                a model's metadata; whether it answers
POST /v2/models/NAME[/versions/V]/infer                  tensors: the Open Inference Protocol (`protocol`)
POST /v1/models/NAME[/versions/V]:predict                rows in plain JSON (`plain`)
POST /v1/models/NAME[/versions/V]:explain                what each field adds to their logits
GET  /metrics, /openapi.json, /status, /                 for Prometheus, for clients, for the page, the page
=======================================================  ==========================================================
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from fieldwise.counted import counted
from fieldwise.serving.batching import Probabilities
from fieldwise.serving.exchange import (
    Answer,
    Disconnected,
    Headers,
    Receive,
    json_answer,
    read_body,
    read_headers,
)
from fieldwise.serving.limits import HeldBytes, Limits
from fieldwise.serving.log import RequestLog
from fieldwise.serving.metrics import ServerMetrics
from fieldwise.serving.models import Models
from fieldwise.serving.openapi import describe_api
from fieldwise.serving.plain import parse_plain, write_explanation, write_plain
from fieldwise.serving.protocol import describe, parse_infer, write_infer
from fieldwise.serving.refusals import Refusal
from fieldwise.serving.routes import Route, route_of
from fieldwise.serving.rows import Rows
from fieldwise.serving.status import page, prometheus, status_of
from fieldwise.serving.token import require_token
from fieldwise.serving.version import Version

__all__ = ["App", "Send"]

Send = Callable[[dict[str, Any]], Awaitable[None]]
_OCTETS = b"application/octet-stream"
_HEADER_LENGTH = b"inference-header-content-length"


class App:
    """An ASGI application that answers from models.

    Parameters
    ----------
    models
        Loaded models.
    limits
        What is taken at most.
    version
        Of the software, to be shown.
    token
        What requests must carry, those about health apart; None: nothing.
    log
        Is given what was asked and answered.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        version: str,
        token: bytes | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.models, self.limits, self.log = models, limits, log
        self.metrics = ServerMetrics()
        self.held = HeldBytes(limits.held_bytes)
        self._token = token
        self.software = version
        self._get: dict[str, Callable[[Route], Answer]] = {
            "live": lambda route: json_answer({"live": True}),
            "ready": self._ready,
            "server": lambda route: json_answer(
                {"name": "fieldwise", "version": version, "extensions": ["binary_tensor_data"]}
            ),
            "models": lambda route: json_answer({"models": [*self.models.by_name]}),
            "model": self._metadata,
            "model-ready": self._model_ready,
            "metrics": lambda route: prometheus(self),
            "openapi": lambda route: json_answer(describe_api(self.models, self.limits, version, token is not None)),
            "status": lambda route: json_answer(status_of(self)),
            "page": lambda route: page(),
        }
        self._post = {"infer": self._infer, "predict": self._predict, "explain": self._explain}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        route: Route | None = None
        try:
            route = route_of(scope["path"])
            answer = await self._answer(route, scope, receive)
        except Refusal as refusal:
            answer = json_answer({"error": refusal.text}, refusal.status, refusal.headers)
        except Disconnected:
            return
        except Exception:
            traceback.print_exc(file=sys.stderr)
            answer = json_answer({"error": "an error inside the server; its log says more"}, 500)
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        self.metrics.count("none" if route is None else route.kind, answer.status, time.perf_counter() - began)

    async def _answer(self, route: Route, scope: dict[str, Any], receive: Receive) -> Answer:
        headers = read_headers(scope)
        if route.kind not in ("live", "ready", "page"):
            require_token(headers, self._token)
        method = scope["method"]
        post = self._post.get(route.kind)
        if post is not None:
            if method != "POST":
                raise _not_allowed(method, b"POST")
            body = await read_body(headers, receive, self.limits, self.held)
            try:
                assert route.model is not None
                version = self.models.version(route.model, route.version)
                if version is None:
                    version = await self.models.opened(route.model, route.version)
                with version.in_use():
                    return await post(version, body, headers)
            finally:
                self.held.give(len(body))
        if method not in ("GET", "HEAD"):
            raise _not_allowed(method, b"GET, HEAD")
        return self._get[route.kind](route)

    async def _infer(self, version: Version, body: bytes, headers: Headers) -> Answer:
        length = headers.get(_HEADER_LENGTH)
        if length is not None and not (length.isdigit() and len(length) < 12):
            raise Refusal(400, "inference-header-content-length is not a number")
        asked = parse_infer(body, None if length is None else int(length), version.reads, self.limits)
        probabilities = await self._probabilities(version, asked.rows, asked.id)
        content, head = write_infer(asked, version.model, version.name, probabilities)
        if head is None:
            return Answer(200, content)
        return Answer(200, content, _OCTETS, ((_HEADER_LENGTH, str(head).encode()),))

    async def _predict(self, version: Version, body: bytes, headers: Headers) -> Answer:
        asked = parse_plain(body, version.reads, self.limits)
        probabilities = await self._probabilities(version, asked.rows, asked.id)
        return Answer(200, write_plain(asked, version.model, version.name, version.outputs, probabilities))

    async def _explain(self, version: Version, body: bytes, headers: Headers) -> Answer:
        asked = parse_plain(body, version.reads, self.limits)
        if asked.ranked:
            raise Refusal(400, "candidates are not explained: send rows or columns")
        if asked.rows.num_rows > self.limits.explained_rows:
            raise Refusal(413, f"{counted(self.limits.explained_rows, 'row')} at most can be explained at once")
        explanation = await self.models.explain(version, asked.rows)
        return Answer(200, write_explanation(asked, version.model, version.name, explanation))

    async def _probabilities(self, version: Version, rows: Rows, id_: str | None) -> Probabilities:
        probabilities = await version.batcher.answer(rows)
        if self.log is not None:
            self.log.add(id_, version.model, version.name, version.reads, rows, probabilities)
        return probabilities

    def _ready(self, route: Route) -> Answer:
        return json_answer({"ready": self.models.ready}, 200 if self.models.ready else 503)

    def _metadata(self, route: Route) -> Answer:
        version = self._version_of(route)
        model = self.models.model(version.model)
        output = {"datatype": version.dtype, "shape": version.output_shape}
        described = describe(version.model, model.versions, version.reads, output)
        parameters = {"classes": list(version.outputs or version.classes), "answers": version.name}
        return json_answer({**described, "parameters": parameters})

    def _model_ready(self, route: Route) -> Answer:
        version = self._version_of(route)
        return json_answer({"name": version.model, "ready": True})

    def _version_of(self, route: Route) -> Version:
        """Return the version that an address names; one on disk only is like the one that answers."""
        assert route.model is not None
        version = self.models.version(route.model, route.version)
        model = self.models.model(route.model)
        if version is None and route.version in model.versions:
            version = model.current
        if version is None and route.version is None:
            raise Refusal(503, f"model {route.model} has no version that answers", ((b"retry-after", b"5"),))
        if version is None:
            raise Refusal(
                404, f"model {route.model} has no version {route.version!r}; there is: {', '.join(model.versions)}"
            )
        return version


def _not_allowed(method: str, allowed: bytes) -> Refusal:
    what = f"{method} is not allowed here: send {allowed.decode()}"
    return Refusal(405, what, ((b"allow", allowed),))
