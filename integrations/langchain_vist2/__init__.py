"""LangChain on visual memory: ``from langchain_vist2 import ChatVIST2``.

The public names are loaded when they are first used. Nothing here loads torch before a model is
needed for an answer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_vist2.agents.middleware import VisualMemoryMiddleware
    from langchain_vist2.chat.model import ChatVIST2
    from langchain_vist2.documents.retriever import VisualRetriever
    from langchain_vist2.documents.visual_documents import VisualDocuments
    from langchain_vist2.history.message_history import Vist2ChatMessageHistory
    from langchain_vist2.history.visual_history import VisualHistory
    from langchain_vist2.reference import VisualContext

_HOME = {
    "ChatVIST2": "langchain_vist2.chat.model",
    "Vist2ChatMessageHistory": "langchain_vist2.history.message_history",
    "VisualContext": "langchain_vist2.reference",
    "VisualDocuments": "langchain_vist2.documents.visual_documents",
    "VisualHistory": "langchain_vist2.history.visual_history",
    "VisualMemoryMiddleware": "langchain_vist2.agents.middleware",
    "VisualRetriever": "langchain_vist2.documents.retriever",
}

__all__ = [
    "ChatVIST2",
    "Vist2ChatMessageHistory",
    "VisualContext",
    "VisualDocuments",
    "VisualHistory",
    "VisualMemoryMiddleware",
    "VisualRetriever",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
