"""``Vist2ChatMessageHistory`` beside ChatVIST2 on the bundled model."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_vist2 import ChatVIST2, Vist2ChatMessageHistory
from tests.support.memories import TALK
from vist2_memory import VisualMemory

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated"),
]
PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{input}")])
CONFIG: RunnableConfig = {"configurable": {"session_id": "s"}}
BEFORE: list[BaseMessage] = [
    (HumanMessage if role == "user" else AIMessage)(f"{number}. {text}")
    for number in range(6)
    for role, text in TALK[:2]
]


@pytest.mark.parametrize("session_id", [None, "s"])
def test_a_chain_goes_on_from_a_history_that_no_model_has_read(
    tmp_path: Path, session_id: str | None
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Vist2ChatMessageHistory("s", store=url) as history:
        history.add_messages(BEFORE)
    with VisualMemory.open(url) as memory:
        llm = ChatVIST2(
            model=memory.engine, store=memory.store, session_id=session_id, max_tokens=8
        )
        chain = RunnableWithMessageHistory(
            PROMPT | llm,
            lambda id: Vist2ChatMessageHistory(id, memory=memory),
            input_messages_key="input",
            history_messages_key="history",
        )
        answers = [chain.invoke({"input": text}, CONFIG) for text in ("Who?", "Who?")]
        assert all(answer.response_metadata["visual_tokens"] > 0 for answer in answers)
        llm.close()
    with Vist2ChatMessageHistory("s", store=url) as history:
        messages = history.messages
    assert messages[: len(BEFORE)] == BEFORE
    said = [HumanMessage, AIMessage] * 2
    assert [type(message) for message in messages[len(BEFORE) :]] == said
    assert [m.text for m in messages[len(BEFORE) + 1 :: 2]] == [a.text for a in answers]
    if session_id is None:
        assert messages[-1] == answers[-1]
