"""The passages of a collection as LangChain sees them, between two changes of the collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from langchain_core.documents import Document

from vist2_memory import Passage
from vist2_memory.selection.words import whole_words
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import MARKS, unescape

if TYPE_CHECKING:
    from vist2_memory.selection.bm25 import WordIndex

ID = "langchain_id"
"""The key of a stored document's metadata that keeps the id which LangChain's document had."""


class Catalogue:
    """``passages`` of the collection ``scope``, each under an id of its own."""

    def __init__(self, scope: Scope, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._scope = scope

    @cached_property
    def ids(self) -> list[str]:
        """A UUID for each passage, the same in every process; vector stores ask for such."""
        where = f"vist2:{self._scope.key}"
        return [str(uuid5(NAMESPACE_URL, f"{where}/{id}/{at}")) for id, at in self._keys]

    @cached_property
    def places(self) -> dict[str, int]:
        """Where the passage with an id stands."""
        return {id: place for place, id in enumerate(self.ids)}

    @cached_property
    def texts(self) -> list[str]:
        """What each passage is found by: its text, with the words whole that its ends cut."""
        written = whole_words([passage.chunk for passage in self.passages])
        return [unescape(text.replace(MARKS["document"], "")) for text in written]

    @cached_property
    def words(self) -> WordIndex:
        """BM25 over :attr:`texts`. Raises ``InvalidInputError`` without the extra ``rag``."""
        from vist2_memory.selection.bm25 import WordIndex

        return WordIndex(self.texts)

    def passages_of(self, documents: Iterable[Document]) -> list[Passage]:
        """What a retriever's documents stand for; those that are no longer there are left out."""
        found = (self.places.get(document.id or "") for document in documents)
        return [self.passages[place] for place in found if place is not None]

    def document(self, place: int, score: float | None = None) -> Document:
        """The passage at ``place`` as a document of LangChain."""
        passage = self.passages[place]
        metadata = stretch(passage, passage.end)
        metadata["chunk_id"] = passage.chunk.id
        if score is not None:
            metadata["score"] = score
        return Document(passage.text, id=self.ids[place], metadata=metadata)

    @property
    def _keys(self) -> list[tuple[str, int]]:
        return [passage.key for passage in self.passages]


def id_of(document_id: str, metadata: Any) -> str:
    """The id that a document is known by in LangChain: its own, else that of its text."""
    return str(metadata.get(ID, document_id))


def own_metadata(metadata: Any) -> dict[str, Any]:
    """A stored document's metadata as it was given."""
    return {name: value for name, value in metadata.items() if name != ID}


def stretch(first: Passage, end: int) -> dict[str, Any]:
    """Metadata of the characters of a document from where ``first`` begins up to ``end``."""
    known = first.document.metadata
    return {
        **own_metadata(known),
        "document_id": id_of(first.document_id, known),
        "start_index": first.start,
        "end_index": end,
    }


def cited(passages: Sequence[Passage]) -> tuple[Document, ...]:
    """What ``passages``, in order, say: those that go on where another ends are one document."""
    runs: list[tuple[Passage, int]] = []
    for passage in passages:
        if runs:
            first, end = runs[-1]
            if (first.document_id, end) == (passage.document_id, passage.start):
                runs[-1] = (first, passage.end)
                continue
        runs.append((passage, passage.end))
    return tuple(
        Document(first.document.text[first.start : end], metadata=stretch(first, end))
        for first, end in runs
    )
