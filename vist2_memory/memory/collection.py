"""A collection: documents that sessions can include in their context."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vist2_memory.engine.base import Engine
from vist2_memory.errors import ConflictError, InvalidInputError
from vist2_memory.memory.recollection import Recollection
from vist2_memory.memory.search import Found, find
from vist2_memory.memory.shelf import Document, Passage, Shelf, entry_of
from vist2_memory.store.base import Deleted, Scope, Store
from vist2_memory.text.chunking import chunk_id
from vist2_memory.types import Chunk, Message

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory

_ATTEMPTS = 20
"""How often a removal is tried again after another writer came first."""


class Collection:
    """Documents under one name. Made by :meth:`VisualMemory.collection`."""

    def __init__(self, memory: VisualMemory, scope: Scope, shelf: Shelf | None = None) -> None:
        self._memory = memory
        self.scope = scope
        self._shelf = shelf or Shelf(memory.store, scope, lambda: memory.engine)

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._memory.store

    @property
    def engine(self) -> Engine:
        """What it is cut and encoded for, loaded at the first use."""
        return self._memory.engine

    @property
    def name(self) -> str:
        """The name as it was given."""
        return self.scope.name

    def documents(self) -> list[Document]:
        """All documents, verbatim, in the order in which they were added."""
        return _documents(self._shelf.messages())

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
        entries = [entry_of(document) for document in wanted]
        there = {message.id for message in self._shelf.messages()}
        new = 0
        for done, entry in enumerate(entries, 1):
            new += entry.id not in there and self._add(entry)
            chunks = self._shelf.chunks_of(entry)
            self._memory.tensors.prepare(self.engine, self.scope, chunks)
            progress(done)
        return new

    def log_documents(self, documents: Iterable[str | Document]) -> int:
        """Store documents that are not there yet, and draw nothing; how many were new.

        For those that were encoded elsewhere. Nothing that is there is read. Otherwise as
        :meth:`add_documents`.
        """
        first: dict[str, Message] = {}
        for document in documents:
            entry = entry_of(document if isinstance(document, Document) else Document(document))
            first.setdefault(entry.id, entry)
        entries = list(first.values())
        before = self.store.count(self.scope)
        try:
            return self.store.append(self.scope, entries) - before
        except ConflictError:  # one is there under other metadata: the others are added
            return sum(map(self._add, entries))

    def _add(self, entry: Message) -> bool:
        """Log a document; False when it was there."""
        before = self.store.count(self.scope)
        try:
            return self.store.append(self.scope, [entry]) > before
        except ConflictError:
            return False  # the same text under other metadata: the first stays

    def remove_document(self, document: str) -> Document:
        """Take out the document with this text or id, and return it. See `remove_documents`."""
        return self.remove_documents([document])[0]

    def remove_documents(self, documents: Iterable[str]) -> list[Document]:
        """Take out the documents with these texts or ids, in one step, and return them.

        Their chunks' tensors are dropped, but for those that another document has too. Raises
        ``InvalidInputError`` if there is no such document; nothing is changed then.
        """
        wanted, token = list(documents), uuid.uuid4().hex
        for _ in range(_ATTEMPTS if wanted else 0):
            log = self.store.snapshot(self.scope)
            places = _places(log.messages, wanted, self.name)
            removed = [log.messages[place] for place in places]
            gone = {message.id for message in removed}
            others = [message for message in log.messages if message.id not in gone]
            kept = {chunk.id for other in others for chunk in self._shelf.chunks_of(other)}
            chunks = {chunk.id for one in removed for chunk in self._shelf.chunks_of(one)}
            # First, so that no tensor outlasts its text.
            self._memory.tensors.drop(self.engine, self.scope, sorted(chunks - kept))
            try:
                self.store.rewrite(
                    self.scope,
                    places[0],
                    others[places[0] :],
                    expected=len(log.messages),
                    last=log.messages[-1].id,
                    revision=log.revision,
                    token=token,
                )
            except ConflictError:
                continue
            self._shelf.messages()  # holds no more of them
            return _documents(removed)
        if not wanted:
            return []
        raise ConflictError(
            f"collection {self.name!r}: other writers came first {_ATTEMPTS} times; nothing was "
            "removed, try again"
        )

    def search(self, text: str, *, limit: int = 20) -> list[Found]:
        """The documents in which all words of ``text`` occur; otherwise as `Session.search`."""
        return find(self._shelf.messages(), text, limit)

    def chunks(self) -> list[Chunk]:
        """The chunks of all documents, in order; the last one of each may be short."""
        return [passage.chunk for passage in self.passages()]

    def passages(self) -> list[Passage]:
        """What each chunk stands for, in order; while nothing changes, the very same list.

        It is made anew only of what is new: documents are cut once in a process.
        """
        return self._shelf.passages()

    def only(self, ids: Iterable[str]) -> Collection:
        """The documents that have these ids, to be included in place of the whole collection."""
        return Excerpt(self, documents=frozenset(ids))

    def excerpt(self, passages: Iterable[Passage]) -> Collection:
        """These passages alone, to be included in place of the whole collection."""
        return Excerpt(self, keys=frozenset(passage.key for passage in passages))

    def joined(self, other: Collection) -> Collection:
        """All of it, whatever ``other`` has of it."""
        return self

    def recollect(self, chunks: Sequence[Chunk]) -> Recollection:
        """The visual tokens of ``chunks``, which are this collection's."""
        return self._memory.tensors.recollect(self.engine, self.scope, chunks)

    def reseal(self) -> int:
        """:meth:`Session.reseal`, of a collection."""
        return self._memory.tensors.reseal(self.engine, self.scope, self.chunks())

    def delete(self) -> Deleted:
        """Delete the collection, texts and tensors; what was deleted, in counts."""
        self._memory.tensors.flush(self.scope)
        self._memory.tensors.forget(self.scope)
        deleted = self.store.delete(self.scope)
        self._shelf.forget()
        return deleted

    async def aadd_documents(self, documents: Iterable[str | Document], **options: Any) -> int:
        """:meth:`add_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.add_documents, documents, **options)

    async def aremove_document(self, document: str) -> Document:
        """:meth:`remove_document`, without blocking the event loop."""
        return await asyncio.to_thread(self.remove_document, document)

    async def aremove_documents(self, documents: Iterable[str]) -> list[Document]:
        """:meth:`remove_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.remove_documents, documents)

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
        self._shelf.forget()
        return deleted


class Excerpt(Collection):
    """Made by :meth:`Collection.only` and :meth:`Collection.excerpt`; goes where a collection does.

    It names documents and passages and holds none: what is taken out of the collection is no longer
    in it. What is written to it is written to the collection.
    """

    def __init__(
        self,
        whole: Collection,
        documents: frozenset[str] = frozenset(),
        keys: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """The documents with these ids, and passages that have these keys, of ``whole``."""
        super().__init__(whole._memory, whole.scope, whole._shelf)
        self._ids, self._keys = documents, keys

    def passages(self) -> list[Passage]:
        """Those that are still there, in the order of the collection."""
        ids, keys = self._ids, self._keys
        return [p for p in super().passages() if p.document_id in ids or p.key in keys]

    def documents(self) -> list[Document]:
        """The documents of which something is in it."""
        return _documents(self._messages())

    async def adocuments(self) -> list[Document]:
        """:meth:`documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.documents)

    def search(self, text: str, *, limit: int = 20) -> list[Found]:
        """As :meth:`Collection.search`, in :meth:`documents`."""
        return find(self._messages(), text, limit)

    def only(self, ids: Iterable[str]) -> Collection:
        """As :meth:`Collection.only`, of what is in it."""
        wanted = frozenset(ids)
        return self.excerpt(p for p in self.passages() if p.document_id in wanted)

    def joined(self, other: Collection) -> Collection:
        """What is in one or the other, which is of the same collection."""
        if not isinstance(other, Excerpt):
            return other
        return Excerpt(self, self._ids | other._ids, self._keys | other._keys)

    def _messages(self) -> list[Message]:
        ids = self._ids | {document for document, _ in self._keys}
        return [message for message in self._shelf.messages() if message.id in ids]


def _documents(entries: Sequence[Message]) -> list[Document]:
    return [Document(entry.text, entry.payload) for entry in entries]


def _places(documents: Sequence[Message], wanted: Iterable[str], collection: str) -> list[int]:
    """Where the documents of these texts or ids stand, in order; a text comes before an id."""
    known = {message.id: place for place, message in enumerate(documents)}
    places = set()
    for one in wanted:
        place = known.get(chunk_id(one), known.get(one))
        if place is None:
            raise InvalidInputError(
                f"collection {collection!r} has no document {one[:60]!r}: give a text or an id of "
                "Collection.documents()"
            )
        places.add(place)
    return sorted(places)
