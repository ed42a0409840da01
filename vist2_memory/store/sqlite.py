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
    InvalidMessageError,
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
    Snapshot,
    Store,
    StoreUsage,
    quoted,
    validated_after,
    validated_name,
    validated_rewrite,
)
from vist2_memory.store.quotas import Size, check_namespace, check_scope, size_of
from vist2_memory.store.records import (
    Record,
    differs,
    from_record,
    kept_twice,
    lost,
    moved_on,
    rewritten,
    to_records,
)
from vist2_memory.store.sqlite_file import create_file, set_up
from vist2_memory.store.sqlite_usage import namespace_size, scope_size, scopes_of
from vist2_memory.types import Message


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
        create_file(self._path)
        with self._translated():
            self._connection = sqlite3.connect(
                self._path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated():
                set_up(self._connection, self._path)
        except BaseException:
            self.close()
            raise

    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        records = to_records(messages)
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            count, found, _ = self._standing(scope, row) if row else (0, 0, "")
            fresh = []
            for record in records:
                there = self._connection.execute(
                    "SELECT digest FROM messages WHERE scope=? AND id=?", (row, record.id)
                ).fetchone()
                if there is None:
                    fresh.append(record)
                elif there[0] != record.digest:
                    raise ConflictError(differs(scope, record.id))
            if fresh or not records:
                if expected is not None and expected != count:
                    raise ConflictError(moved_on(scope, expected, count))
                if revision is not None and revision != found:
                    raise ConflictError(rewritten(scope, count, revision, found))
            if fresh:
                self._check_room(scope, row, size_of(fresh))
                self._write(row or self._new(scope), count, fresh)
            return count + len(fresh)

    def rewrite(
        self,
        scope: Scope,
        keep: int,
        messages: Sequence[Message],
        *,
        expected: int,
        last: str,
        revision: int,
        token: str = "",
    ) -> int:
        validated_rewrite(keep, expected, revision)
        records = to_records(messages)
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            if row is None:
                raise ConflictError(moved_on(scope, expected, 0))
            count, found, newest = self._standing(scope, row)
            if token and token == newest:
                return count
            if count != expected:
                raise ConflictError(moved_on(scope, expected, count))
            [(end,)] = self._connection.execute(
                "SELECT id FROM messages WHERE scope=? AND position=?", (row, count)
            )
            if found != revision or end.decode("utf-8") != last:
                raise ConflictError(rewritten(scope, expected, revision, found))
            for record in records:
                query = "SELECT 1 FROM messages WHERE scope=? AND id=? AND position<=?"
                if self._connection.execute(query, (row, record.id, keep)).fetchone():
                    raise InvalidMessageError(kept_twice(scope, record.id))
            gone = scope_size(self._connection, row, after=keep)
            self._check_room(scope, row, size_of(records) - gone)
            self._connection.execute(
                "DELETE FROM messages WHERE scope=? AND position>?", (row, keep)
            )
            self._write(row, keep, records)
            self._connection.execute(
                "UPDATE scopes SET revision=?, token=? WHERE id=?", (revision + 1, token, row)
            )
        self._clear_wal()
        return keep + len(records)

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        validated_after(after)
        with self._transaction(self._reading):
            row = self._find(scope)
            if row is None:
                return Snapshot([])
            _, revision, _ = self._standing(scope, row)
            entries = self._connection.execute(
                "SELECT position, data FROM messages WHERE scope=? AND position>? "
                "ORDER BY position",
                (row, after),
            ).fetchall()
        return Snapshot([from_record(data, scope, n) for n, data in entries], revision)

    def count(self, scope: Scope) -> int:
        with self._transaction(self._reading):
            row = self._find(scope)
            return self._standing(scope, row)[0] if row else 0

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

    def usage(self, namespace: str) -> StoreUsage:
        validated_name("namespace", namespace)
        with self._transaction("IMMEDIATE"):  # without what has expired
            size = namespace_size(self._connection, namespace)
            scopes = (scopes_of(self._connection, namespace, k) for k in ("session", "collection"))
            return StoreUsage(size.messages, size.bytes, *scopes)

    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        with self._transaction("IMMEDIATE"):
            row = self._find(scope)
            if expected is not None or revision is not None:
                count, found, _ = self._standing(scope, row) if row else (0, 0, "")
                if expected is not None and expected != count:
                    raise ConflictError(moved_on(scope, expected, count))
                if revision is not None and revision != found:
                    raise ConflictError(rewritten(scope, count, revision, found))
            if row is None:
                return Deleted()
            counts = self._connection.execute(
                "SELECT (SELECT COUNT(*) FROM messages WHERE scope=:row), COUNT(DISTINCT chunk), "
                "COUNT(*) FROM tensors WHERE scope=:row",
                {"row": row},
            ).fetchone()
            self._connection.execute("DELETE FROM scopes WHERE id=?", (row,))
        self._clear_wal()
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

    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with self._transaction(self._reading):
            for fingerprint, chunk in self._connection.execute(
                "SELECT fingerprint, chunk FROM tensors WHERE scope=? ORDER BY 1, 2",
                (self._find(scope),),
            ):
                found.setdefault(fingerprint, []).append(chunk)
        return found

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        with self._transaction(self._reading):
            self._find(scope)

    def describe(self) -> str:
        return f"sqlite:///{self._path}"

    @property
    def identity(self) -> str:
        return f"sqlite:///{self._path.resolve()}"

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

    def _check_room(self, scope: Scope, row: int | None, more: Size) -> None:
        quota = self.quota(scope.namespace)
        if quota is not None:
            check_scope(quota, scope, scope_size(self._connection, row), more)
            check_namespace(quota, scope, namespace_size(self._connection, scope.namespace), more)

    def _new(self, scope: Scope) -> int:
        now = self._clock()
        row = self._connection.execute(
            "INSERT INTO scopes (key, messages, created, updated, expires) VALUES (?,0,?,?,?)",
            (scope.key, now, now, now + self.ttl if self.ttl else None),
        ).lastrowid
        assert row is not None
        return row

    def _write(self, row: int, count: int, records: Sequence[Record]) -> None:
        """Put ``records`` after the first ``count`` messages, which are all there are."""
        self._connection.executemany(
            "INSERT INTO messages VALUES (?,?,?,?,?)",
            [(row, n, r.id, r.digest, r.data) for n, r in enumerate(records, count + 1)],
        )
        now = self._clock()
        self._connection.execute(
            "UPDATE scopes SET messages=?, updated=?, expires=? WHERE id=?",
            (count + len(records), now, now + self.ttl if self.ttl else None, row),
        )

    def _standing(self, scope: Scope, row: int) -> tuple[int, int, str]:
        """Messages, revision, token of the newest rewrite; `LogLostError` unless all are there."""
        count, revision, token, found, last = self._connection.execute(
            "SELECT scopes.messages, revision, token, COUNT(position), COALESCE(MAX(position), 0) "
            "FROM scopes LEFT JOIN messages ON scope=scopes.id WHERE scopes.id=?",
            (row,),
        ).fetchone()
        if not count == found == last:
            raise LogLostError(lost(scope, found, count))
        return int(count), int(revision), str(token)

    def _clear_wal(self) -> None:
        """What was deleted leaves the WAL too, where no reader holds it for long."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA busy_timeout=250")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout={int(self._busy_timeout * 1000)}")

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
