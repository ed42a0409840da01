"""Opening a store in Redis by URL or client, and every way in which that fails."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel as SentinelClient
from redis.sentinel import SentinelManagedSSLConnection

from tests.support.backends import cluster_client
from tests.support.redis_servers import Cluster, Doors
from vist2_memory.errors import StoreFormatError, StoreUnavailableError
from vist2_memory.store import Scope, open_store
from vist2_memory.store.base import Snapshot
from vist2_memory.store.redis import AsyncRedisStore, RedisStore, link, wire
from vist2_memory.store.redis.async_connections import timed_pool
from vist2_memory.store.redis.connections import timed_client
from vist2_memory.store.redis.servers import SentinelServers
from vist2_memory.store.redis.urls import servers_of_client, servers_of_url
from vist2_memory.store.redis.wire import exchange
from vist2_memory.types import Message

SCOPE = Scope("n", "session", "s")
SAID = Message("user", "My cat is called Miso, marmalade-coloured.", id="m1")


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=f"redis://127.0.0.1:{port}/3") as caught:
        open_store(f"redis://anna:secret@127.0.0.1:{port}/3")
    assert time.monotonic() - began < 2
    assert "secret" not in str(caught.value)
    assert "anna" not in str(caught.value)


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=f"unix://{tmp_path}/redis.sock"):
        open_store(f"unix://{tmp_path}/redis.sock")


def test_a_server_that_still_loads_its_data_is_waited_for(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def loading(client: Any, commands: Any) -> Any:
        asked.append(commands)
        if len(asked) < 3:
            raise redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory")
        return exchange(client, commands)

    monkeypatch.setattr(wire, "exchange", loading)
    open_store(redis_server.url).close()
    assert len(asked) == 3

    del asked[:]
    monkeypatch.setattr(link, "_pauses", lambda: iter([5.0]))
    with pytest.raises(StoreUnavailableError, match="loading the dataset"):
        open_store(f"{redis_server.url}?deadline=1")


def test_a_server_that_is_full_or_locked_says_so(redis_server: Any) -> None:
    store = open_store(redis_server.url)
    other = Scope("n", "session", "other")
    store.append(SCOPE, [SAID])
    store.append(other, [SAID])
    store.put_many(SCOPE, "f", {"c": b"0"})
    client = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        store.append(SCOPE, [Message("user", "more", id="m2")])
    with pytest.raises(StoreUnavailableError, match="refused"):
        store.put_many(SCOPE, "f", {"c": b"1"})
    assert store.read(SCOPE) == [SAID]
    assert store.get_many(SCOPE, "f", ["c", "d"]) == [b"0", None]
    assert store.drop_many(SCOPE, "f", ["c"]) == 1
    assert store.delete(other).messages == 1
    assert [info.scope for info in store.scopes("n", "session")] == [SCOPE]
    client.config_set("maxmemory", "0")
    assert store.append(SCOPE, [Message("user", "more", id="m2")], expected=1) == 2
    client.config_set("requirepass", "secret")
    with pytest.raises(StoreUnavailableError) as caught:
        open_store(redis_server.url)
    assert "secret" not in str(caught.value)
    url = redis_server.url.replace("redis://", "redis://:secret@")
    with open_store(url) as second:
        assert second.count(SCOPE) == 2
        assert "secret" not in second.describe()
    store.close()
    client.close()


def test_a_server_that_is_full_takes_back_and_adds_nothing(redis_server: Any) -> None:
    with open_store(redis_server.url) as store, redis.Redis.from_url(redis_server.url) as client:
        said = [Message("user", "My cat is called Miso.", id=f"m{n}") for n in range(3)]
        store.append(SCOPE, said)
        client.config_set("maxmemory", "1")
        for new in ([Message("user", "Shorter.", id="m2")], [Message("user", "more", id="new")]):
            with pytest.raises(StoreUnavailableError, match="maxmemory"):
                store.rewrite(SCOPE, 2, new, expected=3, last="m2", revision=0)
            assert store.snapshot(SCOPE) == Snapshot(said, 0)
        store.rewrite(SCOPE, 2, [], expected=3, last="m2", revision=0)
        assert store.snapshot(SCOPE) == Snapshot(said[:2], 1)


def test_scripts_that_the_server_forgot_are_sent_again(redis_server: Any) -> None:
    client = redis.Redis.from_url(redis_server.url)
    store = RedisStore(client)
    store.append(SCOPE, [SAID])
    client.script_flush()
    assert store.append(SCOPE, [Message("user", "more", id="m2")]) == 2
    store.close()
    assert client.ping()  # an injected client is not closed
    client.close()


def test_keys_that_hold_something_else_and_later_layouts(redis_server: Any) -> None:
    client = redis.Redis.from_url(redis_server.url)
    store = RedisStore(client)
    store.append(SCOPE, [SAID])
    client.hset("vist2:{n/session/s}:meta", "v", "3")
    for call in (lambda: store.read(SCOPE), lambda: store.append(SCOPE, [SAID])):
        with pytest.raises(StoreFormatError, match="layout version 3; this release reads 1 to 2"):
            call()
    client.set("vist2:{n/session/s}:log", "mine")
    for call in (lambda: store.read(SCOPE), lambda: store.append(SCOPE, [SAID])):
        with pytest.raises(StoreFormatError, match="holds something else"):
            call()
    store.delete(SCOPE)
    assert client.dbsize() == 0
    client.close()


def test_clients_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisStore(redis.Redis(decode_responses=True))
    with pytest.raises(ValueError, match="master_for"):
        RedisStore(SentinelClient([("127.0.0.1", 1)]).slave_for("main"))
    with pytest.raises(ValueError, match="decode_responses=False"):
        AsyncRedisStore(redis.asyncio.Redis(decode_responses=True))
    for client in (redis.asyncio.Redis(), object(), "redis://localhost"):
        with pytest.raises(TypeError, match=r"synchronous redis\.Redis.* make an AsyncRedisStore"):
            RedisStore(client)  # type: ignore[arg-type]
    for other in (redis.Redis(), object(), "redis://localhost"):
        with pytest.raises(TypeError, match=r"redis\.asyncio\.Redis.* make a RedisStore"):
            AsyncRedisStore(other)  # type: ignore[arg-type]


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["tcp", "tls", "unix", "sentinel", "cluster"])
def test_a_client_says_how_to_connect_and_stays_as_it_is(
    kind: str, request: pytest.FixtureRequest
) -> None:
    doors: Doors = request.getfixturevalue("redis_doors")
    urls = {"tcp": doors.url, "tls": doors.tls_url, "unix": doors.unix_url}
    client: Any
    if kind == "cluster":
        described = request.getfixturevalue("redis_cluster").url
        client = cluster_client(described)
        described = "redis+cluster://127.0.0.1:"
    elif kind == "sentinel":
        sentinel = request.getfixturevalue("redis_sentinel")
        described = sentinel.url
        asked = SentinelClient([("127.0.0.1", sentinel.sentinel.port)])
        client = asked.master_for("main")
    else:
        described = urls[kind].partition("?ssl")[0]
        client = redis.Redis.from_url(urls[kind])
    scope = Scope(f"of a client {kind}", "session", "s")
    with RedisStore(client, deadline=30) as store:
        assert store.describe().startswith(described)
        store.append(scope, [SAID])
        assert store.scopes(scope.namespace, "session")[0].messages == 1
        assert store.delete(scope).messages == 1
    assert client.ping()
    client.close()


def test_what_the_url_says_reaches_every_server_and_no_message() -> None:
    url = "rediss+sentinel://anna:p%40ss@one:1,[::1]:2,three/the%20main/4?sentinel_password=other"
    servers = servers_of_url(url, 3.0)
    assert servers.describe() == "rediss+sentinel://one:1,[::1]:2,three:26379/the%20main/4"
    master = servers.at(("host", 5))
    wanted = {"username": "anna", "password": "p@ss", "host": "host", "port": 5, "db": 4}
    pools = timed_client(master).connection_pool, timed_pool(master)
    for pool in pools:
        assert wanted.items() <= pool.connection_kwargs.items()
    assert issubclass(pools[0].connection_class, redis.SSLConnection)
    assert issubclass(pools[1].connection_class, redis.asyncio.SSLConnection)
    assert isinstance(servers, SentinelServers)
    asked = [sentinel.options for sentinel in servers.sentinels]
    assert [(a["host"], a["port"], a["password"]) for a in asked] == [
        ("one", 1, "other"),
        ("::1", 2, "other"),
        ("three", 26379, "other"),
    ]
    assert not any(a.get("username") for a in asked)


def test_connections_of_either_kind_are_made_as_the_client_makes_them() -> None:
    class Own(SentinelManagedSSLConnection):
        pass

    asked = SentinelClient([("one", 1)])
    master = asked.master_for("main", connection_class=Own, password="secret", socket_timeout=0.5)
    settings = servers_of_client(master, 30.0).settings
    assert (settings.blocking, settings.asyncio) == (
        redis.SSLConnection,
        redis.asyncio.SSLConnection,
    )
    assert (settings.options["password"], settings.patience) == ("secret", 0.5)
    checked = redis.Redis(ssl=True, ssl_validate_ocsp=True)
    settings = servers_of_client(checked, 30.0).settings  # asyncio would not check it
    assert (settings.blocking, settings.asyncio) == (redis.SSLConnection, None)
    assert settings.options["ssl_validate_ocsp"] is True


@pytest.mark.servers
def test_one_node_of_a_cluster_says_that_there_are_more(redis_cluster: Cluster) -> None:
    with open_store(f"redis://127.0.0.1:{redis_cluster.nodes[0].port}") as store:

        def read() -> None:
            for number in range(20):
                store.read(Scope("n", "session", str(number)))

        with pytest.raises(StoreUnavailableError, match=r"open it as redis\+cluster://"):
            read()
