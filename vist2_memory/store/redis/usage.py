"""What the scopes of a namespace hold together, where a quota limits it.

The counts lie in another slot than the logs, so they cannot change in one step: what is to be
appended is reserved first, and replaced by what the log then holds. A writer that dies in between
leaves its reservation, a scope that expires leaves its count; so nothing is refused before all was
counted afresh from the logs. What is kept is what each scope holds, never what was added, so the
next append to a scope puts right what is wrong with its count.
"""

from __future__ import annotations

from collections.abc import Callable

from vist2_memory.errors import StoreUnavailableError, Vist2Error
from vist2_memory.store.base import Quota, Scope, StoreUsage
from vist2_memory.store.quotas import Size, limits_namespace
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.requests import Steps, T


class Usage:
    """Of all namespaces on these servers."""

    def __init__(self, link: Link, index: Index) -> None:
        self._link, self._index = link, index
        self._counted: set[str] = set()

    def reserve(self, scope: Scope, quota: Quota | None, more: Size) -> Steps[Size | None]:
        """Reserve ``more`` for the scope; what the namespace holds, if there is no room for it."""
        if not limits_namespace(quota) or not more.grows:
            return None
        assert quota is not None
        if scope.namespace not in self._counted:
            yield from self.count(scope.namespace)  # clients without a quota count nothing
            self._counted.add(scope.namespace)
        limits = (_or_any(quota.messages), _or_any(quota.bytes))
        done, _ = yield from self._run("reserve", scope, more, limits)
        if not done:
            yield from self.count(scope.namespace)
            done, held = yield from self._run("reserve", scope, more, limits)
        return None if done else held

    def reserved(
        self,
        scope: Scope,
        quota: Quota | None,
        more: Size,
        write: Callable[[Size | None], Steps[T]],
    ) -> Steps[T]:
        """What ``write`` returns, given what `reserve` did; taken back where it wrote nothing."""
        full = yield from self.reserve(scope, quota, more)
        try:
            return (yield from write(full))
        except StoreUnavailableError:
            raise  # it may have been written: the reservation stays until all is counted
        except Vist2Error:
            if limits_namespace(quota) and more.grows and full is None:
                yield from self._run("add", scope, Size() - more)
            raise

    def settle(self, scope: Scope, size: Size) -> Steps[None]:
        """The scope holds ``size``."""
        yield from self._run("set", scope, size)

    def count(self, namespace: str) -> Steps[StoreUsage]:
        """What the logs of a namespace hold; its counts are put right."""
        sizes: dict[str, Size] = {}
        scopes = []
        for kind in ("session", "collection"):
            before = len(sizes)
            listed = yield from self._index.listed(namespace, kind, "count", "sized")
            for scope, _, (count, sized) in listed:
                if count is not None and int(count):
                    sizes[scope.key] = yield from self._size(scope, int(count), sized)
            scopes.append(len(sizes) - before)
        key = scripts.usage_key(namespace)
        [known] = yield from self._link.run(key, ("HKEYS", key))
        fields = (field.decode("ascii") for field in known)
        gone = {field: Size() for field in fields if "/" in field and field not in sizes}
        entries = [*sizes.items(), *gone.items()]
        for start in range(0, len(entries), 1000):
            given = [
                value
                for field, size in entries[start : start + 1000]
                for value in (field, size.messages, size.bytes)
            ]
            yield from self._link.script(scripts.USAGE, [key], ["set", -1, -1, *given])
        total = sum(sizes.values(), Size())
        return StoreUsage(total.messages, total.bytes, *scopes)

    def _size(self, scope: Scope, count: int, sized: bytes | None) -> Steps[Size]:
        known, _, size = (sized or b"").partition(b" ")
        if known == b"%d" % count:
            return Size(count, int(size))
        held = yield from self._link.script(scripts.SIZE, scripts.log_keys(scope)[:2], [])
        return Size(count, held)

    def _run(
        self, action: str, scope: Scope, size: Size, limits: tuple[int, int] = (-1, -1)
    ) -> Steps[tuple[bool, Size]]:
        keys = [scripts.usage_key(scope.namespace)]
        given = [action, *limits, scope.key, size.messages, size.bytes]
        done, messages, held = yield from self._link.script(scripts.USAGE, keys, given)
        return bool(done), Size(messages, held)


def _or_any(limit: int | None) -> int:
    return -1 if limit is None else limit
