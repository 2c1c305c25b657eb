"""What the address of a request means."""

from __future__ import annotations

from typing import NamedTuple

from fieldwise.serving.refusals import Refusal

__all__ = ["Route", "route_of"]


class Route(NamedTuple):
    """What is asked for: a kind, and the model and version that the address names."""

    kind: str
    model: str | None = None
    version: str | None = None


_FIXED = {
    "/": Route("page"),
    "/metrics": Route("metrics"),
    "/openapi.json": Route("openapi"),
    "/status": Route("status"),
    "/v2": Route("server"),
    "/v2/": Route("server"),
    "/v2/models": Route("models"),
    "/v2/health/live": Route("live"),
    "/v2/health/ready": Route("ready"),
}
_LAST = {"infer": "infer", "ready": "model-ready"}
_ACTIONS = {"predict", "explain"}


def route_of(path: str) -> Route:
    """Return what an address asks for; raise `Refusal` (404) for one that there is not.

    Examples
    --------
    >>> route_of("/v2/models/ctr/versions/3/infer")
    Route(kind='infer', model='ctr', version='3')
    >>> route_of("/v1/models/ctr:predict")
    Route(kind='predict', model='ctr', version=None)
    """
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    parts = path.split("/")
    if len(parts) >= 4 and parts[2] == "models" and parts[3]:
        if parts[1] == "v2":
            kind = "model"
            if len(parts) > 4 and parts[-1] in _LAST:
                kind = _LAST[parts.pop()]
            if len(parts) == 4:
                return Route(kind, parts[3])
            if len(parts) == 6 and parts[4] == "versions" and parts[5]:
                return Route(kind, parts[3], parts[5])
        elif parts[1] == "v1":
            parts[-1], _, action = parts[-1].rpartition(":")
            if action in _ACTIONS and len(parts) == 4:
                return Route(action, parts[3])
            if action in _ACTIONS and len(parts) == 6 and parts[4] == "versions":
                return Route(action, parts[3], parts[5])
    raise Refusal(404, f"there is nothing at {ascii(path)[:100]}; /openapi.json lists what there is")
