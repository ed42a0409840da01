"""Histories of RedisChatMessageHistory and SQLChatMessageHistory, taken into sessions."""

from __future__ import annotations

import json
import runpy
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    message_to_dict,
    messages_from_dict,
)
from langgraph.checkpoint.memory import InMemorySaver

from langchain_vist2 import Vist2ChatMessageHistory
from langchain_vist2.history.migration import (
    import_redis_histories,
    import_sql_histories,
    unsummarized_messages,
)
from tests.support.langchain_messages import ONE_OF_EACH
from tests.support.memories import ROOT, plain
from vist2_memory import ConflictError, InvalidInputError, StoreFormatError, VisualMemory

TALK: list[BaseMessage] = [
    HumanMessage("My cat is called Miso.", id="1"),
    AIMessage("What a name!", tool_calls=[{"name": "note", "args": {"cat": "Miso"}, "id": "c1"}]),
    HumanMessage("Is it?"),
    HumanMessage("Is it?"),
]


def written(messages: Sequence[BaseMessage]) -> list[str]:
    """As both classes write them."""
    return [json.dumps(message_to_dict(message)) for message in messages]


def held(memory: VisualMemory, session: str) -> list[BaseMessage]:
    return Vist2ChatMessageHistory(session, memory=memory).messages


@pytest.fixture
def prefix() -> str:
    return f"[old]*{uuid.uuid4().hex}?\\:"


@pytest.fixture(params=[False, True])
def client(request: pytest.FixtureRequest, redis_url: str, prefix: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=request.param) as made:
        yield made
        for key in made.scan_iter(count=1000):
            name = key.decode() if isinstance(key, bytes) else key
            if name.startswith(prefix):
                made.delete(key)


def push(client: redis.Redis, key: str, messages: Sequence[BaseMessage]) -> None:
    """As RedisChatMessageHistory adds messages: each in front of the others."""
    for message in written(messages):
        client.lpush(key, message)


def test_lists_in_redis_become_sessions(client: redis.Redis, prefix: str) -> None:
    memory = plain()
    push(client, f"{prefix}Anna:1", TALK)
    push(client, f"{prefix}Björn", TALK[:1])
    push(client, f"another {prefix}", TALK)
    try:
        assert import_redis_histories(memory, client, key_prefix=prefix) == {
            "Anna:1": 4,
            "Björn": 1,
        }
        assert held(memory, "Anna:1") == TALK
        assert held(memory, "Björn") == TALK[:1]
        push(client, f"{prefix}Björn", TALK[1:])
        assert import_redis_histories(memory, client, key_prefix=prefix) == {
            "Anna:1": 0,
            "Björn": 3,
        }
        assert held(memory, "Björn") == TALK
    finally:
        client.delete(f"another {prefix}")
    Vist2ChatMessageHistory("Björn", memory=memory).add_user_message("Gone on.")
    assert import_redis_histories(memory, client, key_prefix=prefix)["Björn"] == 0
    push(client, f"{prefix}Björn", [HumanMessage("Gone on elsewhere.")])
    with pytest.raises(ConflictError, match="'Björn'"):
        import_redis_histories(memory, client, key_prefix=prefix)


def test_what_is_no_message_is_named(client: redis.Redis, prefix: str) -> None:
    client.lpush(f"{prefix}a", "not json")
    with pytest.raises(StoreFormatError, match=r"a: message 1 is none of LangChain's"):
        import_redis_histories(plain(), client, key_prefix=prefix)


def test_every_class_comes_along(client: redis.Redis, prefix: str) -> None:
    memory = plain()
    given = [message for message in ONE_OF_EACH if not getattr(message, "artifact", None)]
    push(client, f"{prefix}a", given)
    import_redis_histories(memory, client, key_prefix=prefix)
    assert held(memory, "a") == given == messages_from_dict([message_to_dict(m) for m in given])


def test_a_table_of_sql_becomes_sessions() -> None:
    memory, connection = plain(), sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)"
    )
    rows = [(name, one) for one in written(TALK) for name in ("Anna", "Björn")]
    insert = "INSERT INTO message_store (session_id, message) VALUES (?, ?)"
    connection.executemany(insert, rows)
    assert import_sql_histories(memory, connection) == {"Anna": 4, "Björn": 4}
    assert held(memory, "Anna") == held(memory, "Björn") == TALK
    assert import_sql_histories(memory, connection) == {"Anna": 0, "Björn": 0}
    connection.execute(insert, ("Anna", "5"))
    with pytest.raises(StoreFormatError, match="'Anna' of message_store: message 5"):
        import_sql_histories(memory, connection)
    with pytest.raises(InvalidInputError, match="table="):
        import_sql_histories(memory, connection, table="x; DROP TABLE message_store")
    connection.close()


# Threads that were summarized


def agent(saver: InMemorySaver) -> Any:
    return create_agent(
        FakeListChatModel(responses=["Noted."]),
        checkpointer=saver,
        middleware=[
            SummarizationMiddleware(
                model=FakeListChatModel(responses=["A summary."]),
                trigger=("messages", 6),
                keep=("messages", 2),
            )
        ],
    )


def test_what_was_summarized_is_put_together_again() -> None:
    made, config = agent(InMemorySaver()), {"configurable": {"thread_id": "t"}}
    texts = [f"Fact {number}." for number in range(12)]
    for text in texts:
        made.invoke({"messages": [HumanMessage(text)]}, config)
    left = made.get_state(config).values["messages"]
    assert len(left) < 8
    assert "A summary." in left[0].text
    whole = unsummarized_messages(made.get_state_history(config))
    assert [m.content for m in whole] == [said for text in texts for said in (text, "Noted.")]
    assert unsummarized_messages([]) == []


def test_what_was_removed_or_said_in_another_branch_stays_away() -> None:
    made, config = agent(InMemorySaver()), {"configurable": {"thread_id": "t"}}
    made.invoke({"messages": [HumanMessage("Keep this.", id="1")]}, config)
    fork = made.get_state(config).config
    made.invoke({"messages": [HumanMessage("Another way.", id="2")]}, config)
    made.invoke({"messages": [HumanMessage("A secret.", id="3")]}, fork)
    made.update_state(config, {"messages": [RemoveMessage("3")]})
    for number in range(4):
        made.invoke({"messages": [HumanMessage(f"Fact {number}.")]}, config)
    whole = unsummarized_messages(made.get_state_history(config))
    asked = [m.content for m in whole if isinstance(m, HumanMessage)]
    assert asked == ["Keep this.", "Fact 0.", "Fact 1.", "Fact 2.", "Fact 3."]


@pytest.mark.timeout(600)  # it loads the bundled model
def test_the_example_runs(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    given = [TALK[0], AIMessage("Noted.")]
    with redis.Redis.from_url(redis_url) as client:
        push(client, "message_store:user-42", given)
        runpy.run_path(str(ROOT / "examples" / "migrating.py"))["main"](redis_url, url)
        client.delete("message_store:user-42")
    out = capsys.readouterr().out
    assert "user-42: 2 new messages, 2 in all" in out
    assert "thread-1: 10 messages, the first 'My cat is called Miso.'" in out
    with Vist2ChatMessageHistory("user-42", store=url) as history:
        assert history.messages[:2] == given
        assert len(history.messages) == 4
