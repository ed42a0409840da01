"""ChatVIST2 on a scripted engine: ways of asking it, and what LangChain is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_vist2 import ChatVIST2
from tests.support.scripted import ANSWER, Scripted, held, said
from vist2_memory import StoreURLError
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.store import InMemoryStore
from vist2_memory.types import GenerationParams

pytest_plugins = ("tests.support.fixtures", "tests.support.scripted_fixtures")


# The four ways of asking


def test_chain_remembers(scripted: Scripted, llm: ChatVIST2) -> None:
    chain = ChatPromptTemplate.from_messages([("human", "{x}")]) | llm | StrOutputParser()
    scripted.answers = ["Nice to meet her.", "Miso."]
    assert chain.invoke({"x": "My cat is Miso."}) == "Nice to meet her."
    assert chain.invoke({"x": "Who is my cat?"}) == "Miso."
    assert held(llm) == [
        ("user", "My cat is Miso."),
        ("assistant", "Nice to meet her."),
        ("user", "Who is my cat?"),
        ("assistant", "Miso."),
    ]
    assert "My cat is Miso." in scripted.contexts[1].tail


def test_chain_remembers_what_another_instance_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    first = ChatVIST2(model=Scripted(), store=url, session_id="s")
    first.invoke("My cat is Miso.")
    first.close()
    scripted = Scripted("Miso.")
    second = ChatVIST2(model=scripted, store=url, session_id="s")
    assert second.invoke("Who is my cat?").content == "Miso."
    assert "My cat is Miso." in scripted.contexts[0].tail
    second.close()


def test_stream(scripted: Scripted, llm: ChatVIST2) -> None:
    scripted.answers = ["one two three"]
    chunks = list(llm.stream("Count."))
    assert [chunk.content for chunk in chunks] == ["one ", "two ", "three", ""]
    assert [chunk.chunk_position for chunk in chunks] == [None, None, None, "last"]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert held(llm)[-1] == ("assistant", "one two three")


async def test_ainvoke_and_astream(scripted: Scripted, llm: ChatVIST2) -> None:
    scripted.answers = ["Nice to meet her.", "It is Miso."]
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


def test_without_session_nothing_is_kept_and_the_list_is_compressed(scripted: Scripted) -> None:
    store = InMemoryStore()
    llm = ChatVIST2(model=scripted, store=store)
    long = "a word and another word and one more, " * 10
    answer = llm.invoke([*said(long, "Thanks."), HumanMessage("And now?")])
    assert answer.content == ANSWER
    assert store.scopes("default", "session") == []
    assert scripted.contexts[0].visual
    assert answer.response_metadata["compression_ratio"] == 4.0
    llm.invoke("Again?")
    assert scripted.contexts[1].visual == ()
    assert "Again?" in scripted.contexts[1].tail


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


def test_parameters_of_instance_and_of_call(scripted: Scripted, llm: ChatVIST2) -> None:
    llm.invoke("q")
    llm.invoke("q", stop=["\n"], max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, seed=7)
    assert scripted.params == [GenerationParams(), GenerationParams(5, 0.5, 0.9, 3, 7, ("\n",))]
    own = ChatVIST2(model=scripted, max_tokens=9, stop="END", exact_quotes=False)
    own.invoke("q")
    assert scripted.params[2] == replace(
        GenerationParams(), max_tokens=9, stop=("END",), exact_quotes=False
    )
    own.invoke("q", exact_quotes=True)
    assert scripted.params[3].exact_quotes


def test_wrong_options_are_told(llm: ChatVIST2) -> None:
    with pytest.raises(ValueError, match="sesion_id"):
        ChatVIST2(sesion_id="s")
    with pytest.raises(ValueError, match=r"temperature=-1\.0 is not allowed"):
        ChatVIST2(temperature=-1)
    with pytest.raises(TypeError, match="'frequency_penalty'"):
        llm.invoke("q", frequency_penalty=2)
    with pytest.raises(ValueError, match="n=2 answers to one question cannot be asked for"):
        llm.invoke("q", n=2)
    with pytest.raises(ValueError, match="media='drop' is not allowed"):
        llm.invoke("q", media="drop")
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


def test_cache_of_langchain_loses_no_turn(scripted: Scripted) -> None:
    llm = ChatVIST2(model=scripted, store="memory://", cache=InMemoryCache())
    for _ in range(2):
        llm.invoke("q", session_id="s")
    assert [role for role, _ in held(llm)] == ["user", "assistant"] * 2
    for _ in range(2):
        llm.invoke("q")
    assert len(scripted.contexts) == 3  # without a session the second is a hit


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


def test_tracing_parameters(scripted: Scripted) -> None:
    params = ChatVIST2(model=scripted, max_tokens=5, stop=["."])._get_ls_params()
    assert params["ls_provider"] == "vist2"
    assert params["ls_model_name"] == "scripted"
    assert params["ls_model_type"] == "chat"
    assert params["ls_max_tokens"] == 5
    assert params["ls_stop"] == ["."]
    assert ChatVIST2()._get_ls_params()["ls_model_name"] == "vist2-tiny"
    assert ChatVIST2()._llm_type == "vist2"


def test_close_frees_the_store_and_leaves_an_engine_open_that_was_passed_in(
    scripted: Scripted, tmp_path: Path
) -> None:
    llm = ChatVIST2(model=scripted, store=f"sqlite:///{tmp_path / 'm.db'}", session_id="s")
    llm.close()  # nothing was opened
    assert not (tmp_path / "m.db").exists()
    llm.invoke("q1")
    llm.close()
    assert not scripted.closed
    llm.invoke("q2")  # opens the store again
    assert [text for role, text in held(llm) if role == "user"] == ["q1", "q2"]
    llm.close()


def test_close_frees_the_engine_that_it_loaded(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(TorchEngine, "close", lambda engine: closed.append(engine))
    llm = ChatVIST2(model=str(checkpoint), store="memory://", device="cpu")
    engine = llm.engine
    llm.close()
    assert closed == [engine]
