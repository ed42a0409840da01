"""VisualMemoryMiddleware in agents: what the model reads, what stays in the state."""

from __future__ import annotations

import asyncio
import copy
import re
import uuid
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from langchain_vist2.agents.following import sessions_of
from langchain_vist2.reference import VisualContext
from tests.support.agent_runs import agent_of, look, read_all, say, talked, thread
from tests.support.agents import (
    agent_memory,
    calls,
    engine_of,
    shown,
    tools_of,
)


def test_recent_messages_are_text_and_all_older_ones_visual_memory() -> None:
    memory = agent_memory(lambda number: f"Answer {number}.")
    agent = agent_of(memory, prompt="Be kind.", keep_recent=("messages", 3))
    messages = talked(agent, 6)
    context = engine_of(memory).contexts[-1]
    assert [m.text for m in messages[-2:]][1] == "Answer 5."
    assert len(messages) == 12
    assert context.pinned.startswith("\ue002Be kind.")
    old = "".join(("\ue000" if m.type == "human" else "\ue001") + m.text for m in messages[:8])
    recent = "".join(("\ue000" if m.type == "human" else "\ue001") + m.text for m in messages[8:11])
    assert shown(context) + context.tail == old + recent + "\ue001"
    assert context.tail.endswith(recent + "\ue001")
    assert "Question 0" in shown(context)
    held = memory.session("t").messages()
    assert [m.text for m in held] == [m.text for m in messages[:8]]
    assert [m.id for m in held] == [m.id for m in messages[:8]]


def test_the_state_is_whole_and_holds_no_tensor() -> None:
    memory = agent_memory()
    agent = agent_of(memory, keep_recent=("messages", 2))
    talked(agent, 5)
    state = agent.get_state(thread()).values
    assert set(state) == {"messages"}
    assert [m.type for m in state["messages"]] == ["human", "ai"] * 5
    assert all(isinstance(m.content, str) for m in state["messages"])


def test_asynchronous_agents_read_the_same() -> None:
    memory, other = agent_memory(), agent_memory()
    agent = agent_of(memory, keep_recent=("messages", 2))
    twin = agent_of(other, keep_recent=("messages", 2))

    async def run() -> None:
        for number in range(5):
            text = f"Question number {number}, about the old harbour?"
            await twin.ainvoke({"messages": [HumanMessage(text)]}, thread())

    for number in range(5):
        say(agent, f"Question number {number}, about the old harbour?")
    asyncio.run(run())
    mine, others = engine_of(memory).contexts, engine_of(other).contexts
    assert [(c.tail, shown(c)) for c in mine] == [(c.tail, shown(c)) for c in others]
    assert len(mine[-1].visual) > 0


def test_a_call_and_its_results_are_on_one_side() -> None:
    script = [calls(("1", "look", {"at": "a"}), ("2", "look", {"at": "b"})), "Two lamps.", "Bye."]
    memory = agent_memory(lambda number: script[number])
    agent = agent_of(memory, tools=[look], keep_recent=("messages", 2))
    say(agent, "Look at a and b.")
    say(agent, "Thank you.")
    tails = [context.tail for context in engine_of(memory).contexts]
    assert tails[1].count("\ue007") == 2, "the call of the two results is text"
    assert tails[1].count("there is a lamp") == 2
    assert "Look at a and b." in tails[1], "the newest question is text though it is older"
    assert sorted(tools_of(engine_of(memory).told[0])) == ["expand_memory", "look"]


def test_a_dangling_call_is_sent_with_a_result_and_stays_as_it_is() -> None:
    memory = agent_memory()
    agent = agent_of(memory, tools=[look])
    dangling = AIMessage("", tool_calls=[{"id": "9", "name": "look", "args": {"at": "x"}}])
    agent.update_state(thread(), {"messages": [HumanMessage("Look."), dangling]}, as_node="tools")
    messages = say(agent, "Never mind.")
    assert "\ue003(no result)" in engine_of(memory).contexts[-1].tail
    assert [m.type for m in messages] == ["human", "ai", "human", "ai"]


