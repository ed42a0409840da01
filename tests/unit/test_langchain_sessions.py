"""ChatVIST2 in a session: what of a message list is stored, what is asked."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate

from langchain_vist2 import ChatVIST2
from tests.support.scripted import ANSWER, Scripted, held, said
from vist2_memory import ConflictError, InvalidMessageError, Message
from vist2_memory.types import ToolCall

pytest_plugins = ("tests.support.scripted_fixtures",)

ABAB = said("q1", "a1", "q2", "a2")


@pytest.mark.parametrize(
    ("given", "added"),
    [
        pytest.param([*ABAB, HumanMessage("q3")], ["q3"], id="goes on"),
        pytest.param([*ABAB, *said("q3", "a3", "q4")], ["q3", "a3", "q4"], id="goes on by more"),
        pytest.param(said("q3"), ["q3"], id="lone new question"),
        pytest.param(said("q2"), ["q2"], id="lone question, said before"),
        pytest.param([*ABAB[2:], HumanMessage("q3")], ["q3"], id="trimmed history"),
        pytest.param([ABAB[3], HumanMessage("q3")], ["q3"], id="trimmed to one message"),
        pytest.param([*ABAB, AIMessage(""), HumanMessage("q3")], ["q3"], id="silent assistant"),
    ],
)
def test_only_what_is_new_is_added(
    scripted: Scripted, llm: ChatVIST2, given: list[BaseMessage], added: list[str]
) -> None:
    scripted.answers = ["a1", "a2", "new"]
    llm.invoke("q1")
    llm.invoke("q2")
    assert llm.invoke(given).content == "new"
    assert [text for _, text in held(llm)] == ["q1", "a1", "q2", "a2", *added, "new"]


def test_new_session_takes_the_whole_list(llm: ChatVIST2) -> None:
    llm.invoke([SystemMessage("Be brief."), *ABAB, HumanMessage("q3")])
    assert [text for _, text in held(llm)][:6] == ["Be brief.", "q1", "a1", "q2", "a2", "q3"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(said("q1", "other", "q3"), id="other answer"),
        pytest.param([*said("q0", "a0"), *ABAB, HumanMessage("q3")], id="older messages before"),
        pytest.param([*ABAB[:2], HumanMessage("q3")], id="goes on from the middle"),
        pytest.param([HumanMessage("q1"), HumanMessage("q2")], id="other order"),
    ],
)
def test_contradiction_is_a_conflict_and_stores_nothing(
    scripted: Scripted, llm: ChatVIST2, given: list[BaseMessage]
) -> None:
    scripted.answers = ["a1", "a2"]
    llm.invoke("q1")
    llm.invoke("q2")
    before = held(llm)
    with pytest.raises(ConflictError, match="contradicts the session, which holds 4 messages"):
        llm.invoke(given)
    assert held(llm) == before


@pytest.mark.parametrize("history", [[], said("q1", "a1")], ids=["lone", "whole list"])
def test_cancelled_question_is_answered_when_asked_again(
    scripted: Scripted, llm: ChatVIST2, history: list[BaseMessage]
) -> None:
    scripted.answers = ["a1", "never told", "a2"]
    llm.invoke("q1")
    stream = llm.stream("q2")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert held(llm)[-1] == ("user", "q2")
    assert llm.invoke([*history, HumanMessage("q2")]).content == "a2"
    assert [text for _, text in held(llm)] == ["q1", "a1", "q2", "a2"]


async def test_cancelled_async_stream_is_answered_when_asked_again(
    scripted: Scripted, llm: ChatVIST2
) -> None:
    async for _ in llm.astream("q1"):
        break
    assert (await llm.ainvoke("q1")).content == ANSWER
    assert [text for _, text in held(llm)] == ["q1", ANSWER]


def test_answered_question_sent_again_gets_the_stored_answer(
    scripted: Scripted, llm: ChatVIST2
) -> None:
    scripted.answers = ["a1", "a2"]
    llm.invoke("q1")
    llm.invoke("q2")
    again = llm.invoke(ABAB[:3])
    assert again.content == "a2"
    assert again.response_metadata["degraded"] == ["answered from the log"]
    assert len(scripted.contexts) == 2
    assert len(held(llm)) == 4


def test_question_that_was_added_without_a_turn(llm: ChatVIST2) -> None:
    session = llm.memory.session("s")
    for role, text in (("user", "q1"), ("assistant", "a1"), ("user", "q2")):
        session.add(role, text)
    turn = session.messages()[-1].turn
    if turn:
        assert llm.invoke(ABAB[:3]).content == ANSWER
    else:
        with pytest.raises(ConflictError, match="without a turn"):
            llm.invoke(ABAB[:3])


def test_silent_answer_is_passed_over(scripted: Scripted, llm: ChatVIST2) -> None:
    scripted.answers = ["", "a2"]
    silent = llm.invoke("q1")
    assert silent.content == ""
    llm.invoke([HumanMessage("q1"), silent, HumanMessage("q2")])
    assert [text for _, text in held(llm)] == ["q1", "", "q2", "a2"]


def test_list_that_others_added_to_can_be_sent_again(llm: ChatVIST2) -> None:
    """A call that failed after half of its messages were added goes on where it stopped."""
    session = llm.memory.session("s")
    session.add("user", "q1")
    session.add("assistant", "a1")
    llm.invoke([*ABAB, HumanMessage("q3")])
    assert [text for _, text in held(llm)][:5] == ["q1", "a1", "q2", "a2", "q3"]


def test_system_message_is_stored_once(scripted: Scripted, llm: ChatVIST2) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{x}")])
    chain = prompt | llm
    chain.invoke({"x": "q1"})
    chain.invoke({"x": "q2"})
    assert [turn for turn in held(llm) if turn[0] == "system"] == [("system", "Be brief.")]
    assert all("Be brief." in context.pinned for context in scripted.contexts)
    llm.invoke("q3")  # without it is fine too


def test_other_system_message_is_a_conflict(llm: ChatVIST2) -> None:
    llm.invoke([SystemMessage("Be brief."), HumanMessage("q1")])
    before = held(llm)
    with pytest.raises(ConflictError, match="Be long"):
        llm.invoke([SystemMessage("Be long."), HumanMessage("q2")])
    assert held(llm) == before


def test_system_message_for_a_session_that_has_none(llm: ChatVIST2) -> None:
    llm.invoke("q1")
    llm.invoke([SystemMessage("Be brief."), HumanMessage("q2")])
    assert ("system", "Be brief.") in held(llm)


# Messages


@pytest.mark.parametrize("session", ["s", None])
@pytest.mark.parametrize("given", [[], [SystemMessage("Be brief.")], said("q1", "a1")])
def test_last_message_must_be_human_or_a_result(
    scripted: Scripted, given: list[BaseMessage], session: str | None
) -> None:
    llm = ChatVIST2(model=scripted, store="memory://", session_id=session)
    with pytest.raises(InvalidMessageError, match="must be a human one or the result of a tool"):
        llm.invoke([*given])
    assert held(llm) == []


@pytest.mark.parametrize("kind", ["image", "image_url", "file", "audio", "reasoning"])
def test_blocks_that_are_not_text_are_refused(llm: ChatVIST2, kind: str) -> None:
    block: dict[str, Any] = {"type": kind, "url": "https://example.org/cat.png"}
    if kind == "image_url":
        block = {"type": kind, "image_url": {"url": "https://example.org/cat.png"}}
    with pytest.raises(InvalidMessageError, match="content block"):
        llm.invoke([HumanMessage([{"type": "text", "text": "Who is it?"}, block])])
    assert held(llm) == []


def test_text_blocks_are_joined(llm: ChatVIST2) -> None:
    llm.invoke([HumanMessage([{"type": "text", "text": "My cat "}, "is Miso."])])
    assert held(llm)[0] == ("user", "My cat is Miso.")


def test_answers_of_output_version_1_are_recognised(scripted: Scripted) -> None:
    llm = ChatVIST2(model=scripted, store="memory://", session_id="s", output_version="v1")
    question = HumanMessage("q1")
    answer = llm.invoke([question])
    assert isinstance(answer.content, list)
    llm.invoke([question, answer, HumanMessage("q2")])
    assert [role for role, _ in held(llm)] == ["user", "assistant", "user", "assistant"]


def test_empty_question_is_refused_and_nothing_stored(llm: ChatVIST2) -> None:
    with pytest.raises(InvalidMessageError, match="empty"):
        llm.invoke([*said("q1", "a1"), HumanMessage("  ")])
    with pytest.raises(InvalidMessageError, match="NUL"):
        llm.invoke([*said("q1", "a\0"), HumanMessage("q2")])
    assert held(llm) == []


def test_tool_calls_and_results_are_stored(llm: ChatVIST2) -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    given = [
        HumanMessage("1 + 1?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("2", tool_call_id="c1", name="add"),
        AIMessage("2."),
        HumanMessage("Thanks."),
    ]
    answer = llm.invoke(given)
    assert held(llm)[:4] == [
        ("user", "1 + 1?"),
        ("assistant", ""),
        ("tool", "2"),
        ("assistant", "2."),
    ]
    kept: list[Message] = llm.memory.session("s").messages()
    assert kept[1].calls == (ToolCall("c1", '{"name": "add", "arguments": {"a": 1}}'),)
    assert kept[2].payload["tool_call_id"] == "c1"
    assert kept[0].turn == kept[3].turn != kept[4].turn
    llm.invoke([*given, answer, HumanMessage("Bye.")])
    assert len(held(llm)) == 8


def test_roles_of_chat_messages(llm: ChatVIST2) -> None:
    llm.invoke([ChatMessage("q1", role="human"), ChatMessage("a1", role="ai"), ("user", "q2")])
    assert [role for role, _ in held(llm)[:3]] == ["user", "assistant", "user"]
    for message in (ChatMessage("x", role="narrator"), RemoveMessage(id="1")):
        with pytest.raises(InvalidMessageError, match="cannot be stored"):
            llm.invoke([message, HumanMessage("q")], session_id="other")
