"""ChatVIST2 on a scripted engine: what is stored, what is asked, what LangChain is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, load
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_vist2 import ChatVIST2
from vist2_memory import ConflictError, InvalidMessageError, Message, StoreURLError
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.store import InMemoryStore
from vist2_memory.text.chunking import Chunker
from vist2_memory.types import (
    Chunk,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    Timing,
    ToolCall,
    Usage,
    VisualTokens,
)


class Words:
    """A tokenizer whose tokens are words with the space after them."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+\s*|\s+", text)]


class Scripted(Engine):
    """Says what it was told to say, in turn; keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.contexts: list[Context] = []
        self.params: list[GenerationParams] = []
        self.closed = 0
        self.chunker = Chunker(Words(), 8, lambda text: True)
        self.spec = EngineSpec(
            model="scripted",
            fingerprint="scripted-1",
            layout="words-8",
            chunk_tokens=8,
            keep_recent=8,
            max_visual_tokens=1000,
            max_text_tokens=1000,
            kv_bytes_per_token=1,
        )

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        values = np.ones((2, 4), np.float32)
        fingerprint = self.spec.fingerprint
        return [VisualTokens(chunk.id, values, fingerprint, chunk.tokens) for chunk in chunks]

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        self.contexts.append(context)
        self.params.append(params)
        answer = self.answers.pop(0) if self.answers else "Understood, my friend."
        deltas = re.findall(r"\S+\s*", answer)
        yield from map(TextDelta, deltas)
        text_tokens = sum(tokens.text_tokens for tokens in context.visual)
        tail = self.chunker.count(context.tail)
        usage = Usage(
            text_tokens=text_tokens,
            visual_tokens=sum(map(len, context.visual)),
            prompt_text_tokens=tail,
            full_prompt_tokens=tail + text_tokens,
            new_tokens=len(deltas),
        )
        yield Finished(answer, "stop", usage, Timing(first_token_s=0.25, total_s=0.5))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def llm(engine: Scripted) -> ChatVIST2:
    return ChatVIST2(model=engine, store="memory://", session_id="s")


def held(llm: ChatVIST2, session: str = "s") -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in llm.memory.session(session).messages()]


def said(*texts: str) -> list[BaseMessage]:
    """A conversation of human and assistant in turn."""
    kinds: tuple[type[BaseMessage], ...] = (HumanMessage, AIMessage)
    return [kinds[number % 2](content=text) for number, text in enumerate(texts)]


# The four ways of asking


def test_chain_remembers(engine: Scripted, llm: ChatVIST2) -> None:
    chain = ChatPromptTemplate.from_messages([("human", "{x}")]) | llm | StrOutputParser()
    engine.answers = ["Nice to meet her.", "Miso."]
    assert chain.invoke({"x": "My cat is Miso."}) == "Nice to meet her."
    assert chain.invoke({"x": "Who is my cat?"}) == "Miso."
    assert held(llm) == [
        ("user", "My cat is Miso."),
        ("assistant", "Nice to meet her."),
        ("user", "Who is my cat?"),
        ("assistant", "Miso."),
    ]
    assert "My cat is Miso." in engine.contexts[1].tail


def test_chain_remembers_what_another_instance_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    first = ChatVIST2(model=Scripted(), store=url, session_id="s")
    first.invoke("My cat is Miso.")
    first.close()
    engine = Scripted("Miso.")
    second = ChatVIST2(model=engine, store=url, session_id="s")
    assert second.invoke("Who is my cat?").content == "Miso."
    assert "My cat is Miso." in engine.contexts[0].tail
    second.close()


def test_stream(engine: Scripted, llm: ChatVIST2) -> None:
    engine.answers = ["one two three"]
    chunks = list(llm.stream("Count."))
    assert [chunk.content for chunk in chunks] == ["one ", "two ", "three", ""]
    assert [chunk.chunk_position for chunk in chunks] == [None, None, None, "last"]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert held(llm)[-1] == ("assistant", "one two three")


async def test_ainvoke_and_astream(engine: Scripted, llm: ChatVIST2) -> None:
    engine.answers = ["Nice to meet her.", "It is Miso."]
    assert (await llm.ainvoke("My cat is Miso.")).content == "Nice to meet her."
    chunks = [chunk async for chunk in llm.astream("Who is my cat?")]
    assert [chunk.content for chunk in chunks] == ["It ", "is ", "Miso.", ""]
    assert chunks[-1].usage_metadata is not None
    assert len(held(llm)) == 4


async def test_async_calls_do_not_block_the_loop(llm: ChatVIST2) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    await asyncio.gather(*(llm.ainvoke(f"q{i}", session_id=f"s{i}") for i in range(3)))
    ticker.cancel()
    assert ticks > 10
    assert all(held(llm, f"s{i}")[0] == ("user", f"q{i}") for i in range(3))


def test_session_by_bind_by_call_and_by_constructor(llm: ChatVIST2) -> None:
    llm.invoke("to s")
    llm.bind(session_id="b").invoke("to b")
    llm.invoke("to c", session_id="c")
    for session, text in (("s", "to s"), ("b", "to b"), ("c", "to c")):
        assert [turn for turn in held(llm, session) if turn[0] == "user"] == [("user", text)]


def test_without_session_nothing_is_kept_and_the_list_is_compressed(engine: Scripted) -> None:
    store = InMemoryStore()
    llm = ChatVIST2(model=engine, store=store)
    long = "a word and another word and one more, " * 10
    answer = llm.invoke([*said(long, "Thanks."), HumanMessage("And now?")])
    assert answer.content == "Understood, my friend."
    assert store.scopes("default", "session") == []
    assert engine.contexts[0].visual
    assert answer.response_metadata["compression_ratio"] == 4.0
    llm.invoke("Again?")
    assert engine.contexts[1].visual == ()
    assert "Again?" in engine.contexts[1].tail


# What becomes of a message list

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
    engine: Scripted, llm: ChatVIST2, given: list[BaseMessage], added: list[str]
) -> None:
    engine.answers = ["a1", "a2", "new"]
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
    engine: Scripted, llm: ChatVIST2, given: list[BaseMessage]
) -> None:
    engine.answers = ["a1", "a2"]
    llm.invoke("q1")
    llm.invoke("q2")
    before = held(llm)
    with pytest.raises(ConflictError, match="contradicts the session, which holds 4 messages"):
        llm.invoke(given)
    assert held(llm) == before


@pytest.mark.parametrize("history", [[], said("q1", "a1")], ids=["lone", "whole list"])
def test_cancelled_question_is_answered_when_asked_again(
    engine: Scripted, llm: ChatVIST2, history: list[BaseMessage]
) -> None:
    engine.answers = ["a1", "never told", "a2"]
    llm.invoke("q1")
    stream = llm.stream("q2")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert held(llm)[-1] == ("user", "q2")
    assert llm.invoke([*history, HumanMessage("q2")]).content == "a2"
    assert [text for _, text in held(llm)] == ["q1", "a1", "q2", "a2"]


async def test_cancelled_async_stream_is_answered_when_asked_again(
    engine: Scripted, llm: ChatVIST2
) -> None:
    async for _ in llm.astream("q1"):
        break
    assert (await llm.ainvoke("q1")).content == "Understood, my friend."
    assert [text for _, text in held(llm)] == ["q1", "Understood, my friend."]


def test_answered_question_sent_again_gets_the_stored_answer(
    engine: Scripted, llm: ChatVIST2
) -> None:
    engine.answers = ["a1", "a2"]
    llm.invoke("q1")
    llm.invoke("q2")
    again = llm.invoke(ABAB[:3])
    assert again.content == "a2"
    assert again.response_metadata["degraded"] == ["answered from the log"]
    assert len(engine.contexts) == 2
    assert len(held(llm)) == 4


def test_question_that_was_added_without_a_turn(llm: ChatVIST2) -> None:
    session = llm.memory.session("s")
    for role, text in (("user", "q1"), ("assistant", "a1"), ("user", "q2")):
        session.add(role, text)
    turn = session.messages()[-1].turn
    if turn:
        assert llm.invoke(ABAB[:3]).content == "Understood, my friend."
    else:
        with pytest.raises(ConflictError, match="without a turn"):
            llm.invoke(ABAB[:3])


def test_silent_answer_is_passed_over(engine: Scripted, llm: ChatVIST2) -> None:
    engine.answers = ["", "a2"]
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


def test_system_message_is_stored_once(engine: Scripted, llm: ChatVIST2) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{x}")])
    chain = prompt | llm
    chain.invoke({"x": "q1"})
    chain.invoke({"x": "q2"})
    assert [turn for turn in held(llm) if turn[0] == "system"] == [("system", "Be brief.")]
    assert all("Be brief." in context.pinned for context in engine.contexts)
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


@pytest.mark.parametrize(
    "given",
    [[], [SystemMessage("Be brief.")], said("q1", "a1"), [ToolMessage("4", tool_call_id="1")]],
)
def test_last_message_must_be_human(llm: ChatVIST2, given: list[BaseMessage]) -> None:
    with pytest.raises(InvalidMessageError, match="must be a human one"):
        llm.invoke([*given])
    assert held(llm) == []


@pytest.mark.parametrize("kind", ["image", "image_url", "file", "audio", "reasoning"])
def test_blocks_that_are_not_text_are_refused(llm: ChatVIST2, kind: str) -> None:
    block: dict[str, Any] = {"type": kind, "url": "https://example.org/cat.png"}
    if kind == "image_url":
        block = {"type": kind, "image_url": {"url": "https://example.org/cat.png"}}
    with pytest.raises(InvalidMessageError, match="content block of type"):
        llm.invoke([HumanMessage([{"type": "text", "text": "Who is it?"}, block])])
    assert held(llm) == []


def test_text_blocks_are_joined(llm: ChatVIST2) -> None:
    llm.invoke([HumanMessage([{"type": "text", "text": "My cat "}, "is Miso."])])
    assert held(llm)[0] == ("user", "My cat is Miso.")


def test_answers_of_output_version_1_are_recognised(engine: Scripted) -> None:
    llm = ChatVIST2(model=engine, store="memory://", session_id="s", output_version="v1")
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


# What LangChain is told


def test_usage_and_metadata(llm: ChatVIST2) -> None:
    llm.invoke("a word and another word and one more, " * 10)
    answer = llm.invoke("And?")
    usage = answer.usage_metadata
    assert usage is not None
    visual = answer.response_metadata["visual_tokens"]
    assert visual > 0
    assert usage["input_token_details"] == {"cache_read": visual, "cache_creation": 0}
    assert usage["input_tokens"] > visual
    assert usage["output_tokens"] == 3
    assert usage["total_tokens"] == usage["input_tokens"] + 3
    metadata = answer.response_metadata
    assert metadata["model_name"] == "scripted"
    assert metadata["finish_reason"] == "stop"
    assert metadata["compression_ratio"] == 4.0
    assert metadata["context_ratio"] > 1
    assert metadata["degraded"] == []
    assert metadata["timing"]["total_s"] >= 0.5
    streamed = list(llm.stream("And?"))[-1]
    assert streamed.response_metadata.keys() == metadata.keys()


def test_parameters_of_instance_and_of_call(engine: Scripted, llm: ChatVIST2) -> None:
    llm.invoke("q")
    llm.invoke("q", stop=["\n"], max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, seed=7)
    assert engine.params == [GenerationParams(), GenerationParams(5, 0.5, 0.9, 3, 7, ("\n",))]
    own = ChatVIST2(model=engine, max_tokens=9, stop="END")
    own.invoke("q")
    assert engine.params[2] == replace(GenerationParams(), max_tokens=9, stop=("END",))


def test_wrong_options_are_told(llm: ChatVIST2) -> None:
    with pytest.raises(ValueError, match="sesion_id"):
        ChatVIST2(sesion_id="s")
    with pytest.raises(ValueError, match=r"temperature=-1\.0 is not allowed"):
        ChatVIST2(temperature=-1)
    with pytest.raises(TypeError, match="'n'"):
        llm.invoke("q", n=2)
    with pytest.raises(ValueError, match="top_p=2 is not allowed"):
        llm.invoke("q", top_p=2)
    with pytest.raises(StoreURLError, match="mysql"):
        ChatVIST2(store="mysql://", session_id="s").invoke("q")
    assert held(llm) == []


def test_tokens_are_counted_by_the_model(llm: ChatVIST2) -> None:
    assert llm.get_num_tokens("one two three") == 3
    assert llm.get_num_tokens_from_messages(said("one two", "three")) == 3
    with pytest.raises(NotImplementedError):
        llm.get_token_ids("one")


def test_cache_of_langchain_loses_no_turn(engine: Scripted) -> None:
    llm = ChatVIST2(model=engine, store="memory://", cache=InMemoryCache())
    for _ in range(2):
        llm.invoke("q", session_id="s")
    assert [role for role, _ in held(llm)] == ["user", "assistant"] * 2
    for _ in range(2):
        llm.invoke("q")
    assert len(engine.contexts) == 3  # without a session the second is a hit


@pytest.mark.parametrize(
    "url", ["redis://me:hush@localhost:6379/0", "redis://localhost:6379/0?password=hush"]
)
def test_no_password_is_written_down(url: str) -> None:
    llm = ChatVIST2(store=url)
    for shown in (dumpd(llm), llm.asdict(), llm):
        assert "hush" not in repr(shown)
    assert llm.asdict()["store"] == "redis://localhost:6379/0"


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_serialisable() -> None:
    plain = ChatVIST2(model="vist2-tiny", store="memory://", temperature=0.5, session_id="s")
    again = load(dumpd(plain), valid_namespaces=["langchain_vist2"], allowed_objects=[ChatVIST2])
    assert again.asdict() == plain.asdict()


def test_tracing_parameters(engine: Scripted) -> None:
    params = ChatVIST2(model=engine, max_tokens=5, stop=["."])._get_ls_params()
    assert params["ls_provider"] == "vist2"
    assert params["ls_model_name"] == "scripted"
    assert params["ls_model_type"] == "chat"
    assert params["ls_max_tokens"] == 5
    assert params["ls_stop"] == ["."]
    assert ChatVIST2()._get_ls_params()["ls_model_name"] == "vist2-tiny"
    assert ChatVIST2()._llm_type == "vist2"


def test_close_frees_store_and_engine(engine: Scripted, tmp_path: Path) -> None:
    llm = ChatVIST2(model=engine, store=f"sqlite:///{tmp_path / 'm.db'}", session_id="s")
    llm.close()  # nothing was opened
    assert not (tmp_path / "m.db").exists()
    llm.invoke("q1")
    llm.close()
    assert engine.closed
    llm.invoke("q2")  # opens it again
    assert [text for role, text in held(llm) if role == "user"] == ["q1", "q2"]
    llm.close()
