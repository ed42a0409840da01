"""Requests to a server of this library, and its errors as the library's own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from vist2_memory.errors import (
    ConflictError,
    ContextOverflowError,
    EngineUnavailableError,
    InvalidInputError,
    ModelError,
    ModelNotFoundError,
    QuotaExceededError,
    StoreError,
    StoreUnavailableError,
    Vist2Error,
)

CONNECT_S = 10.0
TOKEN_S = 300.0
"""Seconds that the server may take to say anything: a request may wait for its turn."""
PATIENCE_S = 60.0
"""Seconds for which a server that is busy is asked again."""


class LackingError(EngineUnavailableError):
    """Visual tokens that were named have been dropped there meanwhile, and have to be sent."""


_BY_CODE: dict[str, type[Vist2Error]] = {
    "context_length_exceeded": ContextOverflowError,
    "invalid_input": InvalidInputError,
    "invalid_name": InvalidInputError,
    "invalid_file": InvalidInputError,
    "conflict": ConflictError,
    "quota_exceeded": QuotaExceededError,
    "model_not_found": ModelNotFoundError,
    "store_unavailable": StoreUnavailableError,
    "store_error": StoreError,
    "model_error": ModelError,
    "not_a_vist2_model": ModelError,
    "visual_tokens_lacking": LackingError,
}


class Client:
    """Connections to one server; ``VIST2_API_KEY`` has its key unless one is given."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float | None = None) -> None:
        """``timeout``: seconds that the server may take to say anything."""
        self.url = url.rstrip("/").removesuffix("/v1")
        key = api_key or os.environ.get("VIST2_API_KEY")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout or TOKEN_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None),
        )

    def json(self, method: str, path: str, **options: Any) -> Any:
        """What the server answers, as JSON."""
        try:
            return self.request(method, path, **options).json()
        except ValueError as error:
            raise ModelError(f"{self.url}{path} answers no JSON: it is no vist2 server") from error

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """What the server answers; raises what it told as one of the library's errors."""
        with self.stream(method, path, **options) as response:
            response.read()
            return response

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """The answer as it comes; a server that is busy is asked again for a while."""
        until = time.monotonic() + PATIENCE_S
        while True:
            with self._sent(method, path, **options) as response:
                wait = _busy_for(response)
                if wait is None or time.monotonic() + wait > until:
                    if response.status_code >= 400:
                        raise self._told(response)
                    yield response
                    return
            time.sleep(wait)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextmanager
    def _sent(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        try:
            with self._http.stream(method, path, **options) as response:
                yield response
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise EngineUnavailableError(
                f"the server at {self.url} cannot be reached or broke off ({said}): see whether it "
                "runs, and ask again"
            ) from error

    def _told(self, response: httpx.Response) -> Vist2Error:
        response.read()
        try:
            error = response.json()["error"]
            message, code = str(error["message"]), error.get("code")
        except (ValueError, KeyError, TypeError):
            message, code = response.text[:200], None
        return self.failed(message, code, response.status_code)

    def failed(self, message: str, code: Any, status: int | None = None) -> Vist2Error:
        """What the server told, as one of the library's errors."""
        if status in (401, 403) and code not in _BY_CODE:
            return InvalidInputError(f"the server at {self.url} does not let in: {message}")
        kind = _BY_CODE.get(str(code), EngineUnavailableError)
        return kind(f"the server at {self.url} says: {message}")


def _busy_for(response: httpx.Response) -> float | None:
    """Seconds after which a server that has no room now wants to be asked again."""
    if response.status_code != 429:
        return None
    try:
        return max(0.05, float(response.headers.get("retry-after", 1)))
    except ValueError:
        return 1.0
