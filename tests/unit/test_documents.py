"""VisualDocuments: what is stored, under which ids, and what of it is read within a budget."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from langchain_vist2 import VisualDocuments
from tests.support.memories import engine_of, plain
from tests.support.shelf import BEES, FERRY, PAGES, shelf
from vist2_memory import VisualMemory
from vist2_memory.errors import ContextOverflowError, InvalidInputError
from vist2_memory.selection import recent


def test_documents_are_stored_once_and_given_back_as_they_were() -> None:
    documents = VisualDocuments(plain(), name="handbook")
    ids = documents.add_documents(PAGES)
    assert ids[::2] == ["ferry", "valve"]
    assert documents.add_documents(PAGES) == ids
    bees = PAGES[1].model_copy(update={"id": ids[1]})
    assert documents.documents() == [PAGES[0], bees, PAGES[2]]
    assert asyncio.run(documents.adocuments()) == documents.documents()
    encoded = engine_of(documents.memory).encoded
    assert len(encoded) == len(set(encoded))


def test_the_same_text_stays_as_it_was_first() -> None:
    documents = shelf()
    again = Document(PAGES[0].page_content, id="other", metadata={"page": 2})
    assert documents.add_documents([again]) == ["ferry"]
    assert documents.documents()[0] == PAGES[0]


def test_a_new_text_under_an_id_takes_the_place_of_the_old_one() -> None:
    documents = shelf()
    assert documents.add_documents([Document("It leaves at noon.", id="ferry")]) == ["ferry"]
    found = {document.id: document.page_content for document in documents.documents()}
    assert found["ferry"] == "It leaves at noon."
    assert len(found) == 3
    assert FERRY not in "".join(found.values())
    assert documents.add_documents([Document(BEES * 3, id="ferry")]) == [
        documents.documents()[0].id
    ]
    assert [document.id for document in documents.documents()][1:] == ["valve"]


def test_what_cannot_be_stored_stores_nothing() -> None:
    documents = shelf()
    for bad in (
        [Document("One.", id="a"), Document("Two.", id="a")],
        [Document("One.", metadata={"langchain_id": 3})],
        [Document("One."), Document(" ")],
        [Document("One.", metadata={"when": object()})],
    ):
        with pytest.raises(InvalidInputError):
            documents.add_documents(bad)
    assert len(documents.documents()) == 3


def test_documents_are_deleted_by_id_with_their_visual_tokens() -> None:
    documents = shelf()
    memory = documents.memory
    bees = documents.documents()[1].id
    assert documents.delete([str(bees), "unknown", "ferry"]) == 2
    assert asyncio.run(documents.adelete(["ferry"])) == 0
    assert [document.id for document in documents.documents()] == ["valve"]
    memory.flush()
    left = memory.store.tensor_ids(documents.collection.scope)[memory.engine.spec.fingerprint]
    assert set(left) == {chunk.id for chunk in documents.collection.chunks()}


def test_a_memory_that_was_opened_for_the_documents_is_closed_with_them(tmp_path: Path) -> None:
    url, model = f"sqlite:///{tmp_path / 'm.db'}", plain().engine
    documents = VisualDocuments(store=url, model=model, name="handbook")
    documents.add_documents(PAGES)
    asyncio.run(documents.aclose())
    with VisualMemory.open(url, model=model) as memory:
        assert len(memory.collection("handbook").documents()) == 3
        shared = VisualDocuments(memory, name="handbook")
        shared.close()
        assert len(shared.documents()) == 3
        with pytest.raises(InvalidInputError, match="either a memory, or a store"):
            VisualDocuments(memory, store=url)


@given(st.integers(1, 200), st.sampled_from([None, "", "When does the ferry leave?", "Bees?"]))
def test_what_is_stuffed_keeps_the_budget_and_says_where_it_stands(
    budget: int, question: str | None
) -> None:
    documents = SHELF
    stuffed = documents.stuff(budget, question)
    [excerpt] = stuffed.include
    costs = [documents.memory.engine.cost(chunk) for chunk in excerpt.chunks()]
    assert sum(costs) == stuffed.visual_tokens <= budget
    texts = {document.id: document.page_content for document in documents.documents()}
    for cited in stuffed.citations:
        start, end = cited.metadata["start_index"], cited.metadata["end_index"]
        assert texts[cited.metadata["document_id"]][start:end] == cited.page_content
    kept = "".join(passage.text for passage in excerpt.passages())
    assert "".join(cited.page_content for cited in stuffed.citations) == kept
    whole = stuffed.text_tokens + stuffed.left_out_tokens
    assert whole == sum(chunk.tokens for chunk in documents.collection.chunks())
    assert bool(stuffed.left_out) == (stuffed.left_out_tokens > 0)
    assert set(stuffed.left_out) <= texts.keys()


SHELF = shelf()


def test_what_is_relevant_comes_first_and_neighbours_are_cited_as_one() -> None:
    stuffed = SHELF.stuff(10, "When do bees sleep?")
    assert {cited.metadata["source"] for cited in stuffed.citations} == {"bees.txt"}
    everything = SHELF.stuff(10_000)
    assert [cited.page_content for cited in everything.citations] == [
        page.page_content for page in PAGES
    ]
    assert everything.citations[0].metadata == {
        "source": "ferry.txt",
        "page": 1,
        "document_id": "ferry",
        "start_index": 0,
        "end_index": len(PAGES[0].page_content),
    }
    assert everything.left_out == ()


def test_selections_and_pins_are_followed() -> None:
    newest = SHELF.stuff(10, "When do bees sleep?", selection=recent)
    assert {cited.metadata["document_id"] for cited in newest.citations} == {"valve"}
    assert newest.citations == SHELF.stuff(10).citations
    pinned = SHELF.stuff(80, "valve", pins=["ferry"])
    assert pinned.citations[0].page_content == PAGES[0].page_content
    with pytest.raises(InvalidInputError, match="pins='boat' is not there"):
        SHELF.stuff(80, pins=["boat"])
    with pytest.raises(ContextOverflowError, match="pin less"):
        SHELF.stuff(3, pins=["ferry"])
    with pytest.raises(InvalidInputError, match="budget=0"):
        SHELF.stuff(0)


def test_among_what_a_retriever_found_the_best_are_read() -> None:
    found = SHELF.as_retriever(k=6).invoke("bees in winter")
    every = SHELF.stuff(10_000, among=found)
    [excerpt] = every.include
    assert {p.chunk.id for p in excerpt.passages()} == {d.metadata["chunk_id"] for d in found}
    first = SHELF.stuff(every.visual_tokens // 3, among=found)
    assert found[0].metadata["chunk_id"] in {c.id for c in first.include[0].chunks()}
    assert first.left_out_tokens + first.text_tokens == every.text_tokens
    pinned = SHELF.stuff(10_000, among=found[:1], pins=["valve"])
    assert {c.metadata["document_id"] for c in pinned.citations} >= {"valve"}


def test_what_is_stuffed_is_read_from_the_cache() -> None:
    documents = shelf()
    engine = engine_of(documents.memory)
    engine.encoded.clear()
    stuffed = asyncio.run(documents.astuff(30, "ferry"))
    end = documents.memory.session("a").ask("When?", include=stuffed.include)
    assert engine.encoded == []
    assert end.left_out == ()
    assert [t.chunk_id for t in engine.contexts[-1].visual] == [
        chunk.id for chunk in stuffed.include[0].chunks()
    ]
