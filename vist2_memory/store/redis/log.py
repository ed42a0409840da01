"""What the scripts about a log return: its entries as messages, a refusal as an error."""

from __future__ import annotations

from typing import Any, NamedTuple

from vist2_memory.errors import (
    ConflictError,
    InvalidMessageError,
    LogLostError,
    StoreFormatError,
    Vist2Error,
)
from vist2_memory.store.base import Scope
from vist2_memory.store.records import (
    differs,
    from_record,
    kept_twice,
    lost,
    moved_on,
    rewritten,
)
from vist2_memory.store.redis import scripts
from vist2_memory.types import Message


class Log(NamedTuple):
    """A log that is whole. ``entries``: those asked for, as (stream id, fields)."""

    length: int
    entries: list[Any]
    revision: int = 0
    token: bytes | None = None


def messages_of(scope: Scope, first: int, log: Log) -> list[Message]:
    """The entries of ``log``, which must be those from position ``first`` on."""
    wanted = range(first, log.length + 1)
    if [entry_id for entry_id, _ in log.entries] != [b"%d-0" % n for n in wanted]:
        raise LogLostError(lost(scope, log.length - len(wanted) + len(log.entries), log.length))
    # An entry of ours has one field, "m"; another's is no message either way.
    return [
        from_record(fields[1], scope, n) for n, (_, fields) in zip(wanted, log.entries, strict=True)
    ]


def refusal(
    scope: Scope,
    what: bytes,
    count: int,
    detail: Any,
    *,
    expected: int | None = None,
    revision: int = 0,
) -> Vist2Error:
    """Why a script left a log of ``count`` messages as it was, in the words that it returned."""
    if what == b"differs":
        return ConflictError(differs(scope, detail))
    if what == b"kept":
        return InvalidMessageError(kept_twice(scope, detail))
    if what == b"moved" and expected in (None, count):
        return ConflictError(rewritten(scope, count, revision, detail))
    if what == b"moved":
        return ConflictError(moved_on(scope, expected or 0, count))
    if what == b"version":
        return StoreFormatError(
            f"{scope.key} has layout version {detail.decode('ascii', 'replace')}; this release "
            f"reads 1 to {scripts.LAYOUT_VERSION}. Use the release that wrote it, or a newer one."
        )
    return LogLostError(lost(scope, detail, count))
