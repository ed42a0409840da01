"""The outbox: answers that a store could not take, kept on this machine until it can.

One SQLite file for all stores and processes of a user, made when it is first needed and readable
by its owner only. An answer that was kept is on disk when :meth:`Outbox.keep` returns. The outbox
keeps records (`vist2_memory.store.records`) and knows neither the stores that they are meant for,
beyond their names, nor when an answer may be logged: `vist2_memory.memory.replay` does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from vist2_memory.errors import StoreFormatError, StoreUnavailableError
from vist2_memory.store.base import Scope, Store
from vist2_memory.store.files import make_private, turn_into_wal
from vist2_memory.store.records import from_record, to_records
from vist2_memory.types import Message

APPLICATION_ID = 0x564F5554
"""``VOUT``: says in the file's header whose it is."""
SCHEMA_VERSION = 1
OFF = "none"
"""What ``VIST2_OUTBOX`` is set to where no answer may be kept on this machine."""

_BUSY_TIMEOUT = 10.0
_TICK_NS = 3 * 10**9
"""Longer than two writes may lie apart and get one time of a file system."""
_SCHEMA = """
CREATE TABLE answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, scope TEXT NOT NULL,
    question BLOB NOT NULL, asked BLOB NOT NULL,
    id BLOB NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    kept REAL NOT NULL, aside TEXT NOT NULL DEFAULT '',
    UNIQUE (store, scope, id, digest))
"""
_COLUMNS = "number, store, scope, question, asked, id, digest, data, kept, aside"


