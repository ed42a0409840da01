"""``expand_memory``: what was said, word for word, of this thread and branch alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.agents.stubs import (
    IN_MEMORY,
    documents,
    name_of,
    shortened,
    stub,
    with_text,
)
from langchain_vist2.agents.tools import found, shown, spoken
from tests.support.agents import agent_memory, calls, engine_of
from vist2_memory.memory.validation import MAX_CHARACTERS

TALK: list[BaseMessage] = [
    HumanMessage("The blue valve is behind the boiler."),
    AIMessage("Noted: blue valve, boiler."),
    ToolMessage("The valve was closed by Anna.", tool_call_id="1", name="look"),
    HumanMessage("And the red valve?"),
    ToolMessage("Behind the boiler, too.", tool_call_id="2", name="expand_memory"),
]


def test_a_text_is_shown_in_parts_that_make_all_of_it() -> None:
    text = "".join(f"{number}, " for number in range(200))
    messages = spoken([HumanMessage(text), AIMessage("Well.")])
    parts, start = [], 0
    while True:
        answer = shown(messages, name_of(text), start, 100)
        head, _, rest = answer.partition("]\n")
        part, _, more = rest.partition("\n[Go on with ")
        assert head == f"[Characters {start:,} to {start + len(part):,} of {len(text):,}"
        parts.append(part)
        if not more:
            break
        start = int(re.search(r"start=(\d+)", more)[1])  # type: ignore[index]
    assert "".join(parts) == text
    assert shown(messages, name_of("Well."), 0, 100) == "Well."
    assert "no message" in shown(messages, "00000000", 0, 100)
    assert shown(messages, name_of(text), 10**9, 100).startswith(f"[Characters {len(text):,}")


def test_words_are_found_newest_first_and_not_in_what_the_tool_showed() -> None:
    lines = found(spoken(TALK), "valve", 1000).splitlines()
    names = [name_of(TALK[place].text) for place in (3, 2, 1, 0)]
    assert [line.split('"')[1] for line in lines] == names
    assert lines[1] == f'message="{names[1]}" (tool): The valve was closed by Anna.'
    assert found(spoken(TALK), "boiler VALVE", 1000).count("\n") == 1
    assert found(spoken(TALK), "green", 1000) == 'No message has all of the words "green".'
    assert "Say what to show" in found(spoken(TALK), "  ", 1000)
    long = [HumanMessage("word " * 50 + f"needle {n} " + "word " * 50) for n in range(9)]
    answer = found(spoken(long), "needle", 400)
    assert len(answer) <= 400
    assert "needle 8" in answer
    assert answer.count("...") >= 2


@given(st.text(min_size=1), st.integers(1, 50))
def test_a_shortened_text_keeps_both_ends_and_counts_the_rest(text: str, keep: int) -> None:
    short = shortened(text, keep, IN_MEMORY, True)
    if len(text) <= keep:
        assert short == text
        return
    left = int(re.search(r"\[([\d,]+) characters of this", short)[1].replace(",", ""))  # type: ignore[index]
    assert left == len(text) - keep or "characters of this" in text
    assert short.startswith(text[: int(keep * 0.6)])
    assert name_of(text) in short


def test_a_stub_names_its_text_only_where_there_is_the_tool() -> None:
    text = "x" * 12345
    said = "[12,345 characters of this result are in visual memory"
    how = f'; expand_memory(message="{name_of(text)}") shows them]'
    assert stub(text, IN_MEMORY, True) == said + how
    assert stub(text, IN_MEMORY, False) == said + "]"


def test_what_is_no_text_stays_where_a_text_is_a_stub() -> None:
    image = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    message = ToolMessage([{"type": "text", "text": "long"}, "more", image], tool_call_id="1")
    assert with_text(message, "short").content == [{"type": "text", "text": "short"}, image]


def test_a_text_of_more_than_a_document_may_have_is_several() -> None:
    text = "a" * MAX_CHARACTERS + "b"
    assert [len(d.text) for d in documents(text, {})] == [MAX_CHARACTERS, 1]
    assert documents(" \n", {}) == []


# In an agent


@tool
def read_all() -> str:
    """Read everything."""
    return " ".join(f"Line {number} says {number * 7}." for number in range(300))


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def test_an_agent_reads_a_result_again_and_what_it_read_is_no_stub() -> None:
    text = str(read_all.invoke({}))
    script = [
        calls(("1", "read_all", {})),
        "Read.",
        calls(("2", "expand_memory", {"message": name_of(text), "start": 1000})),
        calls(("3", "expand_memory", {"search": "Line 299"})),
        "Done.",
    ]
    memory = agent_memory(lambda number: script[number])
    agent = create_agent(
        ChatVIST2(model=memory.engine),
        [read_all],
        middleware=[VisualMemoryMiddleware(memory, max_tokens=900)],
        checkpointer=InMemorySaver(),
    )
    agent.invoke({"messages": [HumanMessage("Read.")]}, thread("t"))
    state = agent.invoke({"messages": [HumanMessage("What stands there?")]}, thread("t"))
    results = [m.text for m in state["messages"] if isinstance(m, ToolMessage)]
    [page] = re.findall(r"\[Characters 1,000 to (\d,\d+) of", results[1])
    assert text[1000 : int(page.replace(",", ""))] in results[1]
    assert results[2].startswith(f'message="{name_of(text)}" (tool): ...')
    tail = engine_of(memory).contexts[-2].tail
    assert results[1] in tail, "what the tool shows is no stub"
    assert max(engine_of(memory).read) <= 900


@pytest.mark.parametrize("search", ["4711", "secret"])
def test_neither_another_thread_nor_another_branch_is_ever_shown(search: str) -> None:
    memory = agent_memory(
        lambda n: calls((str(n), "expand_memory", {"search": search})) if n in (3, 5) else "Yes."
    )
    agent = create_agent(
        ChatVIST2(model=memory.engine),
        [],
        middleware=[VisualMemoryMiddleware(memory, keep_recent=("messages", 1))],
        checkpointer=InMemorySaver(),
    )

    def say(text: str, config: Any) -> Any:
        state = agent.invoke({"messages": [HumanMessage(text)]}, config)
        return state["messages"], agent.get_state({"configurable": {"thread_id": "a"}}).config

    _, start = say("Hello.", thread("a"))
    _, told = say("The secret is 4711.", thread("a"))
    say("The other secret: 4711.", thread("b"))
    forked, _ = say("What is it?", start)
    assert forked[-2].text == f'No message has all of the words "{search}".'
    own, _ = say("What is it?", told)
    assert "The secret is 4711." in own[-2].text
