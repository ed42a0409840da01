"""The index of a namespace: which scopes there are, and what it means if one has no keys.

What each mark means is told in `vist2_memory.store.redis.scripts`.
"""

from __future__ import annotations

from typing import Any

import redis

from vist2_memory.errors import LogLostError, StoreUnavailableError
from vist2_memory.store.base import Kind, Scope
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.requests import Sleep, Steps


class Index:
    """``replicas``: how many confirm a new scope before its first message is written."""

    def __init__(self, link: Link, replicas: int) -> None:
        self._link, self._replicas = link, replicas

    def scopes(self, namespace: str, kind: Kind) -> Steps[list[tuple[Scope, bytes]]]:
        """The scopes of a kind and their marks, sorted by name."""
        index = scripts.index_key(namespace)
        [marks] = yield from self._link.run(index, ("HGETALL", index))
        scopes = ((Scope.from_key(key.decode("ascii")), mark) for key, mark in marks.items())
        return sorted((s for s in scopes if s[0].kind == kind), key=lambda s: s[0].name)

    def listed(
        self, namespace: str, kind: Kind, *fields: str
    ) -> Steps[list[tuple[Scope, bytes, list[Any]]]]:
        """Each scope of a kind, its mark, and these fields of its meta (None: not there)."""
        marked = yield from self.scopes(namespace, kind)
        found: list[tuple[Scope, bytes, list[Any]]] = []
        for start in range(0, len(marked), 1000):
            batch = marked[start : start + 1000]
            metas = [scripts.log_keys(scope)[1] for scope, _ in batch]
            rows = yield from self._link.gather(
                [(meta, ("HMGET", meta, *fields)) for meta in metas]
            )
            found += ((*entry, row) for entry, row in zip(batch, rows, strict=True))
        return found

    def mark(self, scope: Scope, action: str, mark: str = "", nonce: str = "") -> Steps[Any]:
        """Do ``action`` of `scripts.MARK`; the mark that was there before."""
        keys, arguments = [scripts.index_key(scope.namespace)], [scope.key, action, mark, nonce]
        replicas = self._replicas if action == "announce" else 0
        return (yield from self._link.script(scripts.MARK, keys, arguments, replicas=replicas))

    def mark_deleting(self, scope: Scope) -> Steps[bool]:
        """False on a server that is full: it takes no mark, but must not keep one from deleting."""
        index = scripts.index_key(scope.namespace)
        try:
            yield from self._link.run(index, ("HSET", index, scope.key, "deleting"))
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, redis.exceptions.OutOfMemoryError):
                return False
            raise
        return True

    def unmark_deleting(self, scope: Scope) -> Steps[None]:
        """It was not deleted after all."""
        meta = scripts.log_keys(scope)[1]
        [ttl] = yield from self._link.run(meta, ("HGET", meta, "ttl"))
        yield from self.mark(scope, "restore", "kept" if ttl in (b"0", None) else "ttl")

    def raise_if_lost(self, scope: Scope) -> Steps[bool]:
        """For a scope without keys: `LogLostError` if it should have some; True: look again."""
        if not (yield from self._is_kept(scope)):
            return False
        # A first message or a deletion may be on its way between the index and the keys.
        log_keys = scripts.log_keys(scope)
        for _ in range(5):
            yield Sleep(0.02)
            [keys] = yield from self._link.run(log_keys[0], ("EXISTS", *log_keys))
            if keys or not (yield from self._is_kept(scope)):
                return True
        raise LogLostError(
            f"{scope.key}: the whole log was evicted or deleted by something else. "
            "Restore a backup, or delete the scope to begin anew."
        )

    def _is_kept(self, scope: Scope) -> Steps[bool]:
        index = scripts.index_key(scope.namespace)
        [mark] = yield from self._link.run(index, ("HGET", index, scope.key))
        return bool(mark == b"kept")
