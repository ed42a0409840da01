"""Collections: documents that sessions read beside what was said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.engines import Script
from tests.support.memories import DOCUMENTS, engine_of, plain, tell
from vist2_memory import Document, VisualMemory
from vist2_memory.errors import InvalidInputError, InvalidMessageError
from vist2_memory.store import Deleted
from vist2_memory.text.transcript import write
from vist2_memory.types import Chunk, VisualTokens

pytest_plugins = ("tests.support.fixtures",)


def test_an_included_collection_stands_before_the_session_in_the_context() -> None:
    memory = plain()
    session, books = tell(memory.session("a")), memory.collection("handbook")
    assert books.add_documents(DOCUMENTS) == 2
    session.ask("When?", include=[books])
    session.ask("When?")
    with_books, without = engine_of(memory).contexts
    shelf = [chunk.id for chunk in books.chunks()]
    assert [tokens.chunk_id for tokens in with_books.visual[: len(shelf)]] == shelf
    assert len(with_books.visual) > len(shelf) > 3
    assert not {tokens.chunk_id for tokens in without.visual} & set(shelf)
    flow = "".join(chunk.text for chunk in books.chunks())
    assert flow == write([("document", text) for text in DOCUMENTS])


def test_documents_are_added_once_by_content_drawn_once_and_found_again(url: str) -> None:
    with plain(store=url) as memory:
        books = memory.collection("handbook")
        steps: list[int] = []
        assert (
            books.add_documents([Document(DOCUMENTS[0], {"page": 3})], progress=steps.append) == 1
        )
        assert books.add_documents([*DOCUMENTS, DOCUMENTS[1]], progress=steps.append) == 1
        assert steps == [1, 1, 2, 3]
        encoded = engine_of(memory).encoded
        assert sorted(encoded) == sorted(set(encoded)), "a chunk was drawn twice"
    with plain(store=url) as memory:
        books = memory.collection("handbook")
        assert books.documents() == [Document(DOCUMENTS[0], {"page": 3}), Document(DOCUMENTS[1])]
        assert [info.scope.name for info in memory.collections()] == ["handbook"]
        assert len(books.recollect(books.chunks()).visual) == len(books.chunks())
        assert engine_of(memory).encoded == []


def test_when_both_are_too_long_session_and_documents_share_the_budget() -> None:
    memory = plain(max_visual_tokens=16)
    session, books = tell(memory.session("a")), memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    end = session.ask("When?", include=[books])
    [context] = engine_of(memory).contexts
    shelf = {chunk.id for chunk in books.chunks()}
    theirs = sum(len(tokens) for tokens in context.visual if tokens.chunk_id in shelf)
    own = sum(len(tokens) for tokens in context.visual if tokens.chunk_id not in shelf)
    assert 0 < theirs <= 8
    assert 0 < own <= 8
    assert end.left_out_tokens > 0


def test_a_refused_tensor_of_a_document_is_told_too(memory: VisualMemory, script: Script) -> None:
    books, session = memory.collection("handbook"), memory.session("a")
    books.add_documents(DOCUMENTS[:1])
    memory.flush()
    memory.tensors.forget(books.scope)
    fingerprint = memory.engine.spec.fingerprint
    memory.store.put_many(books.scope, fingerprint, {books.chunks()[0].id: b"rubbish"})
    script.say("Nine.")
    [note] = session.ask("When?", include=[books]).degraded
    assert "refused" in note


def test_a_collection_is_deleted_whole() -> None:
    memory = plain()
    books = memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    chunks = len({chunk.id for chunk in books.chunks()})
    assert books.delete() == Deleted(messages=2, chunks=chunks, tensors=chunks)
    assert books.documents() == []
    assert memory.collections() == []


@pytest.mark.parametrize("bad", [" ", "nul \0", "\ud800", Document("fine", {"when": object()})])
def test_a_bad_document_stores_none_of_its_call(bad: str | Document) -> None:
    books = plain().collection("handbook")
    with pytest.raises(InvalidInputError):
        books.add_documents(["A good one.", bad])
    assert books.documents() == []


def test_a_long_text_is_encoded_a_few_chunks_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = plain()
    engine, asked = engine_of(memory), []
    encode = engine.encode

    def count(chunks: Sequence[Chunk]) -> list[VisualTokens]:
        asked.append(len(chunks))
        return encode(chunks)

    monkeypatch.setattr(engine, "encode", count)
    text = " ".join(map(str, range(2000)))
    session, books = memory.session("a"), memory.collection("b")
    session.add("user", text)
    assert sum(asked) == len(session.chunks())
    assert max(asked) <= 64 < sum(asked)
    asked.clear()
    books.add_documents([text])
    assert sum(asked) == len(books.chunks())
    assert max(asked) <= 64 < sum(asked)


def test_documents_that_were_encoded_elsewhere_are_only_logged(url: str) -> None:
    with plain(store=url) as memory:
        books = memory.collection("handbook")
        first = Document(DOCUMENTS[0], {"page": 1})
        assert books.log_documents([first, Document(DOCUMENTS[0], {"page": 2})]) == 1
        assert books.log_documents([Document(DOCUMENTS[0], {"page": 3}), DOCUMENTS[1]]) == 1
        assert books.log_documents(DOCUMENTS) == 0
        assert books.log_documents([]) == 0
        assert books.documents() == [first, Document(DOCUMENTS[1])]
        with pytest.raises(InvalidMessageError):
            books.log_documents(["Another.", "\ud800"])
        assert len(books.documents()) == 2
        memory.flush()
        assert not memory.store.tensor_ids(books.scope)
