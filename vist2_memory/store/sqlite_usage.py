"""What each namespace of a SQLite file holds, kept by triggers in the transaction that changes it.

So whoever writes to the file is counted, whatever writes and whichever release it is of. The table
is added to a file that lacks it, and counted afresh then; the schema version stays as it is.
"""

from __future__ import annotations

import sqlite3

from vist2_memory.store.base import Kind, quoted
from vist2_memory.store.quotas import Size

_NAMESPACE = "substr(key, 1, instr(key, '/') - 1)"

_GROW = f"""
    INSERT INTO usage SELECT {_NAMESPACE}, 1, length(NEW.data) FROM scopes WHERE id=NEW.scope
    ON CONFLICT (namespace) DO UPDATE SET messages=messages+1, bytes=bytes+length(NEW.data)"""
_SHRINK = f"""
    UPDATE usage SET messages=messages-1, bytes=bytes-length(OLD.data)
    WHERE namespace=(SELECT {_NAMESPACE} FROM scopes WHERE id=OLD.scope)"""
_EMPTY = "DELETE FROM usage WHERE messages=0"

_STATEMENTS = (
    """CREATE TABLE usage (
        namespace TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL)""",
    f"""INSERT INTO usage SELECT {_NAMESPACE}, COUNT(*), SUM(length(data))
        FROM messages JOIN scopes ON scopes.id=scope GROUP BY 1""",
    f"CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN {_GROW}; END",
    f"""CREATE TRIGGER message_changed AFTER UPDATE OF data ON messages
        BEGIN {_SHRINK}; {_GROW}; END""",
    # A scope that is deleted takes its messages with it before this could ask whose they were.
    f"CREATE TRIGGER message_removed BEFORE DELETE ON messages BEGIN {_SHRINK}; {_EMPTY}; END",
    f"""CREATE TRIGGER scope_removed BEFORE DELETE ON scopes BEGIN
        UPDATE usage SET
            messages=messages-(SELECT COUNT(*) FROM messages WHERE scope=OLD.id),
            bytes=bytes-(SELECT COALESCE(SUM(length(data)), 0) FROM messages WHERE scope=OLD.id)
        WHERE namespace=substr(OLD.key, 1, instr(OLD.key, '/') - 1); {_EMPTY}; END""",
)


def install(connection: sqlite3.Connection) -> None:
    """Begin to count, in the transaction that is open, unless that was done before."""
    [there] = connection.execute(
        "SELECT COUNT(*) FROM sqlite_master WHERE type='table' AND name='usage'"
    ).fetchone()
    if not there:
        for statement in _STATEMENTS:
            connection.execute(statement)


def namespace_size(connection: sqlite3.Connection, namespace: str) -> Size:
    """What the namespace holds, sessions and collections."""
    row = connection.execute(
        "SELECT messages, bytes FROM usage WHERE namespace=?", (quoted(namespace),)
    ).fetchone()
    return Size(*row) if row else Size()


def scope_size(connection: sqlite3.Connection, row: int | None, *, after: int = 0) -> Size:
    """What the scope in this row holds, without its first ``after`` messages."""
    return Size(
        *connection.execute(
            "SELECT COUNT(*), COALESCE(SUM(length(data)), 0) FROM messages "
            "WHERE scope=? AND position>?",
            (row, after),
        ).fetchone()
    )


def scopes_of(connection: sqlite3.Connection, namespace: str, kind: Kind) -> int:
    """How many scopes of a kind hold messages."""
    start = f"{quoted(namespace)}/{kind}/"
    [count] = connection.execute(
        "SELECT COUNT(*) FROM scopes WHERE substr(key, 1, ?)=? AND messages>0", (len(start), start)
    ).fetchone()
    return int(count)
