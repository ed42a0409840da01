"""The store in one SQLite file: the embedded default, safe with several threads and processes.

The file is in WAL mode: readers never wait, writers wait for one another. A commit is on disk when
`SQLiteStore.append` returns (``synchronous=FULL``). What is deleted is overwritten
(``secure_delete``) and leaves the WAL too, unless another process is just reading.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from vist2_memory.errors import (
    ConflictError,
    LogLostError,
    StoreError,
    StoreFormatError,
    StoreUnavailableError,
)
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Scope,
    ScopeInfo,
    Store,
    quoted,
    validated_after,
    validated_name,
)
from vist2_memory.store.records import differs, from_record, lost, moved_on, to_records
from vist2_memory.types import Message

APPLICATION_ID = 0x56495354
"""``VIST``: says in the file's header whose it is."""
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, expires REAL);
CREATE INDEX ends ON scopes (expires) WHERE expires IS NOT NULL;
CREATE TABLE messages (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, position INTEGER NOT NULL,
    id BLOB NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (scope, position), UNIQUE (scope, id));
CREATE TABLE tensors (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, fingerprint TEXT NOT NULL,
    chunk TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (scope, fingerprint, chunk))
"""


class SQLiteStore(Store):
    """``path`` is created if it is not there (readable by its owner only), its folder is not.

    ``busy_timeout``: seconds to wait for another writer before `StoreUnavailableError`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ttl: int | None = None,
        busy_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ttl=ttl)
        self._path = Path(path).expanduser().absolute()
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._lock = threading.RLock()
        self._closed = False
        _create_file(self._path)
        with self._translated():
            self._connection = sqlite3.connect(
                self._path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def append(
        self, scope: Scope, messages: Sequence[Message], *, expected: int | None = None
    ) -> int:
        records = to_records(messages)
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            count = self._counted(scope, row) if row else 0
            fresh = []
            for record in records:
                there = self._connection.execute(
                    "SELECT digest FROM messages WHERE scope=? AND id=?", (row, record.id)
                ).fetchone()
                if there is None:
                    fresh.append(record)
                elif there[0] != record.digest:
                    raise ConflictError(differs(scope, record.id))
            if expected is not None and expected != count and (fresh or not records):
                raise ConflictError(moved_on(scope, expected, count))
            if fresh:
                row = row or self._new(scope)
                self._connection.executemany(
                    "INSERT INTO messages VALUES (?,?,?,?,?)",
                    [(row, n, r.id, r.digest, r.data) for n, r in enumerate(fresh, count + 1)],
                )
                now = self._clock()
                self._connection.execute(
                    "UPDATE scopes SET messages=?, updated=?, expires=? WHERE id=?",
                    (count + len(fresh), now, now + self.ttl if self.ttl else None, row),
                )
            return count + len(fresh)

    def read(self, scope: Scope, after: int = 0) -> list[Message]:
        validated_after(after)
        with self._transaction(self._reading):
            row = self._find(scope)
            if row is None:
                return []
            self._counted(scope, row)
            entries = self._connection.execute(
                "SELECT position, data FROM messages WHERE scope=? AND position>? "
                "ORDER BY position",
                (row, after),
            ).fetchall()
        return [from_record(data, scope, position) for position, data in entries]

    def count(self, scope: Scope) -> int:
        with self._transaction(self._reading):
            row = self._find(scope)
            return self._counted(scope, row) if row else 0

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        start = f"{quoted(validated_name('namespace', namespace))}/{kind}/"
        with self._transaction("DEFERRED"):
            rows = self._connection.execute(
                "SELECT key, messages, created, updated FROM scopes WHERE substr(key, 1, ?)=? "
                "AND messages>0 AND (expires IS NULL OR expires>?)",
                (len(start), start, self._clock()),
            ).fetchall()
        infos = (ScopeInfo(Scope.from_key(key), *rest) for key, *rest in rows)
        return sorted(infos, key=lambda info: info.scope.name)

    def delete(self, scope: Scope) -> Deleted:
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            if row is None:
                return Deleted()
            counts = self._connection.execute(
                "SELECT (SELECT COUNT(*) FROM messages WHERE scope=:row), COUNT(DISTINCT chunk), "
                "COUNT(*) FROM tensors WHERE scope=:row",
                {"row": row},
            ).fetchone()
            self._connection.execute("DELETE FROM scopes WHERE id=?", (row,))
        with self._lock, contextlib.suppress(sqlite3.Error):
            # The text leaves the WAL too, where no reader holds it for long.
            self._connection.execute("PRAGMA busy_timeout=250")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout={int(self._busy_timeout * 1000)}")
        return Deleted(*counts)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        with self._transaction(self._reading):
            row = self._find(scope)
            query = "SELECT data FROM tensors WHERE scope=? AND fingerprint=? AND chunk=?"
            found = (
                self._connection.execute(query, (row, fingerprint, chunk)).fetchone()
                for chunk in chunk_ids
            )
            return [data[0] if data else None for data in found]

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        if not items:
            return
        with self._transaction("IMMEDIATE"):
            row = self._find(scope) or self._new(scope)
            self._connection.executemany(
                "INSERT OR REPLACE INTO tensors VALUES (?,?,?,?)",
                [(row, fingerprint, chunk, data) for chunk, data in items.items()],
            )

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            return self._connection.executemany(
                "DELETE FROM tensors WHERE scope=? AND fingerprint=? AND chunk=?",
                [(row, fingerprint, chunk) for chunk in chunk_ids],
            ).rowcount

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        with self._transaction(self._reading):
            self._find(scope)

    def describe(self) -> str:
        return f"sqlite:///{self._path}"

    # ------------------------------------------------------------------------------ inside

    @property
    def _reading(self) -> Literal["DEFERRED", "IMMEDIATE"]:
        """With a time to live, reading writes: it puts off the end."""
        return "IMMEDIATE" if self.ttl else "DEFERRED"

    def _find(self, scope: Scope) -> int | None:
        """The row of the scope, unless it expired; to look for it is to use it."""
        now = self._clock()
        found = self._connection.execute(
            "SELECT id, expires FROM scopes WHERE key=? AND (expires IS NULL OR expires>?)",
            (scope.key, now),
        ).fetchone()
        if found is None:
            return None
        row, expires = found
        if expires is not None and self.ttl:
            self._connection.execute(
                "UPDATE scopes SET expires=? WHERE id=?", (now + self.ttl, row)
            )
        return int(row)

    def _new(self, scope: Scope) -> int:
        now = self._clock()
        row = self._connection.execute(
            "INSERT INTO scopes (key, messages, created, updated, expires) VALUES (?,0,?,?,?)",
            (scope.key, now, now, now + self.ttl if self.ttl else None),
        ).lastrowid
        assert row is not None
        return row

    def _counted(self, scope: Scope, row: int) -> int:
        """How many messages were acknowledged; raises `LogLostError` unless all are there."""
        count, found, last = self._connection.execute(
            "SELECT scopes.messages, COUNT(position), COALESCE(MAX(position), 0) FROM scopes "
            "LEFT JOIN messages ON scope=scopes.id WHERE scopes.id=?",
            (row,),
        ).fetchone()
        if not count == found == last:
            raise LogLostError(lost(scope, found, count))
        return int(count)

    @contextlib.contextmanager
    def _transaction(self, mode: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[None]:
        """All or nothing, one thread at a time; IMMEDIATE is alone among writers from the start."""
        with self._lock, self._translated():
            if self._closed:
                raise StoreUnavailableError(f"{self.describe()} was closed: open it again")
            self._connection.execute(f"BEGIN {mode}")
            try:
                if mode == "IMMEDIATE":
                    self._connection.execute(
                        "DELETE FROM scopes WHERE expires<=?", (self._clock(),)
                    )
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
                raise StoreFormatError(f"{self._path} is not a store of ours: {error}") from error
            hint = ": another process holds it" if code == sqlite3.SQLITE_BUSY else ""
            raise StoreUnavailableError(f"{self._path} cannot be used: {error}{hint}") from error
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _set_up(self) -> None:
        with self._translated():
            for pragma in ("foreign_keys=ON", "secure_delete=ON", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {pragma}")
            if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                self._check_schema()  # never turn another program's file into WAL
                self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("BEGIN IMMEDIATE")
            if self._check_schema() == 0:
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._connection.execute("COMMIT")

    def _check_schema(self) -> int:
        """The schema version, 0 for an empty file; raises `StoreFormatError` for any other."""
        identity, version, tables = (
            self._connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT COUNT(*) FROM sqlite_master",
            )
        )
        if identity == 0 and version == 0 and tables == 0:
            return 0
        if identity != APPLICATION_ID:
            raise StoreFormatError(f"{self._path} is a SQLite database of another program")
        if version != SCHEMA_VERSION:
            raise StoreFormatError(
                f"{self._path} has schema version {version}; this release reads {SCHEMA_VERSION}. "
                "Use the release that wrote it, or a newer one."
            )
        return int(version)


def _create_file(path: Path) -> None:
    """Conversations are private: the file is made before SQLite makes it readable to all."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except FileNotFoundError:
        raise StoreUnavailableError(
            f"{path} cannot be opened: there is no folder {path.parent}; create it first"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreUnavailableError(f"{path} cannot be opened: {reason}") from error
