"""``VisualRetriever``: the passages that a question is about, as documents of LangChain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import Field, PrivateAttr, model_validator

from langchain_vist2.documents.catalogue import Catalogue
from langchain_vist2.documents.ranking import ByEmbeddings, ByWords, Fused, Ranker, Ranking
from langchain_vist2.documents.vector_stores import ByVectorStore

if TYPE_CHECKING:
    from langchain_vist2.documents.visual_documents import VisualDocuments


class VisualRetriever(BaseRetriever):
    """Made by :meth:`VisualDocuments.as_retriever`.

    Each document that it returns is a chunk of the collection: its text, and in the metadata the
    source's metadata, ``document_id``, ``start_index`` and ``end_index`` (characters of the
    source's text), ``chunk_id`` and ``score``. The visual tokens of what it returns are held in
    this process then. ``retriever.invoke(query, k=2)`` returns another number.
    """

    documents: Any
    """The `VisualDocuments` that are searched."""
    k: int = Field(default=4, ge=1)
    """How many documents are returned, at most."""
    search: Literal["bm25", "vectors", "hybrid"] | None = None
    """By words, by vectors, or both, joined by reciprocal rank fusion. None: both, where there are
    vectors."""
    vectorstore: VectorStore | None = Field(default=None, repr=False)
    """Where the vectors are kept."""
    embeddings: Embeddings | None = Field(default=None, repr=False)
    """What makes vectors that are kept in this process, in place of a store."""
    warm: bool = True
    """Whether the visual tokens of what is returned are made ready."""

    _ranker: Ranker = PrivateAttr()

    @model_validator(mode="after")
    def _choose_ranker(self) -> VisualRetriever:
        given = [source for source in (self.vectorstore, self.embeddings) if source is not None]
        wants = {None: len(given), "bm25": 0, "vectors": 1, "hybrid": 1}[self.search]
        if len(given) != wants or wants > 1:
            raise ValueError(
                f"search={self.search!r} with {len(given)} of vectorstore and embeddings is not "
                "allowed: 'vectors' and 'hybrid' need one of them, 'bm25' none"
            )
        if not given or self.search != "vectors":
            import vist2_memory.selection.bm25  # noqa: F401  (raises where its package is missing)
        self._ranker = self._ranker_of(ByWords())
        return self

    def _ranker_of(self, words: Ranker) -> Ranker:
        vectors: Ranker
        if self.vectorstore is not None:
            vectors = ByVectorStore(self.vectorstore)
        elif self.embeddings is not None:
            vectors = ByEmbeddings(self.embeddings)
        else:
            return words
        return vectors if self.search == "vectors" else Fused(words, vectors)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        documents: VisualDocuments = self.documents
        catalogue = documents.catalogue()
        return self._found(catalogue, self._ranker.rank(catalogue, query, self._wanted(k)))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        documents: VisualDocuments = self.documents
        catalogue = await asyncio.to_thread(documents.catalogue)
        ranking = await self._ranker.arank(catalogue, query, self._wanted(k))
        return await asyncio.to_thread(self._found, catalogue, ranking)

    def _wanted(self, k: int | None) -> int:
        if k is not None and k < 1:
            raise ValueError(f"k={k!r} is not allowed: how many documents, at least 1")
        return self.k if k is None else k

    def _found(self, catalogue: Catalogue, ranking: Ranking) -> list[Document]:
        if self.warm:
            chunks = [catalogue.passages[place].chunk for place, _ in ranking]
            self.documents.collection.recollect(chunks)
        return [catalogue.document(place, score) for place, score in ranking]
