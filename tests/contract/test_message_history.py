"""``Vist2ChatMessageHistory`` over the stores: what is added comes back, in order, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_vist2 import Vist2ChatMessageHistory
from tests.contract.conftest import SERVERS, backend_of
from tests.support.backends import Backend
from tests.support.langchain_messages import ONE_OF_EACH
from tests.support.plain import PlainEngine
from vist2_memory import ConflictError, VisualMemory

Opener = Callable[[], VisualMemory]


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "joined",
        "redis",
        pytest.param("sentinel", marks=SERVERS),
        pytest.param("cluster", marks=SERVERS),
        "encrypted sqlite",
        "signed redis",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made = backend_of(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def opened(place: Backend) -> Opener:
    """Another memory in the same place with each call, as other processes have."""
    return lambda: VisualMemory.open(
        place.open(), model=PlainEngine(), namespace=place.namespace, outbox=None
    )


def history(memory: VisualMemory, name: str = "a") -> Vist2ChatMessageHistory:
    return Vist2ChatMessageHistory(name, memory=memory)


def test_one_of_each_class_comes_back_equal_from_everywhere(opened: Opener, tmp_path: Path) -> None:
    history(opened()).add_messages(ONE_OF_EACH)
    memory = opened()
    assert history(memory).messages == ONE_OF_EACH
    assert [type(m) for m in history(memory).messages] == [type(m) for m in ONE_OF_EACH]

    memory.session("a").export(tmp_path / "a.jsonl")
    memory.import_session(tmp_path / "a.jsonl", "imported")
    assert history(memory, "imported").messages == ONE_OF_EACH
    memory.session("a").branch("branch")
    assert history(memory, "branch").messages == ONE_OF_EACH
    with VisualMemory.open("memory://", model=PlainEngine()) as other:
        memory.move_session("branch", other)
        assert history(other, "branch").messages == ONE_OF_EACH
    assert history(memory, "branch").messages == []


async def test_the_same_for_event_loops(opened: Opener) -> None:
    added, read = history(opened()), history(opened())
    assert await read.aget_messages() == []
    await added.aadd_messages(ONE_OF_EACH)
    assert await read.aget_messages() == ONE_OF_EACH
    await read.aclear()
    assert await added.aget_messages() == []


def test_thousands_come_back_in_order(opened: Opener) -> None:
    """With one time for all of them: it is the log that has the order."""
    given: list[BaseMessage] = [HumanMessage(f"{number}") for number in range(2500)]
    added = history(opened())
    for start in range(0, len(given), 500):
        added.add_messages(given[start : start + 500])
    added.add_ai_message("That is a lot.")
    assert history(opened()).messages == [*given, AIMessage("That is a lot.")]


def test_a_message_with_an_id_is_stored_once(opened: Opener) -> None:
    question, answer = HumanMessage("Who?", id="q"), AIMessage("Miso.", id="a")
    for added in history(opened()), history(opened()):
        added.add_messages([question, answer])
        added.add_messages([answer, answer])
    added.add_messages([question, answer, HumanMessage("Thanks.")])
    assert added.messages == [question, answer, HumanMessage("Thanks.")]
    with pytest.raises(ConflictError, match="'a'"):
        added.add_messages([HumanMessage("And?"), AIMessage("Another.", id="a")])
    assert len(added.messages) == 3


def test_what_is_added_in_one_call_stays_together_under_many_writers(opened: Opener) -> None:
    memories = [opened() for _ in range(4)]

    def talk(number: int) -> None:
        for turn in range(6):
            said = f"{number} {turn}"
            history(memories[number]).add_messages([HumanMessage(said), AIMessage(said)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk, range(4)))
    messages = history(opened()).messages
    pairs = list(zip(messages[::2], messages[1::2], strict=True))
    assert all(isinstance(q, HumanMessage) and q.content == a.content for q, a in pairs)
    for number in range(4):
        said = [str(q.content) for q, _ in pairs if str(q.content).startswith(f"{number} ")]
        assert said == [f"{number} {turn}" for turn in range(6)]


async def test_many_tasks_of_a_loop_lose_nothing(opened: Opener) -> None:
    memory = opened()
    await asyncio.gather(
        *(history(memory).aadd_messages([HumanMessage(f"{number}")]) for number in range(20))
    )
    found = await history(memory).aget_messages()
    assert sorted(int(str(m.content)) for m in found) == list(range(20))


def test_clearing_leaves_nothing(opened: Opener, place: Backend) -> None:
    memory = opened()
    history(memory).add_messages(ONE_OF_EACH)
    memory.session("a").ask("And who is it?")
    memory.flush()
    history(memory).clear()
    assert history(memory).messages == []
    assert place.leftovers() == []
    history(memory).add_user_message("Anew.")
    assert history(opened()).messages == [HumanMessage("Anew.")]
