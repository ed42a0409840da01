"""Chains over documents: ChatVIST2 reads what is relevant, and the answer says what it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from langchain_vist2 import ChatVIST2, VisualDocuments
from tests.support.memories import engine_of, plain
from tests.support.plain import PlainEngine
from tests.support.shelf import PAGES, shelf

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])


def chat() -> tuple[ChatVIST2, VisualDocuments]:
    llm = ChatVIST2(model=PlainEngine(["At nine, I read."] * 9), store="memory://")
    return llm, shelf(llm.memory)


def read_by(llm: ChatVIST2) -> str:
    engine = llm.engine
    assert isinstance(engine, PlainEngine)
    return "".join(chunk.text for chunk in engine.contexts[-1].sources)


def cited(answer: Any, documents: VisualDocuments) -> str:
    """The text that the citations of ``answer`` stand for."""
    texts = {document.id: document.page_content for document in documents.documents()}
    citations = answer.response_metadata["citations"]
    return "".join(texts[c["document_id"]][c["start_index"] : c["end_index"]] for c in citations)


def test_a_chain_reads_what_is_relevant_and_cites_it() -> None:
    llm, documents = chat()
    chain = PROMPT | documents.stuffing(llm, 12)
    answer = chain.invoke({"question": "When does the ferry leave?"})
    assert isinstance(answer, AIMessage)
    assert answer.text == "At nine, I read."
    text = cited(answer, documents)
    assert "ferry leaves" in text
    assert read_by(llm).replace("\ue004", "").startswith(text), "and nothing else of them"
    assert {c["document_id"] for c in answer.response_metadata["citations"]} == {"ferry"}
    assert answer.response_metadata["citations"][0]["metadata"]["source"] == "ferry.txt"
    assert "valve" in answer.response_metadata["documents_left_out"]
    assert answer.response_metadata["model_name"] == "plain"


async def test_asynchronous_and_streamed_chains_do_the_same() -> None:
    llm, documents = chat()
    chain = PROMPT | documents.stuffing(llm, 12)
    asked = {"question": "When do bees sleep?"}
    want = chain.invoke(asked).response_metadata["citations"]
    assert (await chain.ainvoke(asked)).response_metadata["citations"] == want
    chunks = list(chain.stream(asked))
    assert len(chunks) > 3
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == "At nine, I read."
    assert whole.response_metadata["citations"] == want
    achunks = [chunk async for chunk in chain.astream(asked)]
    assert [c.response_metadata.get("citations") for c in achunks][:1] == [want]
    assert len(achunks) == len(chunks)


def test_it_stands_in_a_chain_as_the_model_does() -> None:
    llm, documents = chat()
    chain: Runnable[Any, str] = PROMPT | documents.stuffing(llm, 12) | StrOutputParser()
    assert chain.invoke({"question": "Bees?"}) == "At nine, I read."
    assert (
        chain.batch([{"question": "Bees?"}, {"question": "The valve?"}]) == ["At nine, I read."] * 2
    )
    bare = documents.stuffing(llm, 12)
    for given in (
        "Where is the valve?",
        [("system", "Be brief."), ("human", "Where is the valve?")],
        [SystemMessage("x"), HumanMessage("Bees?"), AIMessage("Yes."), HumanMessage("The valve?")],
    ):
        assert "valve" in cited(bare.invoke(given), documents)


def test_a_session_remembers_the_question_and_not_the_documents() -> None:
    llm, documents = chat()
    chain = documents.stuffing(llm.bind(session_id="user-42"), 12)
    chain.invoke("When does the ferry leave?")
    chain.invoke("And in winter?")
    said = [(m.role, m.text) for m in llm.memory.session("user-42").messages()]
    assert said[::2] == [("user", "When does the ferry leave?"), ("user", "And in winter?")]
    assert len(said) == 4


def test_what_a_retriever_finds_is_read_and_no_more() -> None:
    llm, documents = chat()
    retriever = documents.as_retriever(k=2)
    answer = documents.stuffing(llm, retriever=retriever).invoke("When do bees sleep?")
    found = retriever.invoke("When do bees sleep?")
    assert sorted(cited(answer, documents)) == sorted("".join(d.page_content for d in found))
    again = asyncio.run(documents.stuffing(llm, retriever=retriever).ainvoke("When do bees sleep?"))
    assert again.response_metadata["citations"] == answer.response_metadata["citations"]


def test_what_else_is_included_stays() -> None:
    llm, documents = chat()
    notes = VisualDocuments(llm.memory, name="notes")
    notes.add_documents([Document("The key is under the mat.")])
    bound = llm.bind(include=[notes.collection])
    documents.stuffing(bound, 12, pins=[]).invoke("When does the ferry leave?")
    assert "under the mat" in read_by(llm)
    assert "ferry leaves" in read_by(llm)


def test_pins_and_selections_reach_the_choice() -> None:
    llm, documents = chat()
    documents.stuffing(llm, 100, pins=["valve"], selection="recent").invoke("Bees?")
    assert PAGES[2].page_content[-20:] in read_by(llm)
    llm.invoke("Bees?", include=["handbook"])
    assert "Bees sleep" in read_by(llm)


def test_documents_of_another_model_are_refused() -> None:
    llm, _ = chat()
    other = plain()
    object.__setattr__(engine_of(other).spec, "fingerprint", "plain-2")
    with pytest.raises(ValueError, match="take it from the memory of the session"):
        shelf(other).stuffing(llm, 12).invoke("Bees?")


async def test_steps_are_told_to_callbacks() -> None:
    llm, documents = chat()
    chain = PROMPT | documents.stuffing(llm, 12, retriever=documents.as_retriever(k=2))
    seen = [e["event"] async for e in chain.astream_events({"question": "Bees?"}, version="v2")]
    assert "on_retriever_end" in seen
    assert "on_chat_model_stream" in seen
