"""What the OpenAPI schema says beside what FastAPI finds out by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from vist2_memory.serving.door import OPEN
from vist2_memory.serving.told import Refusal

Responses = dict[int | str, dict[str, Any]]

BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
JSON_LINES = "application/x-ndjson"

_REFUSALS = {
    400: "What was sent cannot be understood, or not done",
    401: "There is no valid API key",
    403: "The key has no such right, or its namespace is full",
    404: "There is no such thing",
    409: "It contradicts what is there",
    413: "The body is too large",
    429: "There is no room now; Retry-After says when to come again",
    500: "The server failed",
    501: "The model that is served cannot do it",
    503: "The store is away; Retry-After says when to come again",
}
EVERYWHERE = (400, 401, 403, 413, 429, 500, 503)
"""Refusals that any request may be answered with."""


def refusals(*statuses: int) -> Responses:
    """Documents answers of these statuses."""
    return {
        status: {"model": Refusal, "description": _REFUSALS[status]}
        for status in statuses or EVERYWHERE
    }


def answered(model: type[BaseModel], *others: int) -> Responses:
    """Documents what a good answer is, and which refusals there are beside the usual ones."""
    return {200: {"model": model}, **(refusals(*others) if others else {})}


def sent_as(*types: str) -> Responses:
    """Documents an answer that is text or bytes of one of these content types."""
    return {200: {"content": {type: {"schema": {"type": "string"}} for type in types}}}


def takes(*types: str) -> dict[str, Any]:
    """Documents a body that is read as it comes."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": dict.fromkeys(types, schema)}}


def tell_keys(app: FastAPI) -> None:
    """Have the schema say where a key is needed, and in which form refusals come."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = made()
        key = {"type": "http", "scheme": "bearer"}
        schema.setdefault("components", {})["securitySchemes"] = {"key": key}
        schema["security"] = [{"key": []}]
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _correct(operation["responses"])
                if path in OPEN:
                    operation["security"] = []
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(responses: dict[str, Any]) -> None:
    """What is invalid is a 400, and refusals are JSON also where answers are not."""
    responses.pop("422", None)
    for status, response in responses.items():
        if int(status) in _REFUSALS:
            [form] = response["content"].values()
            response["content"] = {"application/json": form}
