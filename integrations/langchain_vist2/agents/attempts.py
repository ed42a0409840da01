"""One model call of an agent, tried until a model takes it: with memory, with less, without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage

from langchain_vist2.agents.readers import Reader
from langchain_vist2.agents.requests import Call
from vist2_memory.errors import (
    CodecError,
    EncodingError,
    SealedError,
    StoreError,
    StoreFormatError,
    StoreURLError,
)

_LOG = logging.getLogger(__name__)
_FAILURES = (StoreError, EncodingError, CodecError)
"""What keeps a memory from being used for now."""
_SETTINGS = (StoreURLError, StoreFormatError, SealedError)
"""Failures that are no accident: the user is to be told."""
_LESS = 0.75
"""How much of what was too much is tried next."""
_OVERFLOWS = 3
"""How often is tried again with less."""


class Attempts:
    """``first()`` gives the request to try, ``after(error)`` the next one, ``done`` the response.

    ``by_memory`` and ``by_text`` make the readers of a call.
    """

    def __init__(
        self,
        call: Call,
        by_memory: Callable[[Call], Reader] | None,
        by_text: Callable[[Call], Reader],
    ) -> None:
        self._call = call
        self._by_memory = by_memory
        self._by_text = by_text
        self._tokens = 0
        self._overflows = 0
        self._notes: list[str] = []

    def first(self) -> ModelRequest[Any]:
        """The request to try; raises ``ContextOverflowError`` where nothing fits."""
        if self._by_memory is None:
            return self._made(self._by_text(self._call))
        try:
            return self._made(self._by_memory(self._call))
        except _FAILURES as error:
            self._give_up_memory(error)
            return self._made(self._by_text(self._call))
        except ContextOverflowError as error:  # the newest part of a memory is text too
            with suppress(ContextOverflowError):
                request = self._made(self._by_text(self._call))
                self._give_up_memory(error)
                return request
            raise

    def after(self, error: Exception) -> ModelRequest[Any]:
        """The request to try after ``error``, which is raised if there is none."""
        if (
            isinstance(error, ContextOverflowError)
            and self._overflows < _OVERFLOWS
            and self._tokens
        ):
            self._overflows += 1
            self._call = replace(self._call, limit=int(self._tokens * _LESS))
            return self.first()
        if not isinstance(error, _FAILURES) or self._by_memory is None:
            raise error
        self._give_up_memory(error)
        return self.first()

    def done(self, response: Any) -> Any:
        """``response``, which says what was out of the ordinary in ``degraded``."""
        if not self._notes:
            return response
        if isinstance(response, AIMessage):
            return self._noted(response)
        if isinstance(response, ModelResponse):
            result = [self._noted(m) if isinstance(m, AIMessage) else m for m in response.result]
            return replace(response, result=result)
        return replace(response, model_response=self.done(response.model_response))

    def _made(self, reader: Reader) -> ModelRequest[Any]:
        request = reader.fitted()
        self._tokens = reader.tokens
        return request

    def _give_up_memory(self, error: Exception) -> None:
        """Go on with text only, and tell; raises ``error`` if it is one of settings."""
        if isinstance(error, _SETTINGS):
            raise error
        self._by_memory = None
        note = f"visual memory was not read, the model was sent text only: {error}"
        _LOG.warning("thread %r: %s", self._call.thread, note)
        self._notes.append(note)

    def _noted(self, message: AIMessage) -> AIMessage:
        known = message.response_metadata.get("degraded", [])
        metadata = {**message.response_metadata, "degraded": [*known, *self._notes]}
        return message.model_copy(update={"response_metadata": metadata})
