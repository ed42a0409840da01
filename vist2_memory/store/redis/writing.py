"""Writing a log, each by one script: appended to, announced in the index first, or rewritten."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from vist2_memory.errors import ConflictError
from vist2_memory.store.base import Scope
from vist2_memory.store.quotas import Size
from vist2_memory.store.records import Record, moved_on, rewritten
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.log import Log, messages_of, refusal
from vist2_memory.store.redis.requests import Steps
from vist2_memory.store.redis.tensors import end_all

ATTEMPTS = 20


class Writing:
    """``replicas``: how many confirm what was written."""

    def __init__(self, link: Link, index: Index, replicas: int) -> None:
        self._link, self._index, self._replicas = link, index, replicas

    def append(
        self,
        scope: Scope,
        records: Sequence[Record],
        expected: int | None,
        revision: int | None,
        room: tuple[int, int],
        full: bool,
        ttl_ms: int,
    ) -> Steps[Any]:
        """What `scripts.APPEND` returns that is ``ok`` or ``quota``; all else raises.

        ``room``: messages and bytes that the scope may have (-1: any). ``full``: it takes nothing
        new.
        """
        seen = (-1 if value is None else value for value in (expected, revision))
        arguments: list[bytes | int] = [*seen, ttl_ms, *room, int(full)]
        for record in records:
            arguments += (record.id, record.digest, record.data)
        size = sum(len(record.data) for record in records)
        too_much = full or 0 <= room[0] < len(records) or 0 <= room[1] < size
        mark, nonce = ("ttl" if ttl_ms else "kept"), secrets.token_hex(8)
        found = yield from self._run(scope, arguments, create=False)
        for _ in range(ATTEMPTS):
            if found[0] != b"absent":
                break
            if (yield from self._index.raise_if_lost(scope)):
                found = yield from self._run(scope, arguments, create=False)
            elif not records or expected or revision:
                found = [b"moved" if expected or revision else b"ok", 0, 0, 0]
            elif too_much:  # nothing is announced that will not be written
                found = [b"quota", 0, len(records), 0, size]
            elif (yield from self._index.mark(scope, "announce", nonce=nonce)) != b"kept":
                found = yield from self._run(scope, arguments, create=True)
                yield from self._index.mark(scope, "confirm", mark, nonce)
                break
        else:
            raise ConflictError(f"{scope.key} is deleted and written by others all the time")
        return (yield from self._checked(scope, found, ttl_ms, expected, revision or 0))

    def rewrite(
        self,
        scope: Scope,
        keep: int,
        records: Sequence[Record],
        *,
        gone: Sequence[str],
        expected: int,
        revision: int,
        token: bytes,
        room: tuple[int, int],
        ttl_ms: int,
    ) -> Steps[Any]:
        """What `scripts.REWRITE` returns that is ``ok`` or ``quota``; all else raises.

        ``gone``: the ids of the messages that ``records`` replace.
        """
        written = [part for record in records for part in (record.id, record.digest, record.data)]
        head = [scripts.LAYOUT_VERSION, int(self._replicas > 0), token, revision, expected, keep]
        given = [*head, ttl_ms, *room, len(gone), *gone, *written]
        keys = scripts.log_keys(scope)
        found = yield from self._link.script(scripts.REWRITE, keys, given, replicas=self._replicas)
        return (yield from self._checked(scope, found, ttl_ms, expected, revision))

    def _checked(
        self, scope: Scope, found: Any, ttl_ms: int, expected: int | None, revision: int
    ) -> Steps[Any]:
        what, count, detail, *_ = found
        if what == b"ok" and detail:
            yield from self._index.mark(scope, "switch", "ttl" if ttl_ms else "kept")
            if ttl_ms:
                yield from end_all(self._link, scope, ttl_ms)
        if what not in (b"ok", b"quota"):
            raise refusal(scope, what, count, detail, expected=expected, revision=revision)
        return found

    def _run(self, scope: Scope, arguments: list[bytes | int], *, create: bool) -> Steps[Any]:
        head = [scripts.LAYOUT_VERSION, int(create), int(self._replicas > 0)]
        keys = scripts.log_keys(scope)
        script, given = scripts.APPEND, [*head, *arguments]
        return (yield from self._link.script(script, keys, given, replicas=self._replicas))


def replaced(
    scope: Scope, log: Log, keep: int, *, expected: int, last: str, revision: int
) -> tuple[list[str], Size]:
    """The ids of the messages after ``keep``, and what they take.

    ``log``: with its entries from there on, or with the last one. Raises `ConflictError` if it is
    not as it was seen: ``expected`` messages, the ``last`` of that id, at ``revision``.
    """
    if log.length != expected:
        raise ConflictError(moved_on(scope, expected, log.length))
    ids = [message.id for message in messages_of(scope, min(keep + 1, expected), log)]
    if log.revision != revision or ids[-1] != last:
        raise ConflictError(rewritten(scope, expected, revision, log.revision))
    if keep == expected:
        return [], Size()
    return ids, Size(len(ids), sum(len(fields[1]) for _, fields in log.entries))
