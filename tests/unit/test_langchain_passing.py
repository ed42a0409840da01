"""ChatVIST2 without a session: an ordinary chat model whose long lists are compressed."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_vist2 import ChatVIST2
from langchain_vist2.reference import VisualContext
from tests.support.scripted import ANSWER, Scripted, held, said

pytest_plugins = ("tests.support.scripted_fixtures",)


def words(topic: str, count: int) -> list[BaseMessage]:
    """A conversation of ``count`` messages about ``topic``, a question last."""
    count += 1 - count % 2
    return said(*[" ".join(f"{topic}{n}.{place}" for place in range(9)) for n in range(count)])


@pytest.fixture
def alone(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted)


def look_up(what: str) -> str:
    """Looks it up."""
    return what


def read(scripted: Scripted) -> str:
    """All words that the last answer was made from."""
    context = scripted.contexts[-1]
    return context.pinned + "".join(chunk.text for chunk in context.sources) + context.tail


def test_a_growing_list_encodes_only_what_is_new(scripted: Scripted, alone: ChatVIST2) -> None:
    cached = []
    for count in (3, 7, 11, 15):
        usage = alone.invoke(words("a", count)).usage_metadata
        assert usage is not None
        details = usage["input_token_details"]
        cached.append(details["cache_read"])
        assert details["cache_read"] + details["cache_creation"] == 2 * len(
            scripted.contexts[-1].visual
        )
    assert cached[0] == 0
    assert cached == sorted(set(cached))
    assert len(scripted.encoded) == len(set(scripted.encoded))
    assert alone.invoke(words("a", 15)).usage_metadata["input_token_details"] == {  # type: ignore[index]
        "cache_read": cached[-1] + details["cache_creation"],
        "cache_creation": 0,
    }


def test_conversations_do_not_see_each_other(scripted: Scripted, alone: ChatVIST2) -> None:
    alone.invoke(words("secret", 9))
    alone.invoke(words("other", 9))
    assert "secret" not in read(scripted)
    alone.invoke([*words("secret", 9)[:4], *words("other", 5)])  # what both begin with is shared
    assert "secret0" in read(scripted)
    assert "secret5" not in read(scripted)


def test_recent_messages_are_kept_as_text(scripted: Scripted, alone: ChatVIST2) -> None:
    given = words("a", 9)
    alone.invoke(given)
    own_rule = scripted.contexts[-1].tail
    alone.invoke(given, keep_recent=5)
    assert "a4.0" in scripted.contexts[-1].tail
    assert len(scripted.contexts[-1].tail) > len(own_rule)
    ChatVIST2(model=scripted, keep_recent=100).invoke(given)
    assert scripted.contexts[-1].visual == ()
    with pytest.raises(ValueError, match="keep_recent=-1"):
        alone.invoke(given, keep_recent=-1)


def test_system_prompts_are_pinned_and_silence_is_passed_over(
    scripted: Scripted, alone: ChatVIST2
) -> None:
    alone.invoke([SystemMessage("Be brief."), *said("q"), AIMessage(""), HumanMessage("p")])
    context = scripted.contexts[0]
    assert "Be brief." in context.pinned
    assert [part for part in context.tail if "\ue000" <= part <= "\ue00f"] == [
        "\ue000",
        "\ue000",
        "\ue001",
    ]


def test_documents_of_the_memory_by_name(scripted: Scripted, llm: ChatVIST2) -> None:
    books = llm.memory.collection("handbook")
    books.add_documents(["The blue valve is behind the boiler."])
    for options in ({"include": "handbook"}, {"include": ["handbook"]}, {"include": [books]}):
        llm.bind(**options).invoke("Where?")
        assert "blue valve" in read(scripted)
    ChatVIST2(model=scripted).invoke("Where?", include=[books])
    assert "blue valve" in read(scripted)
    llm.invoke("And now?")
    assert "blue valve" not in read(scripted)


async def test_a_memory_that_a_middleware_names(scripted: Scripted, llm: ChatVIST2) -> None:
    session = llm.memory.session("thread")
    for text in ("one", "two", "three"):
        session.add("user", " ".join(f"{text}{place}" for place in range(20)))
    context = VisualContext(session, upto=2, digest="d")
    for answer in (
        llm.invoke("And?", visual_context=context),
        await llm.ainvoke("And?", visual_context=context),
        llm.bind_tools([look_up], visual_context=context).invoke("And?"),
    ):
        assert answer.content == ANSWER
        assert "session_id" not in answer.response_metadata
        assert "one0" in read(scripted)
        assert "two0" in read(scripted)
        assert "three0" not in read(scripted)
    assert len(session.messages()) == 3
    assert held(llm) == []  # not the model's own session


async def test_cancelling_stops_the_generation(scripted: Scripted, alone: ChatVIST2) -> None:
    scripted.answers = ["word " * 5000]
    call = asyncio.create_task(alone.ainvoke("q"))
    while not scripted.running:
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    for _ in range(500):
        if not scripted.running:
            break
        await asyncio.sleep(0.01)
    assert not scripted.running


async def test_many_calls_at_once(scripted: Scripted, alone: ChatVIST2) -> None:
    answers = await alone.abatch([words("a", 9), words("b", 9), words("a", 9)])
    assert [answer.content for answer in answers] == [ANSWER] * 3
