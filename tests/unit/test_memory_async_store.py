"""A memory whose store is asked without threads, from several event loops, and by clients."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.support.memories import DOCUMENTS, TALK, plain, said
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store import AsyncStore, open_async_store
from vist2_memory.store.redis import AsyncRedisStore, RedisStore
from vist2_memory.types import Message


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name} {id(request)}"


async def test_what_only_asks_redis_starts_no_thread(
    redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = await VisualMemory.aopen(
        redis_url, model=PlainEngine(), namespace=namespace, outbox=None
    )
    async with memory:
        session, books = memory.session("a"), memory.collection("handbook")
        await session.aadd(*TALK[0])
        await books.aadd_documents(DOCUMENTS)
        await asyncio.to_thread(memory.flush)
        hops: list[Any] = []
        to_thread = asyncio.to_thread

        async def counted(call: Any, *args: Any, **options: Any) -> Any:
            hops.append(call)
            return await to_thread(call, *args, **options)

        monkeypatch.setattr(asyncio, "to_thread", counted)
        assert [m.text for m in await session.amessages()] == [TALK[0][1]]
        assert [d.text for d in await books.adocuments()] == DOCUMENTS
        assert [info.scope.name for info in await memory.asessions()] == ["a"]
        assert [info.scope.name for info in await memory.acollections()] == ["handbook"]
        assert (await books.adelete()).messages == 2
        assert hops == []
        assert await session.aexport(tmp_path / "a.jsonl") == 1
        assert hops.pop().__name__ == "write_export"
        assert (await session.adelete()).messages == 1
        assert hops == []


async def test_what_was_deleted_is_held_nowhere_in_the_process(
    redis_url: str, namespace: str
) -> None:
    memory = VisualMemory.open(redis_url, model=PlainEngine(), namespace=namespace, outbox=None)
    async with memory:
        session, books = memory.session("a"), memory.collection("handbook")
        for role, text in TALK * 3:
            await session.aadd(role, text)
        await books.aadd_documents(DOCUMENTS)
        held = memory.tensors._lately._entries
        assert {scope for scope, _, _ in held} == {session.scope, books.scope}
        await session.adelete()
        await books.adelete()
        assert not held


async def test_a_session_that_is_deleted_while_it_is_used_is_begun_anew(
    redis_url: str, namespace: str
) -> None:
    with VisualMemory.open(
        redis_url, model=PlainEngine(), namespace=namespace, outbox=None
    ) as memory:
        session = memory.session("a")
        session.add("user", "Of old.", id="m")
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            with session._log.lock:
                held.set()
                let_go.wait(30)

        holder = asyncio.create_task(asyncio.to_thread(hold))
        await asyncio.to_thread(held.wait, 30)
        deleting = asyncio.create_task(session.adelete())
        while memory.store.count(session.scope):
            await asyncio.sleep(0.01)
        assert not deleting.done()
        let_go.set()
        assert (await deleting).messages == 1
        await holder
        session.add("user", "Anew.", id="m")
        assert session.tail().endswith("Anew.")
        assert said(session) == [("user", "Anew.")]
        await session.adelete()


def test_one_memory_serves_threads_and_one_event_loop_after_another(
    redis_url: str, namespace: str
) -> None:
    memory = VisualMemory.open(redis_url, model=PlainEngine(), namespace=namespace, outbox=None)

    async def talk() -> int:
        session = memory.session("a")
        await session.aadd(*TALK[0])
        return len(await session.amessages())

    memory.session("a").add(*TALK[0])
    assert [asyncio.run(talk()), asyncio.run(talk())] == [2, 3]
    memory.session("a").delete()
    asyncio.run(memory.aclose())
    with pytest.raises(StoreUnavailableError, match="closed"):
        asyncio.run(memory.asessions())


@pytest.mark.parametrize("kind", ["asyncio", "threads", "store"])
async def test_either_client_serves_both_sides(kind: str, redis_url: str, namespace: str) -> None:
    clients = redis.asyncio.Redis.from_url(redis_url), redis.Redis.from_url(redis_url)
    store: Any = {
        "asyncio": lambda: AsyncRedisStore(clients[0]),
        "threads": lambda: RedisStore(clients[1]),
        "store": lambda: None,
    }[kind]() or await open_async_store(redis_url)
    async with VisualMemory.open(
        store, model=PlainEngine(), namespace=namespace, outbox=None
    ) as memory:
        assert isinstance(memory.async_store, AsyncRedisStore)
        await memory.session("a").aadd(*TALK[0])
        assert await memory.session("a").amessages() == memory.session("a").messages()
        assert (await memory.session("a").adelete()).messages == 1
    await asyncio.to_thread(store.describe)
    closing = store.close()  # the caller's
    if isinstance(store, AsyncStore):
        await closing
    else:
        await memory.async_store.close()
    await clients[0].aclose()
    clients[1].close()


def test_a_client_is_not_a_store_and_the_error_says_what_makes_it_one() -> None:
    for client in (redis.Redis(), redis.asyncio.Redis()):
        with pytest.raises(TypeError, match=r"RedisStore\(client\) .* AsyncRedisStore\(client\)"):
            VisualMemory.open(client, model=PlainEngine())  # type: ignore[arg-type]


def test_a_client_that_only_asyncio_can_serve_says_so() -> None:
    async def greet(connection: Any) -> None:
        await connection.on_connect()

    store = AsyncRedisStore(redis.asyncio.Redis(redis_connect_func=greet))
    with pytest.raises(TypeError, match="redis_connect_func"):
        VisualMemory.open(store, model=PlainEngine())


async def test_a_client_that_only_threads_can_serve_is_run_in_threads(
    redis_url: str, namespace: str
) -> None:
    def greet(connection: Any) -> None:
        connection.on_connect()

    client = redis.Redis.from_url(redis_url, redis_connect_func=greet)
    store = RedisStore(client)
    async with VisualMemory.open(
        store, model=PlainEngine(), namespace=namespace, outbox=None
    ) as memory:
        assert not isinstance(memory.async_store, AsyncRedisStore)
        await memory.session("a").aadd(*TALK[0])
        assert len(await memory.session("a").amessages()) == 1
        await memory.session("a").adelete()
    store.close()
    client.close()


async def test_an_answer_that_waits_in_the_outbox_is_among_the_messages(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox.db"
    memory = VisualMemory.open(redis_url, model=PlainEngine(), namespace=namespace, outbox=outbox)
    async with memory:
        session = memory.session("a")
        question = await session.aadd("user", "Who?", turn="t")
        answer = Message("assistant", "Miso.", id="t:a", turn="t")
        assert memory.outbox is not None
        memory.outbox.keep(memory.store, session.scope, question, answer)
        assert [m.text for m in await session.amessages()] == ["Who?", "Miso."]
        assert (await session.adelete()).messages == 2


async def test_a_memory_in_this_process_has_async_twins_too() -> None:
    async with plain() as memory:
        await memory.session("a").aadd(*TALK[0])
        assert [info.messages for info in await memory.asessions()] == [1]