def default_path() -> Path | None:
    """``VIST2_OUTBOX``, or ``outbox.db`` in the user's state folder.

    None where ``VIST2_OUTBOX`` is ``none``, or the user has no home folder.
    """
    named = os.environ.get("VIST2_OUTBOX")
    if named:
        return None if named.lower() == OFF else Path(named)
    folder = platformdirs.user_state_path("vist2", appauthor=False)
    return None if folder.parts[0] == "~" else folder / "outbox.db"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer in the outbox. ``number`` names it; lower ones were kept earlier."""

    number: int
    store: str
    """The identity of the store that it is meant for."""
    scope: Scope
    question: str
    """The id of the message that it answers."""
    asked: bytes
    """The digest of that message."""
    id: str
    digest: bytes
    data: bytes
    kept: float
    """When, in seconds since the epoch."""
    aside: str
    """Why it cannot be logged; empty while it waits for its store."""

    def answer(self, store: Store | None = None) -> Message:
        """The answer; raises `StoreFormatError` for a record that this release cannot read.

        ``store`` opens what it sealed.
        """
        data = self.data if store is None else store.unseal(self.scope, self.data)
        return from_record(data, self.scope, self.number)


class Outbox:
    """The outbox in the file ``path``, safe with several threads and processes.

    Every method raises `StoreUnavailableError` where the file cannot be used, and
    `StoreFormatError` where it is another program's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] = (0, 0)  # by which process, and which file
        self._inherited: list[sqlite3.Connection] = []

    def keep(self, store: Store, scope: Scope, question: Message, answer: Message) -> None:
        """Keep the answer to ``question`` for ``store``; once, however often it is called.

        Raises `InvalidMessageError` for an answer that no store could take.
        """
        [asked] = to_records([question])
        [record] = to_records([answer])
        with self._opening(create=True) as connection:
            assert connection is not None
            connection.execute(
                "INSERT OR IGNORE INTO answers "
                "(store, scope, question, asked, id, digest, data, kept) VALUES (?,?,?,?,?,?,?,?)",
                (
                    *(store.identity, scope.key, asked.id, asked.digest),
                    *(record.id, record.digest, store.seal(scope, record.data), time.time()),
                ),
            )

    def entries(self, store: str | None = None, scope: Scope | None = None) -> list[Kept]:
        """All that is kept, of one store or scope if given, in the order in which it came."""
        query = f"SELECT {_COLUMNS} FROM answers WHERE 1"
        wanted = []
        if store is not None:
            query, wanted = query + " AND store=?", [store]
        if scope is not None:
            query, wanted = query + " AND scope=?", [*wanted, scope.key]
        with self._opening() as connection:
            if connection is None:
                return []
            return [_kept(row) for row in connection.execute(query + " ORDER BY number", wanted)]

    def stamp(self) -> tuple[object, object] | None:
        """What differs once anybody has written to the outbox since; far cheaper than `entries`.

        None while the newest write is so young that another could not be told from it.
        """
        stamps: list[tuple[int, int, int] | None] = []
        for path in (self.path, f"{self.path}-wal"):
            try:
                found = os.stat(path)
            except OSError:  # so nothing of ours
                stamps.append(None)
                continue
            if time.time_ns() - found.st_mtime_ns < _TICK_NS:
                return None
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return stamps[0], stamps[1]

    def set_aside(self, number: int, why: str) -> None:
        """Note why this one cannot be logged; it is kept until somebody discards it."""
        self._execute("UPDATE answers SET aside=? WHERE number=?", why, number)

    def remove(self, number: int) -> bool:
        """Take out this one, which was logged or is not wanted; whether it was there."""
        return bool(self._execute("DELETE FROM answers WHERE number=?", number))

    def forget(self, store: str, scope: Scope) -> int:
        """Take out all of a scope, and how many that were; no trace of them is left."""
        return self._execute("DELETE FROM answers WHERE store=? AND scope=?", store, scope.key)

    def check(self) -> None:
        """Raise unless an answer could be kept; makes neither the file nor its folder."""
        folder = self.path if self.path.exists() else self.path.parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK):
            raise StoreUnavailableError(self._unusable(f"{folder} cannot be written to"))
        self.entries(store="")

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            self._drop_connection()

    # Within

    def _execute(self, statement: str, *values: object) -> int:
        """How many rows the statement changed."""
        with self._opening() as connection:
            if connection is None:
                return 0
            changed = connection.execute(statement, values).rowcount
            with contextlib.suppress(sqlite3.Error):  # another reads: its own next one does it
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return changed

    @contextlib.contextmanager
    def _opening(self, *, create: bool = False) -> Iterator[sqlite3.Connection | None]:
        """The file's connection; None where there is no file and none is to be made."""
        with self._lock:
            try:
                yield self._connect(create)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
                    raise StoreFormatError(self._unusable(str(error))) from error
                raise StoreUnavailableError(self._unusable(str(error))) from error
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreUnavailableError(self._unusable(reason)) from error

    def _connect(self, create: bool) -> sqlite3.Connection | None:
        if create:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(self.path)
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # so nothing of ours
            self._drop_connection()
            return None
        opened = (os.getpid(), found.st_ino)
        if self._connection is None or self._opened != opened:  # forked, or another file by now
            self._drop_connection()
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._opened = connection, opened
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None and self._opened[0] == os.getpid():
            self._connection.close()
        elif self._connection is not None:
            self._inherited.append(self._connection)  # SQLite's must not be closed after a fork
        self._connection = None

    def _set_up(self, connection: sqlite3.Connection) -> None:
        for pragma in ("secure_delete=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        if self._version(connection) == SCHEMA_VERSION:
            return
        turn_into_wal(connection, _BUSY_TIMEOUT)
        connection.execute("BEGIN IMMEDIATE")
        if self._version(connection) == 0:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _version(self, connection: sqlite3.Connection) -> int:
        """The schema's version, 0 for an empty file; raises `StoreFormatError` for any other."""
        identity, version, tables = connection.execute(
            "SELECT application_id, user_version, (SELECT COUNT(*) FROM sqlite_master) "
            "FROM pragma_application_id, pragma_user_version"
        ).fetchone()
        if (identity, version, tables) == (0, 0, 0):
            return 0
        if (identity, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise StoreFormatError(
                self._unusable(f"it is not an outbox of version {SCHEMA_VERSION}")
            )
        return SCHEMA_VERSION

    def _unusable(self, reason: str) -> str:
        return (
            f"the outbox {self.path} cannot be used: {reason}. Name another file with "
            f"VIST2_OUTBOX, or do without by VIST2_OUTBOX={OFF}"
        )


def _kept(row: tuple[Any, ...]) -> Kept:
    number, store, scope, question, asked, id, digest, data, kept, aside = row
    return Kept(
        *(number, store, Scope.from_key(scope), question.decode(), asked),
        *(id.decode(), digest, data, kept, aside),
    )
