"""Whether there is room: quotas compared with what a namespace and a scope hold.

It knows nothing of where the counts come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.errors import QuotaExceededError
from vist2_memory.store.base import Quota, Scope
from vist2_memory.store.records import Record


@dataclass(frozen=True, slots=True)
class Size:
    """Messages and their bytes, as they are stored."""

    messages: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.messages + other.messages, self.bytes + other.bytes)

    def __sub__(self, other: Size) -> Size:
        return Size(self.messages - other.messages, self.bytes - other.bytes)

    @property
    def grows(self) -> bool:
        """Whether it takes room, added to what there is: a rewrite may take none, or give some."""
        return self.messages > 0 or self.bytes > 0


def size_of(records: Sequence[Record]) -> Size:
    """What ``records`` take."""
    return Size(len(records), sum(len(record.data) for record in records))


def check_scope(quota: Quota | None, scope: Scope, held: Size, more: Size) -> None:
    """Raise `QuotaExceededError` unless the scope, which holds ``held``, has room for ``more``."""
    if quota is not None:
        limit = Size(_or_any(quota.scope_messages), _or_any(quota.scope_bytes))
        _check(f"{scope.kind} {scope.name!r}", limit, held, more)


def check_namespace(quota: Quota | None, scope: Scope, held: Size, more: Size) -> None:
    """The same of the namespace."""
    if limits_namespace(quota):
        assert quota is not None
        limit = Size(_or_any(quota.messages), _or_any(quota.bytes))
        _check(f"namespace {scope.namespace!r}", limit, held, more)


def limits_namespace(quota: Quota | None) -> bool:
    """Whether what all of a namespace holds matters."""
    return quota is not None and (quota.messages is not None or quota.bytes is not None)


_ANY = 2**63


def _or_any(limit: int | None) -> int:
    return _ANY if limit is None else limit


def _check(what: str, limit: Size, held: Size, more: Size) -> None:
    for unit in ("messages", "bytes"):
        allowed, has, wants = (getattr(size, unit) for size in (limit, held, more))
        if wants > 0 and has + wants > allowed:
            raise QuotaExceededError(
                f"{what} holds {has:,} of {allowed:,} {unit} and has no room for {wants:,} more; "
                "nothing was stored. Delete sessions or documents, or raise the quota."
            )
