"""Which passages a question is about: by words, by vectors, or by both.

A ranking is a list of places in a `Catalogue` with what they scored, the best first. Each ranker is
asked with the catalogue of the moment and sees to it that what it keeps is of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

from langchain_vist2.documents.catalogue import Catalogue

Ranking: TypeAlias = list[tuple[int, float | None]]
Vector: TypeAlias = npt.NDArray[np.float32]

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
        self._known: dict[str, Vector] = {}  # by chunk id, and so by text
        self._matrix: tuple[Catalogue, Vector] | None = None

    def rank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        matrix = self._matrix_of(catalogue)
        if matrix is None:
            known = dict(self._known)
            for ids, texts in _missing(catalogue, known):
                known |= zip(ids, map(_unit, self._embeddings.embed_documents(texts)), strict=True)
            matrix = self._keep(catalogue, known)
        return _best(matrix @ _unit(self._embeddings.embed_query(query)), k) if len(matrix) else []

    async def arank(self, catalogue: Catalogue, query: str, k: int) -> Ranking:
        matrix = self._matrix_of(catalogue)
        if matrix is None:
            known = dict(self._known)
            for ids, texts in _missing(catalogue, known):
                made = await self._embeddings.aembed_documents(texts)
                known |= zip(ids, map(_unit, made), strict=True)
            matrix = await asyncio.to_thread(self._keep, catalogue, known)
        vector = _unit(await self._embeddings.aembed_query(query))
        return _best(matrix @ vector, k) if len(matrix) else []

    def _matrix_of(self, catalogue: Catalogue) -> Vector | None:
        """The vectors of the catalogue's passages, shape (passages, size); None if to be made."""
        held = self._matrix
        return held[1] if held is not None and held[0] is catalogue else None

    def _keep(self, catalogue: Catalogue, known: dict[str, Vector]) -> Vector:
        ids = [passage.chunk.id for passage in catalogue.passages]
        matrix = np.stack([known[id] for id in ids]) if ids else np.zeros((0, 0), np.float32)
        self._known, self._matrix = {id: known[id] for id in ids}, (catalogue, matrix)
        return matrix


def _missing(
    catalogue: Catalogue, known: dict[str, Vector]
) -> Iterator[tuple[list[str], list[str]]]:
    """The chunk ids and texts that have no vector yet, some at a time."""
    chunks = (passage.chunk.id for passage in catalogue.passages)
    texts = dict(zip(chunks, catalogue.texts, strict=True))
    new = [id for id in texts if id not in known]
    for start in range(0, len(new), AT_ONCE):
        ids = new[start : start + AT_ONCE]
        yield ids, [texts[id] for id in ids]


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


def _best(scores: Vector, k: int, above: float = -np.inf) -> Ranking:
    """The places of the ``k`` highest scores; of equal ones the first."""
    places = np.argsort(-scores, kind="stable")[:k]
    return [(int(place), float(scores[place])) for place in places if scores[place] > above]


def _unit(vector: Sequence[float]) -> Vector:
    values = np.asarray(vector, np.float32)
    return values / (np.linalg.norm(values) or np.float32(1))