def test_a_trigger_waits_until_any_of_its_sizes_is_reached() -> None:
    for trigger, first in ((("messages", 6), 3), ([("tokens", 90), ("messages", 99)], 2)):
        memory = agent_memory()
        agent = agent_of(memory, trigger=trigger, keep_recent=("messages", 1), expand=False)
        talked(agent, 6)
        counts = [len(memory.session("t").messages())]
        contexts = engine_of(memory).contexts
        whole = [
            number for number, c in enumerate(contexts) if c.tail.startswith("\ue000Question 0")
        ]
        assert whole == list(range(first)), trigger
        assert counts == [10]


def test_a_budget_moves_more_to_memory_than_was_asked() -> None:
    memory = agent_memory()
    agent = agent_of(memory, max_tokens=150, keep_recent=("messages", 100), expand=False)
    messages = talked(agent, 12)
    read = engine_of(memory).read
    assert max(read) <= 150
    assert len(messages) == 24
    assert len(engine_of(memory).contexts[-1].visual) > 3
    sizes = [context.tail.count("\ue000Question") for context in engine_of(memory).contexts]
    assert sizes[:2] == [1, 2], "as long as there is room, all is text"
    assert messages[-2].text in engine_of(memory).contexts[-1].tail


def test_a_result_that_is_too_large_is_a_stub_and_read_as_a_document() -> None:
    memory = agent_memory(lambda n: [calls(("1", "read_all", {})), "Read.", "Again."][n])
    agent = agent_of(memory, tools=[read_all], max_tokens=700, keep_recent=("messages", 4))
    messages = say(agent, "Read it all.")
    [result] = [m for m in messages if isinstance(m, ToolMessage)]
    assert len(result.text) > 5000, "the state has all of it"
    context = engine_of(memory).contexts[1]
    stub = re.search(
        r"\[([\d,]+) characters of this result are in visual memory; (.*)\]", context.tail
    )
    assert stub is not None
    assert stub[1] == f"{len(result.text):,}"
    assert re.fullmatch(r'expand_memory\(message="[0-9a-f]{8}"\) shows them', stub[2])
    assert "says 2093" in shown(context), "the newest part of the document is read"
    assert max(engine_of(memory).read) <= 700
    books = memory.collection("t/results")
    assert [document.text for document in books.documents()] == [result.text]
    say(agent, "Thanks. " * 30)
    assert [document.text for document in books.documents()] == [result.text]
    assert "says 2093" in shown(engine_of(memory).contexts[2])
    held = memory.session("t").messages()
    assert any("characters of this result" in m.text for m in held if m.role == "tool")


def test_the_newest_question_is_folded_and_shortened_if_it_is_too_long() -> None:
    memory = agent_memory()
    agent = agent_of(memory, max_tokens=400)
    long = "The story begins. " + "And then the bees flew on. " * 200 + "What did they do?"
    messages = say(agent, long)
    context = engine_of(memory).contexts[-1]
    assert max(engine_of(memory).read) <= 400
    assert messages[0].text == long
    assert "The story begins." in context.tail
    assert context.tail.endswith("What did they do?\ue001")
    assert "characters of this message are in visual memory" in context.tail
    assert memory.session("t").messages()[0].text == long
    assert "bees" in shown(context)


def test_a_chat_model_without_a_name_answers_with_the_engine_of_the_memory() -> None:
    memory = agent_memory(lambda number: "From the memory's engine.")
    llm = ChatVIST2(store="memory://")
    assert say(agent_of(memory, model=llm), "Hello.")[-1].text == "From the memory's engine."
    assert llm._engine is None, "no second model is loaded"


