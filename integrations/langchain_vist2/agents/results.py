"""The results of tools that are too large, as documents of their thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from langchain_vist2.agents.following import session_name
from langchain_vist2.agents.mirrored import as_message
from langchain_vist2.agents.stubs import documents
from vist2_memory.memory import Collection, Document, VisualMemory

_SHELVES = 64
"""Selections of documents that are held, read and cut already."""


def collection_of(memory: VisualMemory, thread: str) -> Collection:
    """Where the results of ``thread`` are, those of its branches too."""
    return memory.collection(f"{session_name(thread)}/results")


class Results:
    """The collections of results of all threads of a memory."""

    def __init__(self, memory: VisualMemory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._shelves: OrderedDict[tuple[str, frozenset[str]], Collection] = OrderedDict()

    def shelf(self, thread: str, messages: Sequence[BaseMessage]) -> tuple[Collection, ...]:
        """What ``messages`` say, and nothing else of their thread, as documents to be included.

        Those that are not stored yet, or not any more, are.
        """
        wanted = [document for message in messages for document in _documents(message)]
        if not wanted:
            return ()
        key = (thread, frozenset(document.id for document in wanted))
        with self._lock:
            if (known := self._shelves.get(key)) is not None:
                self._shelves.move_to_end(key)
                return (known,)
        books = collection_of(self._memory, thread)
        found = books.only(key[1])
        if len(found.documents()) < len(key[1]):
            books.add_documents(wanted)
            found = books.only(key[1])
        with self._lock:
            self._shelves[key] = found
            while len(self._shelves) > _SHELVES:
                self._shelves.popitem(last=False)
        return (found,)

    def forget(self, thread: str) -> None:
        """Hold nothing of ``thread`` any more: it was deleted."""
        with self._lock:
            for key in [key for key in self._shelves if key[0] == thread]:
                del self._shelves[key]


def _documents(message: BaseMessage) -> list[Document]:
    name = message.name
    return documents(as_message(message).text, {"tool": name} if name else {})
