"""Passages found by a vector store of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_vist2.documents.catalogue import Catalogue
from langchain_vist2.documents.ranking import Ranking

AT_ONCE = 256
"""Passages that are given to a vector store in one call."""
DEEPEST = 64
"""How many times more is looked for where a store finds what is not of the collection."""
_KEY = "vist2_id"
"""The key of a passage's metadata in the store that has its id, since not all stores tell ids."""


class ByVectorStore:
    """A vector store of the user's, which is given the passages that it has not, under their ids.

    What else is in the store does not matter. Passages that left the collection are deleted from it
    by the process that put them there, and passed over by others.
    """

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._known: set[str] = set()

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        for ids in _parts([id for id in catalogue.ids if id not in self._known]):
            there = self._there(ids)
            if missing := [id for id in ids if id not in there]:
                self._store.add_documents(_entries(catalogue, missing), ids=missing)
            self._known.update(ids)
        if gone := sorted(self._known - catalogue.places.keys()):
            self._store.delete(gone)
            self._known.difference_update(gone)
        wanted = k
        while True:
            found = self._search(query, wanted)
            ranking = _places(catalogue, found)
            if len(ranking) >= k or len(found) < wanted or wanted > DEEPEST * k:
                return ranking[:k]
            wanted *= 2  # the store has other passages too

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        for ids in _parts([id for id in catalogue.ids if id not in self._known]):
            there = await self._athere(ids)
            if missing := [id for id in ids if id not in there]:
                await self._store.aadd_documents(_entries(catalogue, missing), ids=missing)
            self._known.update(ids)
        if gone := sorted(self._known - catalogue.places.keys()):
            await self._store.adelete(gone)
            self._known.difference_update(gone)
        wanted = k
        while True:
            found = await self._asearch(query, wanted)
            ranking = _places(catalogue, found)
            if len(ranking) >= k or len(found) < wanted or wanted > DEEPEST * k:
                return ranking[:k]
            wanted *= 2

    def _there(self, ids: list[str]) -> set[str | None]:
        try:
            return {document.id for document in self._store.get_by_ids(ids)}
        except NotImplementedError:
            return set()  # put there again under the same ids

    async def _athere(self, ids: list[str]) -> set[str | None]:
        try:
            return {document.id for document in await self._store.aget_by_ids(ids)}
        except NotImplementedError:
            return set()

    def _search(self, query: str, k: int) -> list[tuple[Document, float | None]]:
        try:
            return [*self._store.similarity_search_with_score(query, k=k)]
        except NotImplementedError:
            return [(found, None) for found in self._store.similarity_search(query, k=k)]

    async def _asearch(self, query: str, k: int) -> list[tuple[Document, float | None]]:
        try:
            return [*await self._store.asimilarity_search_with_score(query, k=k)]
        except NotImplementedError:
            found = await self._store.asimilarity_search(query, k=k)
            return [(document, None) for document in found]


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]


def _entries(catalogue: Catalogue, ids: Sequence[str]) -> list[Document]:
    """Passages as they are put into a vector store: found by their text, known by their id."""
    texts, places = catalogue.texts, catalogue.places
    return [Document(texts[places[id]], id=id, metadata={_KEY: id}) for id in ids]


def _places(catalogue: Catalogue, found: Sequence[tuple[Document, Any]]) -> Ranking:
    """Those of ``found`` that are passages of the catalogue, each once."""
    ranking: dict[int, float | None] = {}
    for document, score in found:
        place = catalogue.places.get(document.metadata.get(_KEY, document.id or ""))
        if place is not None:
            ranking.setdefault(place, None if score is None else float(score))
    return list(ranking.items())
