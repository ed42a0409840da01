"""What the SQLite files of this package have in common: who may read them, and their mode."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path


def make_private(path: Path) -> None:
    """Make the file if it is not there, readable by its owner only; raises ``OSError``.

    Conversations are private: it is made before SQLite makes it readable to all.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def turn_into_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Have the file in WAL mode; for this alone SQLite does not wait for others by itself.

    ``patience``: seconds to try before ``sqlite3.OperationalError``.
    """
    end = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
