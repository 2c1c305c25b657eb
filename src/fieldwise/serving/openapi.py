"""The description of the server in OpenAPI 3.1, with the columns of the models that are loaded."""

from __future__ import annotations

from typing import Any

from fieldwise.serving.limits import Limits
from fieldwise.serving.models import Model, Models
from fieldwise.serving.protocol import OUTPUT, inputs_of
from fieldwise.serving.tensors import DATATYPES

__all__ = ["describe_api"]

_ERROR = {
    "description": "Why it is refused.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_LIST = {"type": "array", "items": _SCALAR, "description": "the values of a bag"}
_WEIGHTS = {"type": "object", "additionalProperties": {"type": "number"}, "description": "a bag's values and weights"}
_CELL = {"anyOf": [_SCALAR, _LIST, _WEIGHTS]}
_NUMBER = {"type": ["number", "string", "null"], "description": "a number, or a number as text"}
_CELLS = {"bag": _CELL, "weights": _CELL, "number": _NUMBER}


def _vector(length: int | None) -> dict[str, Any]:
    items = {"type": ["number", "null"]}
    return {"type": ["array", "null"], "items": items, "minItems": length, "maxItems": length}


def describe_api(models: Models, limits: Limits, version: str, with_token: bool) -> dict[str, Any]:
    """Return the description.

    Parameters
    ----------
    models
        Each has addresses of its own, because each has columns of its own.
    limits
        Those that are part of the description: rows and values.
    version
        Of the software.
    with_token
        Whether requests must carry a token.
    """
    schemas: dict[str, Any] = {"Error": _object({"error": {"type": "string"}}, ["error"])}
    paths: dict[str, Any] = {
        "/v2": {"get": _get("The server", _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}))},
        "/v2/models": {"get": _get("The names of the models", _object({"models": _list(_TEXT)}))},
        "/v2/health/live": {"get": _get("Whether the process lives", _object({"live": {"const": True}}), free=True)},
        "/v2/health/ready": {
            "get": _get("Whether a model answers", _object({"ready": {"type": "boolean"}}), free=True, more=("503",))
        },
        "/status": {"get": _get("What the page shows", {"type": "object"})},
        "/openapi.json": {"get": _get("This description", {"type": "object"})},
        "/metrics": {"get": _get("Metrics for Prometheus", {"type": "string"}, kind="text/plain")},
    }
    for model in models.by_name.values():
        if model.current is not None:
            schemas |= _schemas(model, limits)
            paths |= _paths(model)
    description: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "fieldwise", "version": version, "description": "Probabilities of raw rows."},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if with_token:
        description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"token": []}]
    return description


_TEXT = {"type": "string"}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or list(properties), **more}


def _get(
    what: str, schema: dict[str, Any], *, kind: str = "application/json", free: bool = False, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    content = {kind: {"schema": schema}}
    responses = {code: {"description": what, "content": content} for code in ("200", *more)}
    operation: dict[str, Any] = {"summary": what, "responses": responses | {"default": _ERROR}}
    return operation | ({"security": []} if free else {})


def _post(what: str, body: str, answer: str) -> dict[str, Any]:
    return {
        "summary": what,
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": body}}}},
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": {"$ref": answer}}}},
            **dict.fromkeys(("400", "401", "404", "405", "408", "413", "415", "431", "503"), _ERROR),
        },
    }


def _paths(model: Model) -> dict[str, Any]:
    """Return the addresses of a model, and of each version of it."""
    infer = _post("Answer tensors", _of(model, "InferRequest"), "#/components/schemas/InferAnswer")
    predict = _post("Answer or rank rows", _of(model, "PlainRequest"), "#/components/schemas/PlainAnswer")
    explain = _post("Explain rows", _of(model, "RowsRequest"), "#/components/schemas/ExplainAnswer")
    metadata = _get("The model's inputs and outputs", {"type": "object"})
    ready = _get("Whether the model answers", _object({"name": _TEXT, "ready": {"const": True}}))
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": model.versions}}
    paths: dict[str, Any] = {}
    for v, parameters in (("", []), ("/versions/{version}", [version])):
        at = f"/models/{model.name}{v}"
        for path, operation in (
            (f"/v2{at}", {"get": metadata}),
            (f"/v2{at}/ready", {"get": ready}),
            (f"/v2{at}/infer", {"post": infer}),
            (f"/v1{at}:predict", {"post": predict}),
            (f"/v1{at}:explain", {"post": explain}),
        ):
            paths[path] = {**operation, "parameters": parameters} if parameters else operation
    return paths


