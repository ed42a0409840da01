"""Appending to a log: announced in the index first, then written by one script."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from vist2_memory.errors import ConflictError, LogLostError, StoreFormatError
from vist2_memory.store.base import Scope
from vist2_memory.store.records import Record, differs, lost, moved_on
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.tensors import end_all

ATTEMPTS = 20


class Appending:
    """``replicas``: how many confirm what was written."""

    def __init__(self, link: Link, index: Index, replicas: int) -> None:
        self._link, self._index, self._replicas = link, index, replicas

    def append(
        self,
        scope: Scope,
        records: Sequence[Record],
        expected: int | None,
        room: tuple[int, int, int],
        ttl_ms: int,
    ) -> Any:
        """What `scripts.APPEND` returns that is ``ok`` or ``quota``; all else raises.

        ``room``: messages and bytes that the scope may have (-1: any); 1 if it takes nothing new.
        """
        arguments: list[bytes | int] = [-1 if expected is None else expected, ttl_ms, *room]
        for record in records:
            arguments += (record.id, record.digest, record.data)
        size = sum(len(record.data) for record in records)
        too_much = room[2] or 0 <= room[0] < len(records) or 0 <= room[1] < size
        mark, nonce = ("ttl" if ttl_ms else "kept"), secrets.token_hex(8)
        found = self._run(scope, arguments, create=False)
        for _ in range(ATTEMPTS):
            if found[0] != b"absent":
                break
            if self._index.raise_if_lost(scope):
                found = self._run(scope, arguments, create=False)
            elif not records or expected:
                found = [b"moved" if expected else b"ok", 0, 0, 0]
            elif too_much:  # nothing is announced that will not be written
                found = [b"quota", 0, len(records), 0, size]
            elif self._index.mark(scope, "announce", nonce=nonce) != b"kept":
                found = self._run(scope, arguments, create=True)
                self._index.mark(scope, "confirm", mark, nonce)
                break
        else:
            raise ConflictError(f"{scope.key} is deleted and written by others all the time")
        what, count, detail, *_ = found
        if what == b"ok" and detail:
            self._index.mark(scope, "switch", mark)
            if ttl_ms:
                end_all(self._link, scope, ttl_ms)
        if what in (b"ok", b"quota"):
            return found
        if what == b"differs":
            raise ConflictError(differs(scope, detail))
        if what == b"moved":
            raise ConflictError(moved_on(scope, expected or 0, count))
        if what == b"version":
            raise StoreFormatError(wrong_version(scope, detail))
        raise LogLostError(lost(scope, detail, count))

    def _run(self, scope: Scope, arguments: list[bytes | int], *, create: bool) -> Any:
        head = [scripts.LAYOUT_VERSION, int(create), int(self._replicas > 0)]
        keys = scripts.log_keys(scope)
        script, given = scripts.APPEND, [*head, *arguments]
        return self._link.script(script, keys, given, replicas=self._replicas)


def wrong_version(scope: Scope, version: bytes) -> str:
    """A log of another release, in words."""
    return (
        f"{scope.key} has layout version {version.decode('ascii', 'replace')}; this release reads "
        f"{scripts.LAYOUT_VERSION}. Use the release that wrote it, or a newer one."
    )
