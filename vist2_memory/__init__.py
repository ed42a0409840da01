"""vist2_memory: long-context memory for chat models, kept as visual tokens.

The public names, loaded when they are first used: importing this package loads neither torch nor
transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vist2_memory.errors import (
        AnswerNotLoggedError,
        CodecError,
        ConflictError,
        ContextOverflowError,
        EncodingError,
        EngineUnavailableError,
        FingerprintMismatchError,
        InvalidInputError,
        InvalidMessageError,
        InvalidScopeError,
        LogLostError,
        ModelError,
        ModelNotFoundError,
        QuotaExceededError,
        SealedError,
        StoreError,
        StoreFormatError,
        StoreUnavailableError,
        StoreURLError,
        StoreWarning,
        TamperedError,
        Vist2Error,
    )
    from vist2_memory.memory import (
        Collection,
        Document,
        Excerpt,
        Passage,
        Session,
        VisualMemory,
    )
    from vist2_memory.store import Quota
    from vist2_memory.types import (
        Chunk,
        ChunkFolded,
        ChunkUse,
        Finished,
        GenerationEvent,
        GenerationParams,
        LeftOut,
        Message,
        TextDelta,
        Timing,
        Usage,
        VisualTokens,
    )

__version__ = "0.1.0"

_HOMES = {
    "vist2_memory.errors": (
        "AnswerNotLoggedError",
        "CodecError",
        "ConflictError",
        "ContextOverflowError",
        "EncodingError",
        "EngineUnavailableError",
        "FingerprintMismatchError",
        "InvalidInputError",
        "InvalidMessageError",
        "InvalidScopeError",
        "LogLostError",
        "ModelError",
        "ModelNotFoundError",
        "QuotaExceededError",
        "SealedError",
        "StoreError",
        "StoreFormatError",
        "StoreURLError",
        "StoreUnavailableError",
        "TamperedError",
        "StoreWarning",
        "Vist2Error",
    ),
    "vist2_memory.memory": (
        "Collection",
        "Document",
        "Excerpt",
        "Passage",
        "Session",
        "VisualMemory",
    ),
    "vist2_memory.store": ("Quota",),
    "vist2_memory.types": (
        "Chunk",
        "ChunkFolded",
        "ChunkUse",
        "Finished",
        "GenerationEvent",
        "GenerationParams",
        "LeftOut",
        "Message",
        "TextDelta",
        "Timing",
        "Usage",
        "VisualTokens",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnswerNotLoggedError",
    "Chunk",
    "ChunkFolded",
    "ChunkUse",
    "CodecError",
    "Collection",
    "ConflictError",
    "ContextOverflowError",
    "Document",
    "EncodingError",
    "EngineUnavailableError",
    "Excerpt",
    "FingerprintMismatchError",
    "Finished",
    "GenerationEvent",
    "GenerationParams",
    "InvalidInputError",
    "InvalidMessageError",
    "InvalidScopeError",
    "LeftOut",
    "LogLostError",
    "Message",
    "ModelError",
    "ModelNotFoundError",
    "Passage",
    "Quota",
    "QuotaExceededError",
    "SealedError",
    "Session",
    "StoreError",
    "StoreFormatError",
    "StoreURLError",
    "StoreUnavailableError",
    "StoreWarning",
    "TamperedError",
    "TextDelta",
    "Timing",
    "Usage",
    "Vist2Error",
    "VisualMemory",
    "VisualTokens",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