def _of(model: Model, name: str) -> str:
    return f"#/components/schemas/{model.name}.{name}"


def _schemas(model: Model, limits: Limits) -> dict[str, Any]:
    """Return what a model is asked and answers."""
    assert model.current is not None
    reads = model.current.reads
    cells = {
        column.name: _vector(column.length) if column.kind == "vector" else _CELLS.get(column.kind, _SCALAR)
        for column in reads.columns
    }
    row = _object(cells, list(reads.names), additionalProperties=_CELL)
    rows = {"type": "array", "maxItems": limits.rows, "items": row}
    loose = {**row, "required": []}
    columns = _object(
        {name: {"type": "array", "maxItems": limits.rows, "items": cell} for name, cell in cells.items()},
        list(reads.names),
    )
    identifier = {"id": _TEXT}
    plain = {
        "oneOf": [
            _object({"rows": rows, **identifier}, ["rows"]),
            _object({"columns": columns, **identifier}, ["columns"]),
            _object(
                {
                    "context": loose,
                    "candidates": {"type": "array", "maxItems": limits.rows, "items": loose},
                    "top": {"type": "integer", "minimum": 1},
                    **identifier,
                },
                ["context", "candidates"],
            ),
        ]
    }
    tensor = _object(
        {
            "name": {"enum": [tensor["name"] for tensor in inputs_of(reads)]},
            "shape": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": list(DATATYPES)},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        ["name", "shape", "datatype"],
    )
    output = _object({"name": {"const": OUTPUT}, "parameters": {"type": "object"}}, ["name"])
    infer = _object(
        {"inputs": _list(tensor), "outputs": _list(output), "parameters": {"type": "object"}, **identifier}, ["inputs"]
    )
    return {
        f"{model.name}.PlainRequest": plain,
        f"{model.name}.InferRequest": infer,
        f"{model.name}.RowsRequest": {"oneOf": plain["oneOf"][:2]},
        "ExplainAnswer": _EXPLAIN_ANSWER,
        "PlainAnswer": _PLAIN_ANSWER,
        "InferAnswer": _INFER_ANSWER,
    }


_NAMES = {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT}
_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_PLAIN_ANSWER = _object(
    {
        **_NAMES,
        "probability": {"type": "array", "items": {"anyOf": [_PROBABILITY, _list(_PROBABILITY)]}},
        "classes": _list(_TEXT),
        "candidates": _list(_object({"index": {"type": "integer"}, "probability": _PROBABILITY})),
    },
    ["model_name", "model_version"],
)
_NUMBERS = _list({"type": "number"})
_EXPLAIN_ANSWER = _object(
    {
        **_NAMES,
        "fields": _list(_TEXT),
        "contributions": _list(_NUMBERS),
        "logit": _NUMBERS,
        "residual": _NUMBERS,
    },
    ["model_name", "model_version", "fields", "contributions", "logit", "residual"],
)
_INFER_ANSWER = _object(
    {
        **_NAMES,
        "outputs": _list(
            _object(
                {
                    "name": {"const": OUTPUT},
                    "datatype": {"enum": ["FP32", "FP64"]},
                    "shape": _list({"type": "integer"}),
                    "data": _list(_PROBABILITY),
                    "parameters": {"type": "object"},
                },
                ["name", "datatype", "shape"],
            )
        ),
    },
    ["model_name", "model_version", "outputs"],
)
