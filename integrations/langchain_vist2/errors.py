"""The library's errors as LangChain's too: ``except`` of either kind catches them.

=============================================  =====================================
``vist2_memory.errors``                        ``langchain_core.exceptions``
=============================================  =====================================
``ContextOverflowError``                       ``ContextOverflowError``
``InvalidInputError``, ``InvalidMessageError`` ``ModelInvalidRequestError``
``InvalidScopeError``, ``ConflictError``       ``ModelInvalidRequestError``
``ModelNotFoundError``                         ``ModelNotFoundError``
``StoreUnavailableError``                      ``ModelConnectionError``, may be retried
``EngineUnavailableError``                     ``ModelConnectionError``, may be retried
``QuotaExceededError``                         ``ModelInvalidRequestError``
=============================================  =====================================

Others are raised as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core import exceptions as theirs

from vist2_memory import errors as ours


class ContextOverflowError(ours.ContextOverflowError, theirs.ContextOverflowError):
    """The text that must stay text exceeds the model's context."""


class InvalidMessageError(ours.InvalidMessageError, theirs.ModelInvalidRequestError):
    """A message is empty, too long, not valid text, or its role is unknown."""


class InvalidInputError(ours.InvalidInputError, theirs.ModelInvalidRequestError):
    """What the caller passed cannot be used."""


class InvalidScopeError(ours.InvalidScopeError, theirs.ModelInvalidRequestError):
    """A namespace or a session id is empty or too long."""


class ConflictError(ours.ConflictError, theirs.ModelInvalidRequestError):
    """The message list contradicts the session, or another writer changed it."""


class QuotaExceededError(ours.QuotaExceededError, theirs.ModelInvalidRequestError):
    """A namespace or a session has no room for what was to be stored."""


class ModelNotFoundError(ours.ModelNotFoundError, theirs.ModelNotFoundError):
    """There is no such model, or its folder lacks its parts."""


class StoreUnavailableError(ours.StoreUnavailableError, theirs.ModelConnectionError):
    """The store cannot be reached; nothing was acknowledged, and trying again may help."""


class EngineUnavailableError(ours.EngineUnavailableError, theirs.ModelConnectionError):
    """What decodes runs elsewhere and cannot be reached or failed; trying again may help."""


_BOTH: tuple[type[ours.Vist2Error], ...] = (
    ContextOverflowError,
    InvalidMessageError,
    InvalidInputError,
    InvalidScopeError,
    ConflictError,
    QuotaExceededError,
    ModelNotFoundError,
    StoreUnavailableError,
    EngineUnavailableError,
)


@contextmanager
def told_as_langchains() -> Iterator[None]:
    """Raise the library's errors as errors of both; they carry the same words and attributes."""
    try:
        yield
    except ours.Vist2Error as error:
        both = next((kind for kind in _BOTH if kind.__mro__[1] is type(error)), None)
        if both is None:
            raise
        found = both(*error.args)
        found.__dict__.update(error.__dict__)
        raise found.with_traceback(error.__traceback__) from error.__cause__
