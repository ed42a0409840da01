"""ChatVIST2 where not all fits: what is read is chosen as the call says, and told."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_vist2 import ChatVIST2
from tests.support.memories import DOCUMENTS
from tests.support.plain import PlainEngine
from vist2_memory.errors import InvalidInputError

CAT = HumanMessage("My cat is called Miso.")
DAYS = [
    message
    for n in range(8)
    for message in (AIMessage("Yes."), HumanMessage(f"Day {n}: it rained, and I read by the fire."))
]
TALK: list[BaseMessage] = [CAT, *DAYS, AIMessage("Yes."), HumanMessage("What is my cat called?")]


@pytest.fixture
def engine() -> PlainEngine:
    return PlainEngine(max_visual_tokens=12)


@pytest.fixture
def llm(engine: PlainEngine) -> ChatVIST2:
    return ChatVIST2(model=engine, store="memory://")


def read(engine: PlainEngine) -> str:
    return "".join(chunk.text for chunk in engine.contexts[-1].sources)


@pytest.mark.parametrize("session", [None, "user-42"])
def test_a_call_says_how_what_is_read_is_chosen(
    engine: PlainEngine, llm: ChatVIST2, session: str | None
) -> None:
    answer = llm.invoke(TALK, session_id=session)
    assert "Miso" not in read(engine)
    told = answer.response_metadata["left_out"]
    assert sum(part["tokens"] for part in told) == answer.response_metadata["left_out_tokens"] > 0
    asked = [*TALK, answer, HumanMessage("What is my cat called?")]
    answer = llm.bind(selection="relevant").invoke(asked, session_id=session)
    assert "Miso" in read(engine)
    assert sum(map(len, engine.contexts[-1].visual)) <= 12


def test_pins_and_a_budget_reach_the_session(engine: PlainEngine, llm: ChatVIST2) -> None:
    books = llm.memory.collection("handbook")
    books.add_documents([DOCUMENTS[0], DOCUMENTS[1]])
    [ferry, _] = books.documents()
    bound = llm.bind(session_id="a", include=["handbook"])
    bound.invoke(TALK, pins=[ferry.id])
    assert DOCUMENTS[0] in read(engine)
    last = [HumanMessage("When?")]
    bound.invoke(last, budget=60)
    context, count = engine.contexts[-1], engine.chunker.count
    visual = sum(map(len, context.visual))
    assert 0 < visual + count(context.pinned) + count(context.tail) <= 60
    for bad in ({"pins": ["nothing"]}, {"selection": "best"}, {"budget": 0}):
        with pytest.raises(InvalidInputError):
            bound.invoke(last, **bad)  # type: ignore[arg-type]


def test_what_fits_is_read_whole_and_nothing_is_told(llm: ChatVIST2) -> None:
    answer = llm.invoke([CAT], selection="relevant")
    assert "left_out" not in answer.response_metadata
