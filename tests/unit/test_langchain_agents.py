"""ChatVIST2 in a session, called by agents: calls and their results, retries, branches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_vist2 import ChatVIST2
from tests.support.scripted import ANSWER, Scripted, held, said
from vist2_memory import ConflictError, InvalidMessageError
from vist2_memory.types import ToolCall

pytest_plugins = ("tests.support.scripted_fixtures",)

ADD = ToolCall("c1", '{"name": "add", "arguments": {"a":1,"b":2}}')
"""Written otherwise than `json` writes."""
TIMES = ToolCall.of("c2", "times", {"a": 3})
QUESTION = HumanMessage("What is 1 + 2?")


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def times(a: int) -> int:
    """Doubles a number."""
    return 2 * a


@pytest.fixture
def agent(llm: ChatVIST2) -> Any:
    return llm.bind_tools([add, times])


def result(text: str, call: ToolCall) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call.id, name=call.name)


def roles(llm: ChatVIST2, session: str = "s") -> list[str]:
    return [role for role, _ in held(llm, session)]


def turns(llm: ChatVIST2) -> list[str]:
    return [message.turn for message in llm.memory.session("s").messages()]


# Calls and results


def test_an_agent_sends_its_whole_state_and_each_message_is_stored_once(
    scripted: Scripted, llm: ChatVIST2, agent: Any
) -> None:
    scripted.answers = [(ADD,), "3.", "You are welcome."]
    asked = agent.invoke([QUESTION])
    assert [(c["name"], c["args"], c["id"]) for c in asked.tool_calls] == [
        ("add", {"a": 1, "b": 2}, "c1")
    ]
    state = [QUESTION, asked, result("3", ADD)]
    state.append(agent.invoke(state))
    state.append(HumanMessage("Thanks."))
    assert agent.invoke(state).content == "You are welcome."
    assert roles(llm) == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    stored = llm.memory.session("s").messages()
    assert stored[1].calls == (ADD,)  # letter by letter
    assert len(set(turns(llm)[:4])) == 1
    assert turns(llm)[4] == turns(llm)[5] != turns(llm)[0]
    assert [tool.name for tool in scripted.params[0].tools] == ["add", "times"]


@pytest.mark.parametrize("sent", [1, 2, 3])
def test_results_alone_are_enough(
    scripted: Scripted, llm: ChatVIST2, agent: Any, sent: int
) -> None:
    scripted.answers = [(ADD, TIMES), "Done."]
    asked = agent.invoke([QUESTION])
    whole = [QUESTION, asked, result("3", ADD), result("6", TIMES)]
    assert agent.invoke(whole[-1 - sent :]).content == "Done."
    assert roles(llm) == ["user", "assistant", "tool", "tool", "assistant"]


def test_a_retry_after_half_of_the_results_adds_the_rest(
    scripted: Scripted, llm: ChatVIST2, agent: Any
) -> None:
    scripted.answers = [(ADD, TIMES), RuntimeError("no power"), "Done."]
    asked = agent.invoke([QUESTION])
    with pytest.raises(RuntimeError, match="no power"):
        agent.invoke([QUESTION, asked, result("3", ADD)])
    whole = [QUESTION, asked, result("3", ADD), result("6", TIMES)]
    assert agent.invoke(whole).content == "Done."
    assert roles(llm) == ["user", "assistant", "tool", "tool", "assistant"]


def test_results_of_different_calls_are_not_the_same_though_they_say_the_same(
    scripted: Scripted, llm: ChatVIST2, agent: Any
) -> None:
    again = ToolCall.of("c9", "add", {"a": 1, "b": 2})
    scripted.answers = [(ADD,), (again,), "Done."]
    first = agent.invoke([QUESTION])
    second = agent.invoke([QUESTION, first, result("ok", ADD)])
    assert second.tool_calls[0]["id"] == "c9"
    assert agent.invoke([result("ok", again)]).content == "Done."
    assert roles(llm) == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("sent", [slice(None), slice(1, None), slice(2, None)])
def test_results_that_were_answered_get_the_stored_answer(
    scripted: Scripted, llm: ChatVIST2, agent: Any, sent: slice
) -> None:
    scripted.answers = [(ADD,), "3."]
    state = [QUESTION, agent.invoke([QUESTION]), result("3", ADD)]
    agent.invoke(state)
    again = agent.invoke(state[sent])
    assert again.content == "3."
    assert again.response_metadata["degraded"] == ["answered from the log"]
    assert len(scripted.contexts) == 2
    assert len(held(llm)) == 4


def test_calls_that_were_logged_are_given_out_again(
    scripted: Scripted, llm: ChatVIST2, agent: Any
) -> None:
    scripted.answers = ["Hello.", (ADD, TIMES)]
    history = [HumanMessage("Hello"), llm.invoke("Hello")]
    first = agent.invoke([*history, QUESTION])
    again = agent.invoke([*history, QUESTION])
    assert again.tool_calls == first.tool_calls
    assert again.response_metadata["finish_reason"] == "tool_calls"
    assert len(scripted.contexts) == 2


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([ToolMessage("4", tool_call_id="x")], id="alone"),
        pytest.param([QUESTION, ToolMessage("4", tool_call_id="x")], id="after a question"),
        pytest.param([*said("q", "a"), ToolMessage("4", tool_call_id="x")], id="after an answer"),
    ],
)
def test_a_result_of_no_call_is_refused(llm: ChatVIST2, given: list[BaseMessage]) -> None:
    with pytest.raises(InvalidMessageError, match="result of the call 'x'"):
        llm.invoke(given)
    assert held(llm) == []


def test_a_call_that_was_cut_off_is_recognised(
    scripted: Scripted, llm: ChatVIST2, agent: Any
) -> None:
    cut = ToolCall("c1", '{"name": "add", "arguments": {"a": 1')
    scripted.answers = [(cut,), "Again."]
    broken = agent.invoke([QUESTION])
    assert broken.tool_calls == []
    assert [call["id"] for call in broken.invalid_tool_calls] == ["c1"]
    assert agent.invoke([QUESTION, broken, HumanMessage("Try again.")]).content == "Again."
    assert roles(llm) == ["user", "assistant", "user", "assistant"]


# Twice at once


async def test_a_list_that_is_sent_twice_at_once_is_stored_once(
    scripted: Scripted, llm: ChatVIST2
) -> None:
    given = [*said("q1", "a1", "q2", "a2"), HumanMessage("q3")]
    first, second = await asyncio.gather(llm.ainvoke(given), llm.ainvoke(given))
    assert [text for _, text in held(llm)] == ["q1", "a1", "q2", "a2", "q3", ANSWER]
    assert first.content == second.content == ANSWER


def test_a_batch_of_questions_is_a_turn_each(llm: ChatVIST2) -> None:
    llm.batch(["Hello", "Hi", "Hey"])
    assert sorted(text for role, text in held(llm) if role == "user") == ["Hello", "Hey", "Hi"]
    assert roles(llm).count("assistant") == 3
    stored = llm.memory.session("s").messages()
    for question in [message for message in stored if message.role == "user"]:
        answers = [m for m in stored if m.turn == question.turn and m.role == "assistant"]
        assert len(answers) == 1


# Branches


def conversation(llm: ChatVIST2, *questions: str) -> list[BaseMessage]:
    given: list[BaseMessage] = []
    for question in questions:
        given.append(HumanMessage(question))
        given.append(llm.invoke(given))
    return given


def fork(llm: ChatVIST2, given: Sequence[BaseMessage]) -> tuple[AIMessage, str]:
    answer = llm.invoke(list(given), on_conflict="fork")
    return answer, answer.response_metadata["session_id"]


def test_another_question_begins_a_branch(scripted: Scripted, llm: ChatVIST2) -> None:
    scripted.answers = ["a1", "a2", "b2", "b3"]
    given = conversation(llm, "q1", "q2")
    before = held(llm)
    other = [*given[:2], HumanMessage("p2")]
    with pytest.raises(ConflictError):
        llm.invoke(other)
    answer, branch = fork(llm, other)
    assert answer.content == "b2"
    assert branch.startswith("s~")
    assert held(llm) == before
    assert [text for _, text in held(llm, branch)] == ["q1", "a1", "p2", "b2"]
    assert "q2" not in scripted.contexts[2].tail
    # The conversation goes on there, whichever of the two ids is named.
    answer, again = fork(llm, [*other, answer, HumanMessage("p3")])
    assert again == branch
    assert llm.invoke("p4", session_id=branch).content == ANSWER
    assert [text for _, text in held(llm, branch)][-4:] == ["p3", "b3", "p4", ANSWER]
    assert held(llm) == before


async def test_a_branch_of_a_branch_and_a_second_branch(scripted: Scripted, llm: ChatVIST2) -> None:
    scripted.answers = ["a1", "a2", "b2", "c2", "d3"]
    given = conversation(llm, "q1", "q2")
    answer, branch = fork(llm, [*given[:2], HumanMessage("p2")])
    other, second = fork(llm, [*given[:2], HumanMessage("r2")])
    assert branch != second
    assert (answer.content, other.content) == ("b2", "c2")
    of_branch = [*given[:2], HumanMessage("p2"), AIMessage("edited"), HumanMessage("p3")]
    deeper = await llm.ainvoke(of_branch, on_conflict="fork")
    id = deeper.response_metadata["session_id"]
    assert id.startswith(branch + "~")
    assert [text for _, text in held(llm, id)] == ["q1", "a1", "p2", "edited", "p3", "d3"]


def test_a_question_in_the_middle_is_answered_anew_in_a_branch_and_once(
    scripted: Scripted, llm: ChatVIST2
) -> None:
    scripted.answers = ["a1", "a2", "a3", "b2"]
    given = conversation(llm, "q1", "q2", "q3")
    answer, branch = fork(llm, given[:3])
    assert answer.content == "b2"
    assert [text for _, text in held(llm, branch)] == ["q1", "a1", "q2", "b2"]
    again, same = fork(llm, given[:3])
    assert (again.content, same) == ("b2", branch)
    assert len(scripted.contexts) == 4


def test_a_branch_keeps_the_system_prompt_unless_that_is_what_differs(
    scripted: Scripted, llm: ChatVIST2
) -> None:
    brief = SystemMessage("Be brief.")
    llm.invoke([brief, HumanMessage("q1")])
    _, branch = fork(llm, [HumanMessage("other"), AIMessage("x"), HumanMessage("q")])
    assert held(llm, branch)[0] == ("system", "Be brief.")
    _, another = fork(llm, [SystemMessage("Be long."), HumanMessage("q1")])
    assert held(llm, another)[0] == ("system", "Be long.")
    again = [SystemMessage("Be long."), HumanMessage("q1"), AIMessage(ANSWER), HumanMessage("q2")]
    assert fork(llm, again)[1] == another
