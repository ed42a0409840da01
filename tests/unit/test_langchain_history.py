"""``Vist2ChatMessageHistory`` in LangChain's chains, with any model and with ChatVIST2."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_vist2 import ChatVIST2, Vist2ChatMessageHistory
from langchain_vist2.messages import import_messages
from tests.support.langchain_messages import ONE_OF_EACH, any_messages
from tests.support.memories import in_a_process, output_of, plain
from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import (
    ConflictError,
    InvalidInputError,
    InvalidMessageError,
    InvalidScopeError,
    StoreUnavailableError,
    VisualMemory,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:RunnableWithMessageHistory is deprecated", "ignore:The class `.*` was deprecated"
)
CONFIG: RunnableConfig = {"configurable": {"session_id": "s"}}


def history(memory: VisualMemory, name: str = "s") -> Vist2ChatMessageHistory:
    return Vist2ChatMessageHistory(name, memory=memory)


def said(memory: VisualMemory, name: str = "s") -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in memory.session(name).messages()]


def with_history(
    model: Runnable[Any, Any], memory: VisualMemory, **keys: str
) -> RunnableWithMessageHistory:
    return RunnableWithMessageHistory(model, lambda session_id: history(memory, session_id), **keys)


PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{input}")]
)
KEYS = {"input_messages_key": "input", "history_messages_key": "history"}
EXCHANGED = [("user", "Hi."), ("assistant", "a"), ("user", "And?"), ("assistant", "b")]


def test_a_chain_with_history_remembers() -> None:
    memory = plain()
    chain = with_history(PROMPT | FakeListChatModel(responses=["a", "b"]), memory, **KEYS)
    for text in ("Hi.", "And?"):
        chain.invoke({"input": text}, CONFIG)
    assert said(memory) == EXCHANGED
    assert [m.content for m in history(memory).messages] == ["Hi.", "a", "And?", "b"]
    assert memory.session("s").chunks()


async def test_a_chain_with_history_remembers_in_an_event_loop() -> None:
    memory = plain()
    model = PROMPT | FakeListChatModel(responses=["a", "b"]) | StrOutputParser()
    chain = with_history(model, memory, **KEYS)
    assert await chain.ainvoke({"input": "Hi."}, CONFIG) == "a"
    assert "".join([piece async for piece in chain.astream({"input": "And?"}, CONFIG)]) == "b"
    assert said(memory) == EXCHANGED


def test_a_model_that_is_given_lists_remembers() -> None:
    memory = plain()
    chain = with_history(FakeListChatModel(responses=["a", "b"]), memory)
    for text in ("Hi.", "And?"):
        chain.invoke([HumanMessage(text)], CONFIG)
    assert said(memory) == EXCHANGED


# With ChatVIST2


Call = Callable[[Runnable[Any, Any], Any], Any]


def _ainvoke(chain: Runnable[Any, Any], given: Any) -> Any:
    return asyncio.run(chain.ainvoke(given, CONFIG))


CALLS: list[Call] = [
    lambda chain, given: chain.invoke(given, CONFIG),
    lambda chain, given: list(chain.stream(given, CONFIG)),
    _ainvoke,
]
by_every_call = pytest.mark.parametrize("call", CALLS, ids=["invoke", "stream", "ainvoke"])


@by_every_call
@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("own", [None, "s", "t"])
def test_no_turn_is_doubled(call: Call, prompted: bool, own: str | None) -> None:
    """Whether ChatVIST2 has no session, the very one of the history, or another."""
    memory = plain("a", "b")
    llm = ChatVIST2(model=memory.engine, store=memory.store, session_id=own)
    if prompted:
        chain = with_history(PROMPT | llm, memory, **KEYS)
        given: list[Any] = [{"input": text} for text in ("Hi.", "And?")]
    else:
        chain = with_history(llm, memory)
        given = [[HumanMessage(text)] for text in ("Hi.", "And?")]
    for one in given:
        call(chain, one)
    flow = [one for one in said(memory) if one[0] != "system"]
    assert flow == EXCHANGED
    assert history(memory).messages[-1].content == "b"
    if own == "t":
        assert [one for one in said(memory, "t") if one[0] != "system"] == EXCHANGED


def test_the_same_words_twice_are_two_turns() -> None:
    memory = plain("a", "a")
    llm = ChatVIST2(model=memory.engine, store=memory.store, session_id="s")
    for model in (llm, FakeListChatModel(responses=["a"])):
        chain = with_history(PROMPT | model, memory, **KEYS)
        for _ in range(2):
            chain.invoke({"input": "Hi."}, CONFIG)
    assert [one for one in said(memory) if one[0] != "system"] == EXCHANGED[:2] * 4


def test_what_another_session_of_that_name_answered_is_added() -> None:
    memory, elsewhere = plain(), plain("a", "b")
    llm = ChatVIST2(model=elsewhere.engine, store=elsewhere.store, session_id="s")
    chain = with_history(llm, memory)
    for text in ("Hi.", "And?"):
        chain.invoke([HumanMessage(text)], CONFIG)
    assert said(memory) == EXCHANGED


def test_an_answer_that_says_nothing_is_not_doubled_either() -> None:
    memory = plain("")
    llm = ChatVIST2(model=memory.engine, store=memory.store, session_id="s")
    with_history(PROMPT | llm, memory, **KEYS).invoke({"input": "Hi."}, CONFIG)
    assert [role for role, _ in said(memory)] == ["system", "user", "assistant"]


# What is kept


@settings(max_examples=25)
@given(st.lists(any_messages.filter(lambda m: not m.id), max_size=6))
def test_any_conversation_comes_back(
    tmp_path_factory: pytest.TempPathFactory, given: list[BaseMessage]
) -> None:
    memory = plain()
    history(memory).add_messages(given)
    assert history(memory).messages == given
    assert import_messages(memory, "imported", given, "keep") == len(given)
    assert history(memory, "imported").messages == given
    if given:
        file = tmp_path_factory.mktemp("export") / "s.jsonl"
        memory.session("s").export(file)
        other = plain()
        other.import_session(file)
        assert history(other).messages == given
        memory.session("s").chunks()  # and a model can read it


def test_a_message_that_cannot_be_kept_is_told_and_nothing_stored() -> None:
    memory = plain()
    with pytest.raises(InvalidMessageError, match="NUL"):
        history(memory).add_messages([HumanMessage("Hi."), AIMessage("a\0")])
    with pytest.raises(ConflictError, match="'1'"):
        history(memory).add_messages([HumanMessage("Hi.", id="1"), AIMessage("a", id="1")])
    assert history(memory).messages == []


@pytest.mark.parametrize("id", ["", "x" * 1025, "\ud800", "ü" * 1024])
def test_an_id_that_no_store_takes_is_kept_too(id: str) -> None:
    memory, message = plain(), HumanMessage("Hi.", id=id)
    history(memory).add_messages([message])
    assert history(memory).messages == [message]


def test_what_was_imported_is_known_by_its_id() -> None:
    memory = plain()
    talk = [HumanMessage("Hi.", id="1"), AIMessage("a", id="2")]
    import_messages(memory, "s", talk)
    history(memory).add_messages([*talk, HumanMessage("And?", id="3")])
    assert [m.id for m in history(memory).messages] == ["1", "2", "3"]
    with pytest.raises(ConflictError, match="'2', 'a'"):
        history(memory).add_messages([AIMessage("b", id="2")])


def test_an_edited_message_has_its_new_text() -> None:
    memory = plain()
    history(memory).add_messages([HumanMessage(["My cat ", "is Mso."], id="1", name="Anna")])
    memory.session("s").edit("1", "My cat is Miso.")
    assert history(memory).messages == [HumanMessage("My cat is Miso.", id="1", name="Anna")]


def test_an_order_to_remove_is_kept_and_not_obeyed() -> None:
    memory = plain()
    given: list[BaseMessage] = [HumanMessage("Hi.", id="1"), RemoveMessage(id="1")]
    history(memory).add_messages([given[0]])
    history(memory).add_messages([RemoveMessage(id="2")])
    assert history(memory).messages == [given[0], RemoveMessage(id="2")]


def test_langchains_own_methods_are_there() -> None:
    mine = history(plain())
    mine.add_user_message("Hi.")
    mine.add_ai_message("a")
    assert str(mine) == "Human: Hi.\nAI: a"
    mine.clear()
    assert mine.messages == []


# Where it is kept


def test_it_opens_its_store_when_it_is_needed_and_closes_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Vist2ChatMessageHistory("s", store=url, namespace="acme", ttl=60) as mine:
        assert not (tmp_path / "memory.db").exists()
        mine.add_messages(ONE_OF_EACH)
        assert mine.session.scope.namespace == "acme"
    with VisualMemory.open(url, model=PlainEngine(), namespace="acme") as memory:
        assert history(memory).messages == ONE_OF_EACH
    assert mine.messages == ONE_OF_EACH  # it opens it again
    mine.close()
    mine.close()


async def test_it_is_a_context_for_event_loops_too(redis_url: str, request: Any) -> None:
    name = f"{request.node.name} {id(request)}"
    async with Vist2ChatMessageHistory("s", store=redis_url, namespace=name) as mine:
        await mine.aadd_messages(ONE_OF_EACH)
        assert await mine.aget_messages() == ONE_OF_EACH
        await mine.aclear()
    await mine.aclose()


def test_a_memory_that_was_given_stays_open() -> None:
    memory = plain()
    with history(memory) as mine:
        mine.add_user_message("Hi.")
    assert said(memory) == [("user", "Hi.")]


def test_what_cannot_be_is_told_at_once() -> None:
    with pytest.raises(InvalidInputError, match="memory is given and store, ttl too"):
        Vist2ChatMessageHistory("s", memory=plain(), store="memory://", ttl=5)
    with pytest.raises(InvalidScopeError):
        Vist2ChatMessageHistory("")
    with pytest.raises(InvalidScopeError, match="namespace"):
        Vist2ChatMessageHistory("s", namespace="")


async def test_redis_is_asked_without_a_thread(
    redis_url: str, request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{request.node.name} {id(request)}"
    memory = await VisualMemory.aopen(redis_url, model=PlainEngine(), namespace=name, outbox=None)
    async with memory:
        monkeypatch.delattr(asyncio, "to_thread")
        await history(memory).aadd_messages(ONE_OF_EACH)
        assert await history(memory).aget_messages() == ONE_OF_EACH
        await history(memory).aclear()
        monkeypatch.undo()


ADD_AND_READ = """
import sys
from langchain_core.messages import AIMessage, HumanMessage
from langchain_vist2 import Vist2ChatMessageHistory

history = Vist2ChatMessageHistory("s", store=sys.argv[1])
history.add_messages([HumanMessage("Hi."), AIMessage("a")])
print([message.content for message in history.messages])
history.close()
print(*{"torch", "transformers"} & set(sys.modules))
"""


def test_to_add_and_to_read_takes_no_torch(tmp_path: Path) -> None:
    told = output_of(in_a_process(ADD_AND_READ, f"sqlite:///{tmp_path / 'memory.db'}"))
    assert told == "['Hi.', 'a']\n\n"


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_in_the_outbox_comes_first(tmp_path: Path, is_async: bool) -> None:
    store = FailingStore()
    engine = PlainEngine(["Miso."])
    memory = VisualMemory.open(store, model=engine, outbox=tmp_path / "outbox.db")
    events = memory.session("s").stream("Who?")
    next(events)
    store.broken.add("append")
    assert [*events]
    more = [HumanMessage("Thanks.")]
    with pytest.raises(StoreUnavailableError):
        history(memory).add_messages(more)
    store.broken.clear()
    if is_async:
        asyncio.run(history(memory).aadd_messages(more))
    else:
        history(memory).add_messages(more)
    assert [text for _, text in said(memory)] == ["Who?", "Miso.", "Thanks."]
