"""The documents of one collection as this process knows them: read once, cut once.

The log is asked each time what is new, so what other writers add or remove is seen at once. What
was read stays until the collection is no longer used.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vist2_memory.engine.base import Engine
from vist2_memory.memory.validation import check_payload, check_text
from vist2_memory.store.base import Scope, Store
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import ESCAPE, write_message
from vist2_memory.types import Chunk, Message


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known about it."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of its text, under which it is stored; the same text has the same."""
        return chunk_id(self.text)


@dataclass(frozen=True, slots=True)
class Passage:
    """What one chunk stands for: characters ``start`` to ``end`` of a document's own text.

    The passages of a document follow each other without a gap and cover all of it.
    """

    chunk: Chunk
    document: Document
    document_id: str
    start: int
    end: int

    @property
    def key(self) -> tuple[str, int]:
        """What no two passages of a collection have in common."""
        return self.document_id, self.chunk.start

    @property
    def text(self) -> str:
        """The text as it stands in the document."""
        return self.document.text[self.start : self.end]


def entry_of(document: Document) -> Message:
    """``document`` as it is logged; raises ``InvalidMessageError`` if it cannot be."""
    text = check_text(document.text, "document")
    metadata = check_payload(document.metadata)
    return Message("document", text, chunk_id(text), time=time.time(), payload=metadata)


def cut(engine: Engine, entry: Message) -> tuple[Chunk, ...]:
    """What a logged document is cut into for ``engine``; the last chunk may be short."""
    return tuple(engine.chunker.cut_all(write_message("document", entry.text)))


class Shelf:
    """The documents of ``scope`` in ``store``, cut for the engine that ``engine`` gives."""

    def __init__(self, store: Store, scope: Scope, engine: Callable[[], Engine]) -> None:
        self._store, self._scope, self._engine = store, scope, engine
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Hold nothing."""
        with self._lock:
            self._revision = 0
            self._messages: list[Message] = []
            self._chunks: dict[str, tuple[Chunk, ...]] = {}
            self._passages: list[Passage] = []
            self._laid_out = 0  # how many messages `_passages` is of

    def messages(self) -> list[Message]:
        """The documents as they are logged now."""
        with self._lock:
            known = self._messages
            log = self._store.snapshot(self._scope, after=max(0, len(known) - 1))
            new = log.messages
            # Compared whole: a collection that was deleted and filled again has the same ids.
            if known and (log.revision != self._revision or not new or new[0] != known[-1]):
                self._messages, self._passages, self._laid_out = [], [], 0
                messages = self.messages()
                there = {message.id for message in messages}
                self._chunks = {id: cut for id, cut in self._chunks.items() if id in there}
                return messages
            self._revision = log.revision
            self._messages = known + (new[1:] if known else new)
            return self._messages

    def chunks_of(self, message: Message) -> tuple[Chunk, ...]:
        """What the document is cut into; the last chunk may be short."""
        with self._lock:
            if message.id not in self._chunks:
                self._chunks[message.id] = cut(self._engine(), message)
            return self._chunks[message.id]

    def passages(self) -> list[Passage]:
        """The passages of all documents, in order; while nothing changes, the same list."""
        with self._lock:
            messages = self.messages()
            new = messages[self._laid_out :]
            if new:
                added = [passage for message in new for passage in self._lay_out(message)]
                self._passages, self._laid_out = self._passages + added, len(messages)
            return self._passages

    def _lay_out(self, message: Message) -> list[Passage]:
        document = Document(message.text, message.payload)
        written, passages, start = write_message("document", message.text), [], 0
        for chunk in self.chunks_of(message):
            end = _own_offset(written, chunk.start + len(chunk.text))
            passages.append(Passage(chunk, document, message.id, start, end))
            start = end
        return passages


def _own_offset(written: str, offset: int) -> int:
    """The place in a document's own text that is ``offset`` in what is written down of it.

    There it has its mark before it, and an escape in front of each reserved character.
    """
    return offset - 1 - written.count(ESCAPE, 1, offset)
