"""A server that hangs, dribbles, dies or comes back: what a call costs, and what it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.support.async_stores import BackgroundLoop, WithLoop, open_waiting
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store import Scope, Store, open_store
from vist2_memory.store.redis import AsyncRedisStore, RedisStore
from vist2_memory.types import Message

SCOPE = Scope("n", "session", "s")
SAID = Message("user", "My cat is called Miso.", id="m1")
DEADLINE = 0.5
LATE = 2.0
"""What a crowded machine may add to a deadline; far less than one deadline more for each call."""


def calls(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.append(SCOPE, [SAID]),
        lambda: store.read(SCOPE),
        lambda: store.count(SCOPE),
        lambda: store.scopes("n", "session"),
        lambda: store.get_many(SCOPE, "f", ["c"]),
        lambda: store.put_many(SCOPE, "f", {"c": b"1"}),
        lambda: store.drop_many(SCOPE, "f", ["c"]),
        lambda: store.delete(SCOPE),
    ]


def again(call: Callable[[], Any]) -> Any:
    """What ``call`` returns, once the breaker has closed."""
    end = time.monotonic() + 20
    while True:
        try:
            return call()
        except StoreUnavailableError as error:
            if time.monotonic() > end:
                raise
            time.sleep(error.retry_after or 0.01)


@pytest.fixture(params=["url", "client", "async url", "async client"])
def store(request: pytest.FixtureRequest, redis_server: Any) -> Iterator[Store]:
    """By URL, or with a client that would itself try eleven times for five seconds each."""
    client = redis.Redis("127.0.0.1", redis_server.port)
    of_asyncio = redis.asyncio.Redis(host="127.0.0.1", port=redis_server.port)
    makers: dict[str, Callable[[], Store]] = {
        "url": lambda: open_store(f"{redis_server.url}?deadline={DEADLINE}"),
        "client": lambda: RedisStore(client, deadline=DEADLINE),
        "async url": lambda: open_waiting(f"{redis_server.url}?deadline={DEADLINE}"),
        "async client": lambda: WithLoop(
            AsyncRedisStore(of_asyncio, deadline=DEADLINE), BackgroundLoop()
        ),
    }
    made = makers[request.param]()
    made.append(SCOPE, [SAID])
    yield made
    made.close()
    client.close()


def test_a_server_that_hangs_costs_one_deadline_and_not_one_a_call(
    store: Store, redis_server: Any
) -> None:
    assert store.describe() == redis_server.url
    redis_server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"cannot be reached within 0\.5 s"):
        store.read(SCOPE)
    assert DEADLINE / 2 < time.monotonic() - began < DEADLINE + LATE
    refused = []
    for call in calls(store):
        with pytest.raises(StoreUnavailableError, match=r"cannot be reached") as caught:
            call()
        refused.append(caught.value.retry_after)
    assert refused[0] is not None
    assert time.monotonic() - began < 2 * DEADLINE + LATE
    assert "tried again in" in store.describe()
    redis_server.resume()
    assert again(lambda: store.read(SCOPE)) == [SAID]
    assert store.describe() == redis_server.url


def test_a_server_that_died_is_found_again(store: Store, redis_server: Any) -> None:
    redis_server.kill()
    began = time.monotonic()
    for call in calls(store):
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            call()
    assert time.monotonic() - began < 2 * DEADLINE + LATE
    redis_server.start()
    assert again(lambda: store.append(SCOPE, [SAID], expected=0)) == 1


@pytest.mark.parametrize("opened", [open_store, open_waiting])
def test_a_restart_within_the_deadline_is_not_noticed(
    opened: Callable[[str], Store], redis_server: Any
) -> None:
    with opened(f"{redis_server.url}?deadline=30") as store:
        store.append(SCOPE, [SAID])
        redis_server.kill()
        threading.Timer(0.3, redis_server.start).start()
        assert store.append(Scope("n", "session", "other"), [SAID]) == 1


@pytest.fixture
def dribbling() -> Iterator[int]:
    """The port of a server that answers with a byte each tenth of a second, without an end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def answer(connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                try:
                    connection.sendall(b"$1000000\r\n")
                    while not done.wait(0.1):
                        connection.sendall(b"x")
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        done.set()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("opened", [open_store, open_waiting])
def test_the_deadline_is_for_the_whole_call_and_not_for_each_read(
    opened: Callable[[str], Store], dribbling: int
) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        opened(f"redis://127.0.0.1:{dribbling}?deadline={DEADLINE}")
    assert time.monotonic() - began < DEADLINE + LATE


@pytest.mark.parametrize("opened", [open_store, open_waiting])
def test_without_the_replicas_that_were_asked_for_nothing_is_acknowledged(
    opened: Callable[[str], Store], redis_server: Any
) -> None:
    with (
        opened(f"{redis_server.url}?deadline={DEADLINE}&replicas=1") as store,
        pytest.raises(StoreUnavailableError, match="0 of 1 replicas confirmed"),
    ):
        store.append(SCOPE, [SAID])
