"""Opening a store by its URL, and every way in which that fails."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from vist2_memory.errors import StoreFormatError, StoreUnavailableError, StoreURLError
from vist2_memory.store import InMemoryStore, Scope, open_store
from vist2_memory.store.redis import RedisStore
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import Message

SCOPE = Scope("n", "session", "s")
SAID = Message("user", "My cat is called Miso, marmalade-coloured.", id="m1")


def test_each_scheme_opens_its_store(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    cases = {
        "memory://": "memory://",
        "MEMORY://": "memory://",
        "sqlite:///relative.db": f"sqlite:///{tmp_path}/relative.db",
        f"sqlite:///{tmp_path}/a b%20c.db": f"sqlite:///{tmp_path}/a b%20c.db",
        "sqlite:///~/home.db": f"sqlite:///{tmp_path}/home.db",
        redis_url: redis_url,
        redis_url.replace("redis://", "redis://default:@"): redis_url,
    }
    for url, described in cases.items():
        with open_store(url, ttl=60) as store:
            assert (store.describe(), store.ttl) == (described, 60)
    assert {"relative.db", "a b%20c.db", "home.db"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "has a scheme"),
        ("memory.db", "sqlite:///path/to/memory.db"),
        ("mysql://user:secret@host/db", "'mysql': one of memory://, sqlite:///"),
        ("memory://name", "takes no name"),
        ("sqlite://memory.db", "three or four slashes"),
        ("sqlite://", "three or four slashes"),
        ("sqlite:///", "three or four slashes"),
        ("sqlite:///:memory:", "write memory://"),
        ("sqlite:///m.db?mode=ro", "takes no options"),
        ("redis+cluster://h:1,h:2", "not yet supported in this release"),
        ("redis+sentinel://h:1/main", "not yet supported in this release"),
        ("redis://:sec/ret@host:port:secret/0", "percent-encode the password"),
        ("redis://localhost:1/0?socket_timeout=secret", "percent-encode the password"),
        ("redis://localhost:1/0?decode_responses=True", "without decode_responses"),
        ("redis://localhost:1/0?colour=red", "unknown option"),
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StoreURLError) as caught:
        open_store(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_stores_are_loaded_only_where_they_are_used() -> None:
    code = (
        "import sys; from vist2_memory.store import open_store; open_store('memory://');"
        "assert not {'redis', 'sqlite3', 'torch', 'transformers'} & set(sys.modules);"
        "import vist2_memory.store.codec, vist2_memory.store.sqlite, vist2_memory.store.redis;"
        "assert not {'torch', 'transformers', 'langchain_core'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# --------------------------------------------------------------------------------------- SQLite


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Anna, this is a letter and no database. " * 50)
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=r"letter\.txt is not a store of ours"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TABLE messages (text)", "of another program"),
        ("PRAGMA application_id=7", "of another program"),
        ("PRAGMA user_version=3", "of another program"),
    ],
)
def test_a_database_of_another_program_is_left_as_it_is(
    tmp_path: Path, statement: str, said: str
) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFormatError, match=said):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_database_of_a_later_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    SQLiteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(StoreFormatError, match="schema version 2; this release reads 1"):
        SQLiteStore(path)


def test_a_database_that_was_damaged_says_so(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with SQLiteStore(path) as store:
        store.append(SCOPE, [Message("user", "x" * 5000, id=str(n)) for n in range(50)])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreFormatError, match=r"memory\.db"):
        SQLiteStore(path).read(SCOPE)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing/memory.db", "there is no folder"),
        ("", "Is a directory"),
        ("file/memory.db", "Not a directory"),
        ("nul\0.db", "null"),
    ],
)
def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError, match=said):
        open_store(f"sqlite:///{tmp_path}/{place}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailableError, match="Permission denied"):
        open_store(f"sqlite:///{tmp_path}/memory.db")
    tmp_path.chmod(0o700)


def test_conversations_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "memory.db") as store:
        store.append(SCOPE, [SAID])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}


def test_deleted_text_is_gone_from_the_files(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "memory.db") as store:
        store.append(SCOPE, [SAID])
        assert any(b"marmalade" in path.read_bytes() for path in tmp_path.iterdir())
        store.delete(SCOPE)
        assert not any(b"marmalade" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_writer_that_holds_the_file_costs_one_timeout(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with SQLiteStore(path, busy_timeout=0.1) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert store.read(SCOPE) == []
        with pytest.raises(StoreUnavailableError, match="another process holds it"):
            store.append(SCOPE, [SAID])
        other.execute("ROLLBACK")
        other.close()
        assert store.append(SCOPE, [SAID]) == 1


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "memory.db") as store:
        store.append(SCOPE, [SAID])
        store._connection.execute("PRAGMA max_page_count=20")
        large = [Message("user", "x" * 50_000, id=f"big{n}") for n in range(5)]
        with pytest.raises(StoreUnavailableError, match="full"):
            store.append(SCOPE, large)
        assert store.read(SCOPE) == [SAID]
        store._connection.execute("PRAGMA max_page_count=10000")
        assert store.append(SCOPE, large, expected=1) == 6


# ---------------------------------------------------------------------------------------- Redis


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


def test_a_server_that_dies_and_one_that_hangs(redis_server: Any) -> None:
    store = open_store(f"{redis_server.url}?socket_timeout=0.3")
    store.append(SCOPE, [SAID])
    calls: list[Callable[[], object]] = [
        lambda: store.append(SCOPE, [SAID]),
        lambda: store.read(SCOPE),
        lambda: store.get_many(SCOPE, "f", ["c"]),
        lambda: store.put_many(SCOPE, "f", {"c": b"1"}),
        lambda: store.delete(SCOPE),
    ]
    redis_server.pause()
    for call in calls[:3]:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            call()
        assert time.monotonic() - began < 2
    redis_server.resume()
    assert store.read(SCOPE) == [SAID]
    redis_server.kill()
    for call in calls:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            call()
    redis_server.start()
    assert store.append(SCOPE, [SAID], expected=0) == 1
    store.close()


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


def test_a_unix_socket(redis_server: Any, tmp_path: Path) -> None:
    redis_server.stop()
    redis_server.start("--unixsocket", str(tmp_path / "s"))
    with open_store(f"unix://{tmp_path}/s?db=2") as store:
        assert store.describe() == f"unix://{tmp_path}/s?db=2"
        assert store.append(SCOPE, [SAID]) == 1


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
    client.hset("vist2:{n/session/s}:meta", "v", "2")
    for call in (lambda: store.read(SCOPE), lambda: store.append(SCOPE, [SAID])):
        with pytest.raises(StoreFormatError, match="layout version 2; this release reads 1"):
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
    for client in (redis.asyncio.Redis(), object(), "redis://localhost"):
        with pytest.raises(TypeError, match=r"takes a synchronous redis\.Redis"):
            RedisStore(client)  # type: ignore[arg-type]


def test_the_store_in_memory_is_public() -> None:
    assert InMemoryStore().append(SCOPE, [SAID]) == 1
