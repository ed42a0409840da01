"""Which passages a question is about: by words, by vectors, or by both.

A ranking is a list of places in a `Catalogue` with what they scored, the best first. Each ranker is
asked with the catalogue of the moment and sees to it that what it keeps is of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

from langchain_vist2.catalogue import Catalogue

Ranking: TypeAlias = list[tuple[int, float | None]]

AT_ONCE = 256
"""Passages that are given to an embedding model in one call."""
FLAT = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): the higher, the flatter."""


class Ranker(Protocol):
    """``k`` at most, the best first."""

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking: ...

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking: ...


class ByWords:
    """BM25; a passage without any word of the query is not found."""

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        return _best(catalogue.words.scores(query), k, above=0.0)

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        return await asyncio.to_thread(self.rank, catalogue, query, k)


class ByEmbeddings:
    """Cosine similarity of vectors that are made by ``embeddings`` and kept in this process."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}  # by chunk id: by text, that is
        self._matrix: tuple[Catalogue, npt.NDArray[np.float32]] | None = None

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        for ids, texts in self._missing(catalogue):
            self._keep(ids, self._embeddings.embed_documents(texts))
        return self._rank(catalogue, self._embeddings.embed_query(query), k)

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        for ids, texts in self._missing(catalogue):
            self._keep(ids, await self._embeddings.aembed_documents(texts))
        vector = await self._embeddings.aembed_query(query)
        return await asyncio.to_thread(self._rank, catalogue, vector, k)

    def _missing(self, catalogue: Catalogue) -> list[tuple[list[str], list[str]]]:
        """The chunk ids and texts that have no vector yet, some at a time."""
        if self._matrix is not None and self._matrix[0] is catalogue:
            return []
        chunks = (passage.chunk.id for passage in catalogue.passages)
        pairs = dict(zip(chunks, catalogue.texts, strict=True))
        new = [(id, text) for id, text in pairs.items() if id not in self._vectors]
        parts = [new[start : start + AT_ONCE] for start in range(0, len(new), AT_ONCE)]
        return [([id for id, _ in part], [text for _, text in part]) for part in parts]

    def _keep(self, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        self._vectors.update(zip(ids, map(_unit, vectors), strict=True))

    def _rank(self, catalogue: Catalogue, query: Sequence[float], k: int) -> Ranking:
        if not catalogue.passages:
            return []
        if self._matrix is None or self._matrix[0] is not catalogue:
            ids = [passage.chunk.id for passage in catalogue.passages]
            self._vectors = {id: self._vectors[id] for id in ids}
            self._matrix = catalogue, np.stack([self._vectors[id] for id in ids])
        return _best(self._matrix[1] @ _unit(query), k)


class Fused:
    """Reciprocal rank fusion: what several rankers find is before what one does."""

    def __init__(self, *rankers: Ranker) -> None:
        self._rankers = rankers

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        return _fused([r.rank(catalogue, query, _depth(k)) for r in self._rankers], k)

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        asked = (ranker.arank(catalogue, query, _depth(k)) for ranker in self._rankers)
        return _fused(await asyncio.gather(*asked), k)


def _depth(k: int) -> int:
    return max(4 * k, 20)


def _fused(rankings: Sequence[Ranking], k: int) -> Ranking:
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (place, _) in enumerate(ranking, 1):
            scores[place] = scores.get(place, 0.0) + 1 / (FLAT + rank)
    best = sorted(scores, key=lambda place: (-scores[place], place))
    return [(place, scores[place]) for place in best[:k]]


def _best(scores: npt.NDArray[np.float32], k: int, above: float = -np.inf) -> Ranking:
    """The places of the ``k`` highest scores; of equal ones the first."""
    places = np.argsort(-scores, kind="stable")[:k]
    return [(int(place), float(scores[place])) for place in places if scores[place] > above]


def _unit(vector: Sequence[float]) -> npt.NDArray[np.float32]:
    values = np.asarray(vector, np.float32)
    length = float(np.linalg.norm(values))
    return values / length if length else values
