"""The stages joined: text, sketches, visual tokens, store, context, answer."""

from vist2_memory.memory.collection import Collection, Excerpt
from vist2_memory.memory.memory import VisualMemory
from vist2_memory.memory.search import Found
from vist2_memory.memory.session import Session
from vist2_memory.memory.shelf import Document, Passage

__all__ = ["Collection", "Document", "Excerpt", "Found", "Passage", "Session", "VisualMemory"]
