"""Opening a store by its URL, and every way in which that fails."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vist2_memory.errors import StoreFormatError, StoreUnavailableError, StoreURLError
from vist2_memory.store import InMemoryStore, Scope, open_store
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
        ("redis+cluster://h:1,:secret@h:2,", "redis+cluster://user:password@host:6379,host"),
        ("redis+cluster://:secret@h:1,h:2/3", "has no databases"),
        ("redis+sentinel://:secret@h:1", "names the master"),
        ("redis+sentinel://:secret@h:1/main/one", "names the master"),
        ("redis://localhost:1/0?deadline=secret", "deadline=SECONDS"),
        ("redis://localhost:1/0?deadline=0", "deadline="),
        ("redis://localhost:1/0?replicas=-1", "replicas="),
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
    connection.execute("PRAGMA user_version=3")
    connection.close()
    with pytest.raises(StoreFormatError, match="schema version 3; this release reads 1 to 2"):
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


def test_text_that_was_edited_away_is_gone_from_the_files(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "memory.db") as store:
        store.append(SCOPE, [SAID])
        store.rewrite(
            SCOPE, 0, [Message("user", "Hm.", id="m1")], expected=1, last="m1", revision=0
        )
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


def test_the_store_in_memory_is_public() -> None:
    assert InMemoryStore().append(SCOPE, [SAID]) == 1


def test_a_new_file_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait where a file is turned into WAL mode."""
    path = tmp_path / "memory.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    release.start()
    with open_store(f"sqlite:///{path}") as store:
        assert store.count(SCOPE) == 0
    release.join()
    other.close()
