"""The exceptions of vist2_memory.

A *miss* (a tensor that is not cached, or not usable) is no exception: the tensor is encoded again
from the text. What is broken, contradictory or badly asked for is one of these::

    Vist2Error
    ├── InvalidInputError (ValueError)      what the caller passed cannot be used
    │   ├── InvalidMessageError             empty, too long, not text, or of an unknown role
    │   ├── InvalidScopeError               a name of a namespace or session is not allowed
    │   └── ContextOverflowError            the question alone is longer than the model can take
    ├── ModelError                          a model cannot be loaded or does not fit its parts
    │   └── ModelNotFoundError              no such model, or a folder without its parts
    ├── EncodingError                       a model that was loaded failed to make visual tokens
    ├── EngineUnavailableError              what decodes is elsewhere, and is away or failed
    ├── StoreError                          the place where messages are kept failed
    │   ├── StoreURLError (ValueError)      a store URL with an unknown scheme or a bad form
    │   ├── StoreUnavailableError           cannot be reached, opened or written
    │   ├── StoreFormatError                holds something that is not ours, or of another version
    │   ├── AnswerNotLoggedError            an answer was generated and neither logged nor kept
    │   ├── LogLostError                    messages that were acknowledged are gone
    │   ├── QuotaExceededError              no room left for what was to be stored
    │   ├── SealedError                     signed or encrypted under a key that was not given
    │   ├── TamperedError                   a message is not what was written there with the key
    │   └── ConflictError                   another writer changed the session in between
    └── CodecError                          stored bytes are refused: damaged or of another scope
        └── FingerprintMismatchError        a good tensor, but made by another model

and one warning::

    StoreWarning (UserWarning)              a store works, but may lose something, or is half away

Every message says what was wrong, with which value, and what to do.
"""

from __future__ import annotations


class Vist2Error(Exception):
    """Base class of every error that this library raises on purpose."""


class InvalidInputError(Vist2Error, ValueError):
    """What the caller passed cannot be used; nothing was stored or changed."""


class InvalidMessageError(InvalidInputError):
    """A message is empty, too long, not valid text, or its role is unknown."""


class InvalidScopeError(InvalidInputError):
    """A namespace, session id or collection name is empty or too long."""


class ContextOverflowError(InvalidInputError):
    """The text that must stay text (system prompt, tail, question) exceeds the model's context."""


class ModelError(Vist2Error):
    """A model cannot be loaded, or its parts do not fit together."""


class ModelNotFoundError(ModelError):
    """There is no such bundled model, or the folder lacks its configuration or weights."""


class EncodingError(Vist2Error):
    """A model failed to make visual tokens, as one that is out of memory; the text is not lost."""


class EngineUnavailableError(Vist2Error):
    """What decodes runs elsewhere and cannot be reached, refused, or failed; trying again may help.

    The question that was asked is logged and stays unanswered.
    """


class StoreError(Vist2Error):
    """The place where messages and tensors are kept failed."""


class StoreURLError(StoreError, ValueError):
    """The store URL has an unknown scheme or a bad form."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached, opened or written. Nothing was acknowledged.

    ``retry_after``: seconds for which further calls are refused without trying, if that is known.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreFormatError(StoreError):
    """The store holds something that is not ours, or a schema version this release cannot read."""


class LogLostError(StoreError):
    """Messages that had been acknowledged are missing from the log (evicted or cut by others)."""


class QuotaExceededError(StoreError):
    """A namespace or a session has no room for what was to be stored; nothing of it was."""


class SealedError(StoreError):
    """What is stored is signed or encrypted, and the key for it was not given. Nothing is lost."""


class TamperedError(StoreError):
    """A message was planted, changed, moved, or written without the key that guards the store."""


class AnswerNotLoggedError(StoreError):
    """An answer was generated, and neither the log nor an outbox took it; ``text`` is all of it.

    Asking again under the same ``turn`` does not log the question twice.
    """

    def __init__(self, message: str, *, text: str = "", turn: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.turn = turn


class ConflictError(StoreError):
    """Another writer changed the session since it was read; read it again and retry."""


class CodecError(Vist2Error):
    """Stored tensor bytes are refused: damaged, truncated, or written for another scope or key."""


class FingerprintMismatchError(CodecError):
    """The tensor is intact but was made by another model, geometry, font or codec version."""


class StoreWarning(UserWarning):
    """Told when a memory is opened: its store may evict logs, or its tensors are out of reach."""