def test_without_a_thread_the_conversation_is_known_by_what_it_says() -> None:
    memory = agent_memory()
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 2))
    agent = create_agent(ChatVIST2(model=memory.engine), [], middleware=[middleware])
    talk: list[Any] = [
        ("user", "My cat is called Miso, and Anna keeps bees by the harbour."),
        ("assistant", "I see."),
    ]
    for number in range(4):
        agent.invoke({"messages": [*talk, ("user", f"What now, number {number}?")]})
        talk += [("user", f"What now, number {number}?"), ("assistant", "Yes.")]
    engine = engine_of(memory)
    assert "Miso" in shown(engine.contexts[-1])
    assert len(engine.encoded) == len(set(engine.encoded)), "nothing is encoded twice"
    assert memory.sessions() == []
    agent.invoke(
        {"messages": [("user", "My cat is called Miso."), ("user", "And?"), ("user", "So?")]}
    )
    assert "bees" not in shown(engine.contexts[-1]) + engine.contexts[-1].tail


def test_conversations_without_a_thread_are_forgotten_in_time() -> None:
    memory = agent_memory(chunk_tokens=64)
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1))
    agent = create_agent(ChatVIST2(model=memory.engine), [], middleware=[middleware])
    for number in range(70):
        agent.invoke({"messages": [("user", f"I am {number}."), ("user", "And who are you?")]})
    passing = middleware._passing
    assert passing is not None
    assert len(passing.sessions()) == 64


def test_a_deleted_thread_leaves_nothing() -> None:
    memory = agent_memory(lambda n: calls((str(n), "read_all", {})) if n == 0 else "Yes.")
    middleware = VisualMemoryMiddleware(memory, keep_recent=("messages", 1), max_tokens=700)
    saver = InMemorySaver()
    agent = create_agent(
        ChatVIST2(model=memory.engine), [read_all], middleware=[middleware], checkpointer=saver
    )
    talked(agent, 3)
    talked(agent, 2, thread("other"))
    state = agent.get_state(thread()).values["messages"]
    agent.update_state(thread(), {"messages": [HumanMessage("Edited.", id=state[0].id)]})
    talked(agent, 1)
    assert len(sessions_of(memory, "t")) == 2
    memory.flush()
    deleted = middleware.delete_thread("t")
    assert deleted.messages > 8
    assert deleted.tensors > 0
    assert [info.scope.name for info in memory.sessions()] == ["other"]
    assert memory.collections() == []
    assert asyncio.run(middleware.adelete_thread("other")).messages > 0
    assert memory.sessions() == []


def test_two_runs_of_one_thread_at_once_do_not_mix() -> None:
    memory = agent_memory()
    agent = agent_of(memory, keep_recent=("messages", 1))
    talked(agent, 2)

    async def both() -> list[Any]:
        saved = [uuid.uuid4().hex for _ in range(4)]
        runs = [
            agent.ainvoke(
                {"messages": [HumanMessage(f"I am {n}."), HumanMessage("Who?")]}, thread()
            )
            for n in saved
        ]
        return list(await asyncio.gather(*runs))

    results = asyncio.run(both())
    assert all(result["messages"][-1].text == "Yes." for result in results)
    for name in sessions_of(memory, "t"):
        said = [m.text for m in memory.session(name).messages() if m.text.startswith("I am")]
        assert len(said) <= 1


def test_an_agent_streams_and_traces_hold_no_words_of_the_memory() -> None:
    memory = agent_memory(lambda number: f"Answer {number}.")
    agent = agent_of(memory, keep_recent=("messages", 1))
    talked(agent, 3)

    class Kept(BaseTracer):
        def _persist_run(self, run: Run) -> None:
            pass

        def on_chat_model_start(self, *args: Any, **options: Any) -> Any:
            seen.append(repr(options["invocation_params"]))
            return super().on_chat_model_start(*args, **options)

    seen: list[str] = []
    config = {**thread(), "callbacks": [Kept()]}
    asked = {"messages": [HumanMessage("And the ferry?")]}
    pieces = [chunk.text for chunk, _ in agent.stream(asked, config, stream_mode="messages")]
    assert "".join(pieces) == "Answer 3."
    [told] = seen
    assert "VisualContext(session='t', upto=6, include=(), budget=None, digest=" in told
    assert "harbour" not in told
    assert copy.deepcopy(VisualContext(memory.session("t"), 1)).session is memory.session("t")
    with pytest.raises(ValueError, match="upto=-1"):
        VisualContext(memory.session("t"), -1)
