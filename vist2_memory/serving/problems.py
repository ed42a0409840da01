"""Errors as clients of OpenAI's API read them: a status and ``{"error": {...}}``.

Whatever is not raised on purpose is told by the request's id alone, and logged.
"""

from __future__ import annotations

import logging
import math
import traceback
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from vist2_memory import errors
from vist2_memory.serving.gate import BusyError
from vist2_memory.serving.logs import request_id

log = logging.getLogger(__name__)

_KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (errors.ContextOverflowError, 400, "invalid_request_error", "context_length_exceeded"),
    (errors.InvalidScopeError, 400, "invalid_request_error", "invalid_name"),
    (errors.InvalidInputError, 400, "invalid_request_error", "invalid_input"),
    (errors.ConflictError, 409, "invalid_request_error", "conflict"),
    (errors.QuotaExceededError, 403, "insufficient_quota", "quota_exceeded"),
    (errors.StoreFormatError, 400, "invalid_request_error", "invalid_file"),
    (errors.StoreUnavailableError, 503, "server_error", "store_unavailable"),
    (errors.AnswerNotLoggedError, 503, "server_error", "answer_not_logged"),
    (errors.StoreError, 500, "server_error", "store_error"),
    (errors.Vist2Error, 500, "server_error", "model_error"),
)
_CODES = {404: "not_found", 405: "method_not_allowed"}
"""Of errors that Starlette raises."""


class Problem(HTTPException):
    """An error of the interface itself; one of Starlette's, which no reader of bodies hides."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(status, message)
        self.code, self.param = code, param


def told(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of ``error``; what nobody meant to raise is not told."""
    if isinstance(error, Problem):
        kind = "authentication_error" if error.status_code == 401 else "invalid_request_error"
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else {}
        return error.status_code, _body(error.detail, kind, error.code, error.param), headers
    if isinstance(error, BusyError):
        again = {"Retry-After": str(math.ceil(error.retry_after))}
        words = f"{error}: try again in {again['Retry-After']} seconds"
        return 429, _body(words, "rate_limit_error", "busy"), again
    for known, status, kind, code in _KINDS:
        if isinstance(error, known):
            after = getattr(error, "retry_after", None)
            headers = {"Retry-After": str(math.ceil(after or 1))} if status == 503 else {}
            return status, _body(str(error), kind, code), headers
    # Without its words, which may be a user's.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("request failed", extra={"error": type(error).__name__, "frames": frames})
    words = f"the server failed; its log says more of request {request_id()}"
    return 500, _body(words, "server_error", "internal_error"), {}


def answer(error: Exception) -> JSONResponse:
    """``error`` as a response."""
    status, body, headers = told(error)
    return JSONResponse(body, status, headers)


def add_handlers(app: FastAPI) -> None:
    """Have ``app`` answer errors in this form."""

    async def own(_: Request, error: Exception) -> JSONResponse:
        return answer(error)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        body = _body(f"{where}: {first['msg']}", "invalid_request_error", "invalid_input", where)
        return JSONResponse(body, 400)

    async def by_status(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "invalid_input")
        body = _body(str(error.detail), "invalid_request_error", code)
        return JSONResponse(body, error.status_code, error.headers)

    for kind in (Problem, BusyError, errors.Vist2Error):
        app.add_exception_handler(kind, own)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, by_status)


def _body(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
