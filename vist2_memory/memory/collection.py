"""A collection: documents that sessions can include in their context."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vist2_memory.errors import ConflictError, InvalidInputError
from vist2_memory.memory.recollection import Recollection
from vist2_memory.memory.search import Found, find
from vist2_memory.memory.validation import check_payload, check_text
from vist2_memory.store.base import Deleted, Scope
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import write_message
from vist2_memory.types import Chunk, Message

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory

_ATTEMPTS = 20
"""How often a removal is tried again after another writer came first."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known about it."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id of its text, under which it is stored; the same text has the same."""
        return chunk_id(self.text)


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
        return _documents(self._memory.store.read(self.scope))

    def only(self, ids: Iterable[str]) -> Collection:
        """Those documents that have these ids, read once, to be given as ``include``."""
        return _Part(self, frozenset(ids))

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
        if count := self._memory.store.count(self.scope):
            self._memory.store.read(self.scope, after=count - 1)  # refused before it is added to
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

    def remove_document(self, document: str) -> Document:
        """Take out the document with this text or id, and return it.

        Its chunks' tensors are dropped, but for those that another document has too. Raises
        ``InvalidInputError`` if there is no such document; nothing is changed then.
        """
        store, engine, token = self._memory.store, self._memory.engine, uuid.uuid4().hex
        for _ in range(_ATTEMPTS):
            log = store.snapshot(self.scope)
            place = _place_of(log.messages, document, self.name)
            removed = log.messages[place]
            others = [m for m in log.messages if m.id != removed.id]
            kept = {chunk.id for other in others for chunk in self._cut(other.text)}
            gone = [chunk.id for chunk in self._cut(removed.text) if chunk.id not in kept]
            # First, so that no tensor outlasts its text.
            self._memory.tensors.drop(engine, self.scope, gone)
            try:
                store.rewrite(
                    self.scope,
                    place,
                    others[place:],
                    expected=len(log.messages),
                    last=log.messages[-1].id,
                    revision=log.revision,
                    token=token,
                )
            except ConflictError:
                continue
            return Document(removed.text, removed.payload)
        raise ConflictError(
            f"collection {self.name!r}: other writers came first {_ATTEMPTS} times; nothing was "
            "removed, try again"
        )

    def search(self, text: str, *, limit: int = 20) -> list[Found]:
        """The documents in which all words of ``text`` occur; otherwise as `Session.search`."""
        return find(self._memory.store.read(self.scope), text, limit)

    def chunks(self) -> list[Chunk]:
        """The chunks of all documents, in order; the last one of each may be short."""
        return [chunk for document in self.documents() for chunk in self._cut(document.text)]

    def _cut(self, text: str) -> list[Chunk]:
        return self._memory.engine.chunker.cut_all(write_message("document", text))

    def recollect(self, chunks: Sequence[Chunk]) -> Recollection:
        """The visual tokens of ``chunks``, which are this collection's."""
        return self._memory.tensors.recollect(self._memory.engine, self.scope, chunks)

    def reseal(self) -> int:
        """:meth:`Session.reseal`, of a collection."""
        return self._memory.tensors.reseal(self._memory.engine, self.scope, self.chunks())

    def delete(self) -> Deleted:
        """Delete the collection, texts and tensors; what was deleted, in counts."""
        self._memory.tensors.flush(self.scope)
        self._memory.tensors.forget(self.scope)
        return self._memory.store.delete(self.scope)

    async def aadd_documents(self, documents: Iterable[str | Document], **options: Any) -> int:
        """:meth:`add_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.add_documents, documents, **options)

    async def aremove_document(self, document: str) -> Document:
        """:meth:`remove_document`, without blocking the event loop."""
        return await asyncio.to_thread(self.remove_document, document)

    async def asearch(self, text: str, *, limit: int = 20) -> list[Found]:
        """:meth:`search`, without blocking the event loop."""
        return await asyncio.to_thread(self.search, text, limit=limit)

    async def adocuments(self) -> list[Document]:
        """:meth:`documents`, without blocking the event loop; Redis is asked without a thread."""
        return _documents(await self._memory.async_store.read(self.scope))

    async def adelete(self) -> Deleted:
        """:meth:`delete`, without blocking the event loop; Redis is asked without a thread."""
        if self._memory.tensors.waiting(self.scope):
            return await asyncio.to_thread(self.delete)
        deleted = await self._memory.async_store.delete(self.scope)
        self._memory.tensors.forget(self.scope)  # at once, as none waits to be written
        return deleted


class _Part(Collection):
    """Some documents of a collection, as they were when it was made."""

    def __init__(self, whole: Collection, ids: frozenset[str]) -> None:
        super().__init__(whole._memory, whole.scope)
        self._documents = [document for document in whole.documents() if document.id in ids]

    def documents(self) -> list[Document]:
        return list(self._documents)

    async def adocuments(self) -> list[Document]:
        return self.documents()

    def search(self, text: str, *, limit: int = 20) -> list[Found]:
        entries = [Message("document", d.text, d.id, payload=d.metadata) for d in self._documents]
        return find(entries, text, limit)

    def chunks(self) -> list[Chunk]:
        return list(self._chunks)

    @cached_property
    def _chunks(self) -> list[Chunk]:
        return super().chunks()


def _documents(entries: Sequence[Message]) -> list[Document]:
    return [Document(entry.text, entry.payload) for entry in entries]


def _place_of(documents: Sequence[Message], document: str, collection: str) -> int:
    """Where the document of this text or id stands; a text comes before an id."""
    for wanted in (chunk_id(document), document):
        for place, message in enumerate(documents):
            if message.id == wanted:
                return place
    raise InvalidInputError(
        f"collection {collection!r} has no document {document[:60]!r}: give a text or an id of "
        "Collection.documents()"
    )
