"""What only stores for event loops do: many calls at once, cancelled ones, several loops."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from tests.support.backends import Redis, redis_of, say
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store import AsyncStore, Deleted, Scope, Store, open_async_store, open_store
from vist2_memory.store.asynchronous import InThreads, asynchronous
from vist2_memory.store.redis import AsyncRedisStore
from vist2_memory.store.redis import store as logic
from vist2_memory.store.redis.async_wire import AT_ONCE

pytestmark = pytest.mark.timeout(180)

SERVERS = pytest.mark.servers


@pytest.fixture(params=["redis", "tls", pytest.param("cluster", marks=SERVERS)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    made = redis_of(request, request.param)
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def store(place: Redis) -> AsyncIterator[AsyncStore]:
    async with await open_async_store(url_of(place)) as made:
        yield made


def url_of(place: Redis) -> str:
    return f"{place.url}{'&' if '?' in place.url else '?'}deadline=120"


@pytest.mark.parametrize("place", ["redis", pytest.param("cluster", marks=SERVERS)], indirect=True)
async def test_a_thousand_sessions_at_once_get_what_is_theirs(
    place: Redis, store: AsyncStore
) -> None:
    async def talk(number: int) -> None:
        scope = place.scope(f"s{number}")
        mine = [say(f"{number}-{n}", f"{number} {n} {'x' * number}") for n in range(2)]
        assert await store.append(scope, mine[:1], expected=0) == 1
        await store.put_many(scope, "f", {"c": b"%d" % number})
        assert await store.append(scope, mine[1:], expected=1) == 2
        assert await store.read(scope) == mine
        assert await store.get_many(scope, "f", ["c", "d"]) == [b"%d" % number, None]

    await asyncio.gather(*(talk(number) for number in range(1000)))
    listed = await store.scopes(place.namespace, "session")
    assert len(listed) == 1000
    assert {info.messages for info in listed} == {2}
    gone = await asyncio.gather(*(store.delete(info.scope) for info in listed))
    assert set(gone) == {Deleted(messages=2, chunks=1, tensors=1)}


async def test_a_call_that_is_cancelled_leaves_nothing_half_written_and_harms_no_other(
    place: Redis, store: AsyncStore
) -> None:
    """Cancelled anywhere: while connecting, sending megabytes, waiting for an answer."""
    draw = random.Random(7)
    large = "x" * 200_000

    async def write(scope: Scope, turn: int) -> None:
        pair = [say(f"{turn}-q", large), say(f"{turn}-a", large)]
        await store.append(scope, pair)
        await store.put_many(scope, "f", {f"{turn}-{n}": large.encode() for n in range(20)})

    async def reading(scope: Scope) -> None:
        for n in range(150):
            await store.append(scope, [say(n)])
            assert await store.read(scope, after=n) == [say(n)]

    busy = asyncio.create_task(reading(place.scope("busy")))
    scope, cancelled = place.scope(), 0
    for turn in range(60):
        task = asyncio.create_task(write(scope, turn))
        await asyncio.sleep(draw.random() * 0.02)
        cancelled += task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() or task.exception() is None
    assert cancelled > 5
    await busy
    ids = [message.id for message in await store.read(scope)]
    assert len(ids) == len(set(ids))
    assert all(q[:-2] == a[:-2] for q, a in zip(ids[::2], ids[1::2], strict=True))
    found = [
        await store.get_many(scope, "f", [f"{turn}-{n}" for n in range(20)]) for turn in range(60)
    ]
    assert {value for values in found for value in values} <= {None, large.encode()}
    await store.append(scope, [say("last")])
    assert (await store.read(scope))[-1] == say("last")
    tensors = sum(value is not None for values in found for value in values)
    assert (await store.delete(scope)).tensors == tensors
    await store.delete(place.scope("busy"))
    assert await store.scopes(place.namespace, "session") == []
    # In a cluster two keys of a namespace lie apart, and a call that was cut off between them
    # may leave the announcement of a scope behind, which deleting takes away.
    assert await asyncio.to_thread(place.leftovers) == []


async def test_a_long_log_is_taken_apart_beside_the_event_loop(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope("a long log", "session", "s")
    said = [say(n) for n in range(AT_ONCE)]
    in_threads: list[str] = []
    messages_of = logic.messages_of

    def watched(*args: Any) -> Any:
        in_threads.append(threading.current_thread().name)
        return messages_of(*args)

    monkeypatch.setattr(logic, "messages_of", watched)
    async with await open_async_store(f"{redis_url}?deadline=60") as store:
        await store.append(scope, said)
        assert await store.read(scope) == said
        assert await store.read(scope, after=1) == said[1:]
        await store.delete(scope)
    here = threading.current_thread().name
    assert [name == here for name in in_threads] == [False, True]


@pytest.mark.parametrize("kind", ["redis", pytest.param("cluster", marks=SERVERS)])
def test_one_store_serves_one_event_loop_after_another_and_closes_their_connections(
    kind: str, request: pytest.FixtureRequest, recwarn: pytest.WarningsRecorder
) -> None:
    place = redis_of(request, kind)
    scope = place.scope()
    blocking = open_store(url_of(place))
    store = asynchronous(blocking)

    async def once(number: int) -> int:
        await store.append(scope, [say(f"{number}")])
        return len(await store.read(scope)) + 10 * connections(store)

    assert [asyncio.run(once(number)) for number in range(3)] == [11, 12, 13]
    assert connections(store) == 0
    assert len(blocking.read(scope)) == 3
    loop = asyncio.new_event_loop()  # one that nobody shuts down
    loop.run_until_complete(once(3))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.run(store.close())
    for call in (lambda: blocking.read(scope), lambda: asyncio.run(store.read(scope))):
        with pytest.raises(StoreUnavailableError, match="closed"):
            call()
    place.close()


def connections(store: AsyncStore) -> int:
    """On how many event loops it has connections now."""
    assert isinstance(store, AsyncRedisStore)
    return len(store._wires._wires)


async def test_both_sides_of_a_store_are_closed_together(redis_url: str) -> None:
    """From a thread as well: then the loop closes what is its own."""
    blocking = open_store(redis_url)
    store = asynchronous(blocking)
    assert await store.count(Scope("n", "session", "none")) == 0
    await asyncio.to_thread(blocking.close)
    while connections(store):
        await asyncio.sleep(0.01)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.count(Scope("n", "session", "none"))
    await store.close()


async def test_what_has_no_side_for_event_loops_is_run_in_threads(
    redis_url: str, tmp_path: Any
) -> None:
    async with await open_async_store(f"sqlite:///{tmp_path}/memory.db") as store:
        assert isinstance(store, InThreads)
        assert isinstance(store.synchronous(), Store)
        assert await store.append(Scope("n", "session", "s"), [say(1)]) == 1


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix", pytest.param("cluster", marks=SERVERS)])
async def test_an_asyncio_client_says_how_to_connect_and_stays_as_it_is(
    kind: str, request: pytest.FixtureRequest
) -> None:
    client: Any
    if kind == "cluster":
        url = request.getfixturevalue("redis_cluster").url
        host, port = url.partition("://")[2].split(",")[0].split(":")
        client = redis.asyncio.RedisCluster(host=host, port=int(port))
    else:
        doors = request.getfixturevalue("redis_doors")
        url = {"tcp": doors.url, "tls": doors.tls_url, "unix": doors.unix_url}[kind]
        client = redis.asyncio.Redis.from_url(url)
    scope = Scope(f"of an asyncio client {kind}", "session", "s")
    async with AsyncRedisStore(client, deadline=60) as store:
        assert store.describe().startswith(url.partition("?ssl")[0].partition(",")[0])
        assert await store.append(scope, [say(1)]) == 1
        assert await asyncio.to_thread(store.synchronous().read, scope) == [say(1)]
        assert (await store.delete(scope)).messages == 1
    assert await client.ping()
    await client.aclose()


@pytest.mark.servers
async def test_an_asyncio_client_of_sentinel_is_asked_who_the_master_is(
    request: pytest.FixtureRequest,
) -> None:
    sentinel = request.getfixturevalue("redis_sentinel")
    asked = redis.asyncio.Sentinel([("127.0.0.1", sentinel.sentinel.port)])
    client = asked.master_for("main")
    scope = Scope("of an asyncio client of sentinel", "session", "s")
    async with AsyncRedisStore(client, deadline=60, replicas=1) as store:
        assert store.describe() == sentinel.url
        assert await store.append(scope, [say(1)]) == 1
        assert (await store.delete(scope)).messages == 1
    await client.aclose()
    for each in asked.sentinels:
        await each.aclose()
