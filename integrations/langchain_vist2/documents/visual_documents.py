"""``VisualDocuments``: documents that a model reads as visual tokens, for retrieval and for chains.

They are a collection of a `VisualMemory`: added once by content, drawn, encoded and cached. A chain
has them in two ways: a retriever finds the passages that a question is about, and `stuff` chooses
as many as a budget of visual tokens holds, with citations back to the documents.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable
from langchain_core.vectorstores import VectorStore

from langchain_vist2.documents.catalogue import ID, Catalogue, id_of, own_metadata
from langchain_vist2.documents.retriever import VisualRetriever
from langchain_vist2.documents.stuffing import Stuffed, stuff, stuffing
from vist2_memory import Collection, VisualMemory
from vist2_memory import Document as StoredDocument
from vist2_memory.errors import InvalidInputError
from vist2_memory.selection import Policy


class VisualDocuments:
    """The documents of the collection ``name``, of a memory or of one that is opened for them.

    ``VisualDocuments(llm.memory, name="handbook")`` shares store and model with a `ChatVIST2`,
    which is what its chains need. Safe to use from several threads.
    """

    def __init__(
        self,
        memory: VisualMemory | None = None,
        *,
        name: str = "documents",
        store: str | None = None,
        **options: Any,
    ) -> None:
        """``store`` and ``options``: as `VisualMemory.open` takes them, where there is no
        ``memory``; then :meth:`close` closes it.
        """
        if memory is not None and (store is not None or options):
            raise InvalidInputError("give either a memory, or a store and options to open one with")
        self.memory = VisualMemory.open(store, **options) if memory is None else memory
        self._opened_here = memory is None
        self.collection: Collection = self.memory.collection(name)
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None

    # What is in it

    def add_documents(
        self,
        documents: Iterable[Document],
        *,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[str]:
        """Store documents that are not there yet, draw and encode them; the id of each.

        Idempotent by content: of the same text the first stays, with its metadata and id. A
        document with the ``id`` of one that is there and another text takes its place. The id of
        one without is that of its text. ``progress`` is called with the number done. Raises
        ``InvalidInputError`` for what cannot be stored, and for two texts under one id; none of the
        call is stored then.
        """
        wanted = list(documents)
        stored = [_stored(document) for document in wanted]
        texts = [document.id for document in stored]
        named = _named(wanted, texts)
        older = self._by_id()
        self.collection.add_documents(stored, progress=progress)
        self.collection.remove_documents({older[id] for id in named if id in older} - {*texts})
        there = {text: id for id, text in self._by_id().items()}
        return [there[text] for text in texts]

    def delete(self, ids: Sequence[str]) -> int:
        """Take out the documents with these ids, and their visual tokens; how many were there."""
        known = self._by_id()
        return len(self.collection.remove_documents({known[id] for id in ids if id in known}))

    def documents(self) -> list[Document]:
        """All documents, whole, in the order in which they were added."""
        return [_given(document) for document in self.collection.documents()]

    # What a chain has of it

    def as_retriever(
        self,
        *,
        k: int = 4,
        search: Literal["bm25", "vectors", "hybrid"] | None = None,
        vectorstore: VectorStore | None = None,
        embeddings: Embeddings | None = None,
        **options: Any,
    ) -> VisualRetriever:
        """A retriever of passages: by words (BM25), by a vector store or embeddings, or by both.

        A vector store is given the passages that it has not, under ids of their own; with
        embeddings alone the vectors are kept in this process. Without ``search`` both words and
        vectors are used, where there are vectors. BM25 needs the extra ``rag``.
        """
        return VisualRetriever(
            documents=self,
            k=k,
            search=search,
            vectorstore=vectorstore,
            embeddings=embeddings,
            **options,
        )

    def stuff(
        self,
        budget: int | None = None,
        question: str | None = None,
        *,
        selection: Policy | str | None = None,
        pins: Iterable[str] = (),
        among: Iterable[Document] | None = None,
    ) -> Stuffed:
        """As much of the documents as ``budget`` visual tokens hold; None: what the model reads.

        What is relevant to ``question`` comes first, and without one what was added last, unless
        ``selection`` chooses otherwise. ``pins``: ids of documents that are in it in any case.
        ``among``: only these passages, which a retriever found, the best first. Raises
        ``ContextOverflowError`` for pins that have no room.
        """
        pins = list(pins)
        known = self._by_id() if pins else {}
        pinned = frozenset(known.get(id, id) for id in pins)
        catalogue = self.catalogue()
        return stuff(self.collection, catalogue, budget, question, selection, pinned, among)

    def stuffing(
        self,
        llm: Runnable[LanguageModelInput, Any],
        budget: int | None = None,
        *,
        retriever: Runnable[str, list[Document]] | None = None,
        selection: Policy | str | None = None,
        pins: Iterable[str] = (),
    ) -> Runnable[LanguageModelInput, Any]:
        """``llm``, a `ChatVIST2`, with the documents before what it is asked: see :meth:`stuff`.

        It takes what a chat model takes, so it stands in a chain where the model would:
        ``prompt | documents.stuffing(llm, 2000) | StrOutputParser()``. The question is the last
        human message. With a ``retriever``, what that finds is read, and no more. What was read is
        told in ``response_metadata["citations"]`` of the answer.
        """
        return stuffing(self, llm, budget, retriever, selection, tuple(pins))

    def include(self, found: Iterable[Document]) -> list[Collection]:
        """What a retriever found, for the call option ``include`` of a `ChatVIST2`."""
        return [self.collection.excerpt(self.catalogue().passages_of(found))]

    def catalogue(self) -> Catalogue:
        """The passages as they are now; while nothing changes, the same catalogue."""
        passages = self.collection.passages()
        with self._lock:
            if self._catalogue is None or self._catalogue.passages is not passages:
                self._catalogue = Catalogue(self.collection.scope, passages)
            return self._catalogue

    def close(self) -> None:
        """Close the memory, if it was opened here."""
        if self._opened_here:
            self.memory.close()

    # Async twins

    async def aadd_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """:meth:`add_documents`, without blocking the event loop."""
        return await asyncio.to_thread(self.add_documents, documents, **options)

    async def adelete(self, ids: Sequence[str]) -> int:
        """:meth:`delete`, without blocking the event loop."""
        return await asyncio.to_thread(self.delete, ids)

    async def adocuments(self) -> list[Document]:
        """:meth:`documents`, without blocking the event loop; Redis is asked without a thread."""
        return [_given(document) for document in await self.collection.adocuments()]

    async def astuff(
        self, budget: int | None = None, question: str | None = None, **options: Any
    ) -> Stuffed:
        """:meth:`stuff`, without blocking the event loop."""
        return await asyncio.to_thread(self.stuff, budget, question, **options)

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def _by_id(self) -> dict[str, str]:
        """The ids under which documents are stored, by those that they are known by."""
        return {id_of(d.id, d.metadata): d.id for d in self.collection.documents()}


def _named(documents: Sequence[Document], texts: Sequence[str]) -> dict[str, str]:
    """Which text, by its id, has each id that was given."""
    named: dict[str, str] = {}
    for document, text in zip(documents, texts, strict=True):
        if document.id is not None and named.setdefault(document.id, text) != text:
            raise InvalidInputError(
                f"two documents of one call have the id {document.id!r}: give each its own"
            )
    return named


def _stored(document: Document) -> StoredDocument:
    metadata: Mapping[str, Any] = document.metadata
    if ID in metadata:
        raise InvalidInputError(
            f"metadata may not have the key {ID!r}, which keeps the id of a document: call it "
            "something else"
        )
    own = {ID: document.id} if document.id is not None else {}
    return StoredDocument(document.page_content, {**metadata, **own})


def _given(document: StoredDocument) -> Document:
    known = document.metadata
    id = id_of(document.id, known)
    return Document(document.text, id=id, metadata=own_metadata(known))
