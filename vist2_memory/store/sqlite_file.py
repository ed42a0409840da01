"""The file of `vist2_memory.store.sqlite`: its tables, its version, and whose it is.

======= ===========================================================
version what it added
======= ===========================================================
1
2       ``scopes.revision`` and ``scopes.token``: logs are rewritten
======= ===========================================================

A file of an earlier version is brought up to date when it is opened, in one transaction; after that
earlier releases refuse it. One of a later version is refused. What counts for quotas
(`vist2_memory.store.sqlite_usage`) is added in the same transaction to a file that lacks it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vist2_memory.errors import StoreFormatError, StoreUnavailableError
from vist2_memory.store.files import make_private, turn_into_wal
from vist2_memory.store.sqlite_usage import install

APPLICATION_ID = 0x56495354
"""``VIST``: says in the file's header whose it is."""
SCHEMA_VERSION = 2

_PATIENCE = 10.0
"""Seconds to wait for others that make the same file."""

_SCHEMA = """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, expires REAL,
    revision INTEGER NOT NULL DEFAULT 0, token TEXT NOT NULL DEFAULT '');
CREATE INDEX ends ON scopes (expires) WHERE expires IS NOT NULL;
CREATE TABLE messages (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, position INTEGER NOT NULL,
    id BLOB NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (scope, position), UNIQUE (scope, id));
CREATE TABLE tensors (
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE, fingerprint TEXT NOT NULL,
    chunk TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (scope, fingerprint, chunk))
"""

_STEPS = {
    0: _SCHEMA,
    1: """
ALTER TABLE scopes ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE scopes ADD COLUMN token TEXT NOT NULL DEFAULT ''
""",
}
"""What brings a file of that version further: an empty one to the newest, others to the next."""


def create_file(path: Path) -> None:
    """Make the file if it is not there, readable by its owner only."""
    try:
        make_private(path)
    except FileNotFoundError:
        raise StoreUnavailableError(
            f"{path} cannot be opened: there is no folder {path.parent}; create it first"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreUnavailableError(f"{path} cannot be opened: {reason}") from error


def set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables or bring them up to date; `StoreFormatError` for a file that is not ours."""
    for pragma in ("foreign_keys=ON", "secure_delete=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _version(connection, path)  # never turn another program's file into WAL
        turn_into_wal(connection, _PATIENCE)
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)
    while version < SCHEMA_VERSION:
        for statement in _STEPS[version].split(";"):
            connection.execute(statement)
        version = version + 1 if version else SCHEMA_VERSION
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={version}")
    install(connection)
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version, 0 for an empty file; raises `StoreFormatError` if it cannot be read."""
    identity, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT COUNT(*) FROM sqlite_master",
        )
    )
    if identity == 0 and version == 0 and tables == 0:
        return 0
    if identity != APPLICATION_ID:
        raise StoreFormatError(f"{path} is a SQLite database of another program")
    if not 1 <= version <= SCHEMA_VERSION:
        raise StoreFormatError(
            f"{path} has schema version {version}; this release reads 1 to {SCHEMA_VERSION}. "
            "Use the release that wrote it, or a newer one."
        )
    return int(version)
