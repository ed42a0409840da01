"""Histories of RedisChatMessageHistory and SQLChatMessageHistory, taken into sessions."""

from __future__ import annotations

import json
import runpy
import sqlite3
import uuid
from collections.abc import Iterator, Sequence

import pytest
import redis
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    message_to_dict,
    messages_from_dict,
)

from langchain_vist2 import Vist2ChatMessageHistory
from langchain_vist2.migration import import_redis_histories, import_sql_histories
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


def test_the_example_runs(
    redis_url: str, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        push(client, "message_store:user-42", [TALK[0], AIMessage("Noted.")])
        main = runpy.run_path(str(ROOT / "examples" / "migrating.py"))["main"]
        main(redis_url, f"sqlite:///{tmp_path}/memory.db")
        client.delete("message_store:user-42")
    assert "user-42: 2 new messages" in capsys.readouterr().out
