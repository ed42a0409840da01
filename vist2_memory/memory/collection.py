"""A collection: documents that sessions can include in their context."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vist2_memory.errors import ConflictError
from vist2_memory.memory.recollection import Recollection
from vist2_memory.memory.validation import check_payload, check_text
from vist2_memory.store.base import Deleted, Scope
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import write_message
from vist2_memory.types import Chunk, Message

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known about it."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Collection:
    """Documents under one name. Made by :meth:`VisualMemory.collection`."""

    def __init__(self, memory: VisualMemory, scope: Scope) -> None:
        self._memory = memory
        self.scope = scope

    @property
    def name(self) -> str:
        """The name as it was given."""
        return self.scope.name

    def documents(self) -> list[Document]:
        """All documents, verbatim, in the order in which they were added."""
        return [Document(m.text, m.payload) for m in self._memory.store.read(self.scope)]

    def add_documents(
        self,
        documents: Iterable[str | Document],
        *,
        progress: Callable[[int], None] = lambda done: None,
    ) -> int:
        """Store documents that are not there yet, draw and encode them; how many were new.

        Idempotent by content. ``progress`` is called with the number done after each. Raises
        ``InvalidMessageError`` for one that cannot be stored; none of the call is stored then.
        """
        wanted = [d if isinstance(d, Document) else Document(d) for d in documents]
        entries = [self._entry(document) for document in wanted]
        new = 0
        for done, entry in enumerate(entries, 1):
            new += self._add(entry)
            self._memory.tensors.prepare(self._memory.engine, self.scope, self._cut(entry.text))
            progress(done)
        return new

    def _entry(self, document: Document) -> Message:
        """``document`` as it is logged; raises ``InvalidMessageError`` if it cannot be."""
        text = check_text(document.text, "document")
        metadata = check_payload(document.metadata)
        return Message("document", text, chunk_id(text), time=time.time(), payload=metadata)

    def _add(self, entry: Message) -> bool:
        """Log a document; False when it was there."""
        before = self._memory.store.count(self.scope)
        try:
            return self._memory.store.append(self.scope, [entry]) > before
        except ConflictError:
            return False  # the same text under other metadata: the first stays

    def chunks(self) -> list[Chunk]:
        """The chunks of all documents, in order; the last one of each may be short."""
        return [chunk for document in self.documents() for chunk in self._cut(document.text)]

    def _cut(self, text: str) -> list[Chunk]:
        return self._memory.engine.chunker.cut_all(write_message("document", text))

    def recollect(self, chunks: Sequence[Chunk]) -> Recollection:
        """The visual tokens of ``chunks``, which are this collection's."""
        return self._memory.tensors.recollect(self._memory.engine, self.scope, chunks)

    def delete(self) -> Deleted:
        """Delete the collection, texts and tensors; what was deleted, in counts."""
        self._memory.tensors.flush(self.scope)
        self._memory.tensors.forget(self.scope)
        return self._memory.store.delete(self.scope)

    async def aadd_documents(self, documents: Iterable[str | Document], **options: Any) -> int:
        """:meth:`add_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.add_documents, documents, **options)

    async def adelete(self) -> Deleted:
        """:meth:`delete`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete)
