"""The stages joined: text, sketches, visual tokens, store, context, answer."""

from vist2_memory.memory.collection import Collection, Document
from vist2_memory.memory.memory import VisualMemory
from vist2_memory.memory.search import Found
from vist2_memory.memory.session import Session

__all__ = ["Collection", "Document", "Found", "Session", "VisualMemory"]
