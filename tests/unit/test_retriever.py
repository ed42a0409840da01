"""VisualRetriever: passages by words, by vectors, by both; with warm visual tokens."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from pydantic import ValidationError

from langchain_vist2 import VisualDocuments, VisualRetriever
from tests.support.memories import engine_of, plain
from tests.support.shelf import FERRY, PAGES, Topics, shelf


def sources(found: list[Document]) -> set[Any]:
    return {document.metadata.get("source", document.metadata["document_id"]) for document in found}


def test_passages_are_found_by_words_and_tell_where_they_stand() -> None:
    found = shelf().as_retriever(k=3).invoke("Where is the blue valve?")
    assert len(found) == 3
    assert sources(found) == {"valve"}
    text = PAGES[2].page_content
    for document in found:
        metadata = document.metadata
        assert text[metadata["start_index"] : metadata["end_index"]] == document.page_content
        assert len(metadata["chunk_id"]) == 32
        assert document.id
    scores = [document.metadata["score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert len({document.id for document in found}) == 3


def test_what_has_none_of_the_words_is_not_found() -> None:
    documents = shelf()
    assert documents.as_retriever().invoke("Zanzibar") == []
    assert documents.as_retriever().invoke("?") == []
    empty = VisualDocuments(plain(), name="empty")
    for options in ({}, {"embeddings": Topics()}, {"search": "vectors", "embeddings": Topics()}):
        assert empty.as_retriever(**options).invoke("ferry") == []


def test_the_visual_tokens_of_what_is_found_are_warm() -> None:
    documents = shelf()
    memory, engine = documents.memory, engine_of(documents.memory)
    memory.flush()
    scope = documents.collection.scope
    memory.tensors.forget(scope)  # as in a new process
    engine.encoded.clear()
    found = documents.as_retriever(k=2).invoke("ferry")
    ids = [document.metadata["chunk_id"] for document in found]
    memory.store.drop_many(scope, engine.spec.fingerprint, ids)
    memory.session("a").ask("When?", include=documents.include(found))
    assert engine.encoded == [], "they were held in the process"
    assert [tokens.chunk_id for tokens in engine.contexts[-1].visual] == [
        chunk.id for chunk in documents.include(found)[0].chunks()
    ]


def test_passages_are_found_by_embeddings_that_are_made_once() -> None:
    documents, topics = shelf(), Topics()
    retriever = documents.as_retriever(k=2, search="vectors", embeddings=topics)
    assert sources(retriever.invoke("insects")) == {"bees.txt"}
    made = len(topics.embedded)
    assert made == len({chunk.id for chunk in documents.collection.chunks()})
    assert sources(asyncio.run(retriever.ainvoke("plumbing"))) == {"valve"}
    assert len(topics.embedded) == made
    documents.add_documents([Document("A boat is in the harbour, another boat is at sea.", id="b")])
    assert sources(retriever.invoke("boat")) <= {"b", "ferry.txt"}
    assert set(topics.embedded[made:]) <= set(documents.catalogue().texts[-5:])
    assert len(topics.embedded) == len({c.id for c in documents.collection.chunks()})
    documents.delete(["b"])
    assert "b" not in sources(retriever.invoke("boat"))


class Numbers(VectorStore):
    """A store that tells neither ids nor scores, as some do."""

    def __init__(self, inner: InMemoryVectorStore) -> None:
        self.inner, self.added = inner, 0

    def add_texts(self, texts: Any, metadatas: Any = None, **kwargs: Any) -> list[str]:
        texts = list(texts)
        self.added += len(texts)
        return self.inner.add_texts(texts, metadatas, **kwargs)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        found = self.inner.similarity_search(query, k)
        return [Document(one.page_content, metadata=one.metadata) for one in found]

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        self.inner.delete(ids)
        return True

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("plain_store", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_vector_store_is_given_what_it_lacks_and_keeps_what_else_it_has(
    plain_store: bool, asynchronous: bool
) -> None:
    inner = InMemoryVectorStore(Topics())
    store = Numbers(inner) if plain_store else inner
    inner.add_documents([Document(f"A boat, number {n}.", id=f"own-{n}") for n in range(30)])
    documents = shelf()
    retriever = documents.as_retriever(k=3, search="vectors", vectorstore=store)

    def ask(query: str) -> list[Document]:
        return asyncio.run(retriever.ainvoke(query)) if asynchronous else retriever.invoke(query)

    found = ask("boat in the harbour")
    assert sources(found) == {"ferry.txt"}
    assert len(found) == 3
    assert ("score" in found[0].metadata) is not plain_store
    passages = len(documents.collection.passages())
    assert len(inner.store) == 30 + passages
    again = shelf(documents.memory).as_retriever(k=3, search="vectors", vectorstore=store)
    assert again.invoke("boat in the harbour") == found
    assert len(inner.store) == 30 + passages
    documents.delete(["ferry"])
    assert "ferry.txt" not in sources(ask("boat in the harbour"))
    assert len(inner.store) == 30 + len(documents.collection.passages())


def test_both_joined_find_what_each_alone_does() -> None:
    documents = shelf()
    both = documents.as_retriever(k=2, embeddings=Topics())
    assert sources(both.invoke("insects")) == {"bees.txt"}, "no word of it is there"
    assert "valve" in sources(both.invoke("turn left twice")), "of no topic"
    words = documents.as_retriever(k=20).invoke("bees melts")
    vectors = documents.as_retriever(k=20, search="vectors", embeddings=Topics())
    ranks = [[one.id for one in found] for found in (words, vectors.invoke("bees melts"))]
    for found in both.invoke("bees melts"):
        parts = [1 / (60 + ids.index(found.id) + 1) for ids in ranks if found.id in ids]
        assert found.metadata["score"] == pytest.approx(sum(parts))
    assert asyncio.run(both.ainvoke("insects")) == both.invoke("insects")


def test_what_does_not_go_together_is_refused() -> None:
    documents, topics = shelf(), Topics()
    store = InMemoryVectorStore(topics)
    for options in (
        {"search": "vectors"},
        {"search": "hybrid"},
        {"search": "bm25", "embeddings": topics},
        {"embeddings": topics, "vectorstore": store},
        {"search": "hybrid", "embeddings": topics, "vectorstore": store},
        {"k": 0},
        {"search": "words"},
    ):
        with pytest.raises(ValidationError):
            documents.as_retriever(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k=0"):
        documents.as_retriever().invoke("ferry", None, k=0)


def test_what_words_need_is_told_when_a_retriever_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    documents, topics = shelf(), Topics()
    monkeypatch.delitem(sys.modules, "vist2_memory.selection.bm25", raising=False)
    monkeypatch.setitem(sys.modules, "bm25s", None)
    for options in ({}, {"embeddings": topics}):
        with pytest.raises(ValidationError, match=r"vist2-memory\[rag\]"):
            documents.as_retriever(**options)
    retriever = documents.as_retriever(k=1, search="vectors", embeddings=topics)
    assert sources(retriever.invoke("insects")) == {"bees.txt"}


def test_a_retriever_sees_what_was_added_meanwhile() -> None:
    documents = VisualDocuments(plain(), name="handbook")
    retriever = VisualRetriever(documents=documents, k=1)
    assert retriever.invoke("ferry") == []
    documents.add_documents([Document(FERRY)])
    assert "ferry" in retriever.invoke("ferry")[0].page_content
