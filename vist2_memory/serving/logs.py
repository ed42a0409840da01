"""Logs of a server: JSON lines with the ids of request and trace, and never what was said."""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

from vist2_memory.serving.telemetry import trace_id

_request: ContextVar[str] = ContextVar("vist2_request_id", default="")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """The id of the request that is served here; empty outside of one."""
    return _request.get()


def set_request_id(id: str) -> None:
    """Have what is logged from here on name ``id``."""
    _request.set(id)


def as_request_id(told: str | None, otherwise: str) -> str:
    """``told`` by a client if it is harmless in a log, else ``otherwise``."""
    return told if told and _PLAIN.fullmatch(told) else otherwise


class _WithRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _request.get()
        if trace := trace_id():
            record.trace_id = trace
        record.__dict__.pop("color_message", None)  # uvicorn's, for terminals
        return True


def set_up(level: str = "INFO") -> None:
    """Log to standard error, the server's own lines and uvicorn's alike."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    handler.addFilter(_WithRequest())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"  # requests are logged here, without paths' ids
