"""What the store in Redis writes and reads, in which order, for threads and event loops alike.

Appending is one Lua script, and so is rewriting: it sees the whole log, so writers are in one order
and nothing is written twice or in part. Deleting uses the exact list of tensor names kept beside
them: SCAN would walk the keys of all tenants and, in a cluster, of all nodes. The index of a
namespace is in another slot and cannot change in the same step, so a scope is announced there
*before* its first message.

All clients of a namespace should use one ``ttl``: whoever appends last decides of a log, and its
tensors end with it.

The methods are generators (`vist2_memory.store.redis.requests`). `RedisStore` and `AsyncRedisStore`
in `faces` run them.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from vist2_memory.errors import (
    ConflictError,
    StoreError,
)
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    StoreUsage,
    validated_after,
    validated_name,
    validated_rewrite,
)
from vist2_memory.store.deadline import deadline as within
from vist2_memory.store.quotas import Size, check_namespace, check_scope, limits_namespace, size_of
from vist2_memory.store.records import moved_on, rewritten, to_records
from vist2_memory.store.redis import eviction, scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.log import Log, messages_of, refusal
from vist2_memory.store.redis.requests import Compute, Steps
from vist2_memory.store.redis.servers import Servers
from vist2_memory.store.redis.tensors import BATCH_BYTES, batches, listed, refresh
from vist2_memory.store.redis.usage import Usage
from vist2_memory.store.redis.writing import Writing, replaced
from vist2_memory.types import Message

_ATTEMPTS = 20

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Method = Callable[Concatenate["RedisLogic", _P], Steps[_R]]


def _bounded(method: _Method[_P, _R]) -> _Method[_P, _R]:
    """All round trips of one call share one deadline."""

    @functools.wraps(method)
    def call(self: RedisLogic, /, *args: _P.args, **options: _P.kwargs) -> Steps[_R]:
        with within(self.deadline):
            return (yield from method(self, *args, **options))

    return call


class RedisLogic:
    """What `vist2_memory.store.base.Store` says of each method holds for the one of that name.

    ``ttl``, ``deadline`` and ``replicas`` are those of `RedisStore`.
    """

    def __init__(self, servers: Servers, ttl: int | None, deadline: float, replicas: int) -> None:
        if not deadline > 0:
            raise ValueError(f"deadline={deadline!r} is not allowed: seconds, more than 0")
        if replicas < 0:
            raise ValueError(f"replicas={replicas!r} is not allowed: how many confirm, 0 or more")
        self.servers = servers
        self.ttl = ttl
        self.deadline = deadline
        self._fit: dict[str, int] = {}  # tensors of a fingerprint that one round trip reads
        self.quotas: dict[str, Quota] = {}  # of each namespace, for both faces
        self.link = self._link = Link(servers, deadline)
        self._index = Index(self._link, replicas)
        self._usage = Usage(self._link, self._index)
        self._writing = Writing(self._link, self._index, replicas)

    @_bounded
    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> Steps[int]:
        records = to_records(messages)
        quota = self.quotas.get(scope.namespace)
        more = size_of(records)

        def write(full: Size | None) -> Steps[tuple[Size | None, Any]]:
            answer = yield from self._writing.append(
                scope, records, expected, revision, _room(quota), full is not None, self._ttl_ms
            )
            what, count, detail, *sizes = answer
            if what == b"quota":
                new = Size(detail, sizes[1])
                check_scope(quota, scope, Size(count, sizes[0]), new)
                check_namespace(quota, scope, full or Size(), new)
            return full, answer

        while True:
            full, answer = yield from self._usage.reserved(scope, quota, more, write)
            what, count, detail, *sizes = answer
            if what == b"ok":
                break
            more = Size(detail, sizes[1])  # some are there already; there is room for the others
        if limits_namespace(quota) and full is None:
            yield from self._usage.settle(scope, Size(count, sizes[0]))
        return int(count)

    @_bounded
    def rewrite(
        self,
        scope: Scope,
        keep: int,
        messages: Sequence[Message],
        *,
        expected: int,
        last: str,
        revision: int,
        token: str = "",
    ) -> Steps[int]:
        validated_rewrite(keep, expected, revision)
        records = to_records(messages)
        newest = (token or secrets.token_hex(16)).encode("utf-8")
        quota, more, gone = self.quotas.get(scope.namespace), Size(), list[str]()
        log = yield from self._log(scope, f"{min(keep + 1, expected)}-0")
        if log.token != newest:  # else it was done, and is only confirmed
            gone, freed = replaced(
                scope, log, keep, expected=expected, last=last, revision=revision
            )
            more = size_of(records) - freed

        def write(full: Size | None) -> Steps[tuple[int, Size]]:
            if full is not None:
                check_namespace(quota, scope, full, more)
            what, count, detail, *sizes = yield from self._writing.rewrite(
                scope,
                keep,
                records,
                gone=gone,
                expected=expected,
                revision=revision,
                token=newest,
                room=_room(quota),
                ttl_ms=self._ttl_ms,
            )
            if what == b"quota":
                check_scope(quota, scope, Size(count, sizes[0]), Size(detail, sizes[1]))
            return int(count), Size(count, sizes[0])

        count, size = yield from self._usage.reserved(scope, quota, more, write)
        if limits_namespace(quota):
            yield from self._usage.settle(scope, size)
        return count

    @_bounded
    def snapshot(self, scope: Scope, after: int = 0) -> Steps[Snapshot]:
        validated_after(after)
        log = yield from self._log(scope, f"{after + 1}-0")
        messages = yield Compute(lambda: messages_of(scope, after + 1, log), len(log.entries))
        return Snapshot(messages, log.revision)

    @_bounded
    def count(self, scope: Scope) -> Steps[int]:
        return (yield from self._log(scope)).length

    @_bounded
    def scopes(self, namespace: str, kind: Kind) -> Steps[list[ScopeInfo]]:
        validated_name("namespace", namespace)
        infos = []
        found = yield from self._index.listed(namespace, kind, "count", "created", "updated")
        for scope, mark, (count, created, updated) in found:
            if count is not None:
                times = (int(created) / 1000, int(updated) / 1000)
                infos += [ScopeInfo(scope, int(count), *times)] if int(count) else []
            elif mark == b"kept":  # lost: listed, so that it can be looked into and deleted
                infos.append(ScopeInfo(scope, 0, 0.0, 0.0))
            elif mark == b"ttl":
                yield from self._index.mark(scope, "remove", "ttl")
                yield from self._usage.settle(scope, Size())
        return infos

    @_bounded
    def usage(self, namespace: str) -> Steps[StoreUsage]:
        return (yield from self._usage.count(validated_name("namespace", namespace)))

    @_bounded
    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Steps[Deleted]:
        names_key = scripts.names_key(scope)
        if expected is not None or revision is not None:
            log = yield from self._log(scope)
            _check_seen(scope, expected, revision, log.length, log.revision)
        seen = [-1 if value is None else value for value in (expected, revision)]
        marked = yield from self._index.mark_deleting(scope)
        for _ in range(_ATTEMPTS):
            [members] = yield from self._link.run(names_key, ("SMEMBERS", names_key))
            names = sorted(name.decode("ascii") for name in members)
            tensors = scripts.tensor_keys(scope, names)
            keys = [*scripts.log_keys(scope), names_key, *tensors]
            gone = yield from self._link.script(scripts.DELETE, keys, [*seen, *names])
            if gone:
                break
        else:
            raise ConflictError(f"{scope.key} is written by others all the time: stop them first")
        if not gone[0]:
            yield from self._index.unmark_deleting(scope)
            _check_seen(scope, expected, revision, *gone[1:])
            raise AssertionError("it is as it was seen")
        yield from self._index.mark(scope, *(("remove", "deleting") if marked else ("forget",)))
        yield from self._usage.settle(scope, Size())
        messages, *flags = gone[1:]
        tensors = [key for key, was in zip(tensors, flags, strict=True) if was]
        unlisted = yield from eviction.unlisted(self._link, scope, tensors)
        tensors += yield from self._unlink(unlisted)
        return Deleted(messages, len({key.rpartition(":")[2] for key in tensors}), len(tensors))

    @_bounded
    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> Steps[list[bytes | None]]:
        keys = scripts.tensor_keys(scope, scripts.tensor_names(fingerprint, chunk_ids))
        values: list[bytes | None] = []
        # Tensors of a model are much alike in size: the first few tell how many fit.
        batch = self._fit.get(fingerprint, 16)
        while len(values) < len(keys):
            some = keys[len(values) : len(values) + batch]
            end = [refresh(some, self._ttl_ms)] if self.ttl else []
            values += (yield from self._link.run(some[0], ("MGET", *some), *end))[0]
            sizes = [len(value) for value in values if value is not None]
            fit = BATCH_BYTES * len(sizes) // sum(sizes) if any(sizes) else 2 * batch
            batch = self._fit[fingerprint] = max(1, min(1024, fit))
        if keys:
            yield from self._touch(scope, tensors=True)
        return values

    @_bounded
    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> Steps[None]:
        if items:
            yield from self._touch(scope)  # first: what is written ends with the log
        names_key, meta = scripts.names_key(scope), scripts.log_keys(scope)[1]
        for batch in batches(items):
            names = scripts.tensor_names(fingerprint, (chunk for chunk, _ in batch))
            keys = scripts.tensor_keys(scope, names)
            end = (scripts.END_TENSORS, 1 + len(keys), meta, *keys, self._ttl_ms)
            # In one transaction: a tensor that no list names could never be deleted.
            yield from self._link.run(
                names_key,
                ("EVAL", scripts.LIST_TENSORS, 2, names_key, meta, self._ttl_ms, *names),
                *(("SET", key, data) for key, (_, data) in zip(keys, batch, strict=True)),
                ("EVAL", *end),
                transaction=True,
            )

    @_bounded
    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> Steps[int]:
        if not chunk_ids:
            return 0
        names = scripts.tensor_names(fingerprint, chunk_ids)
        # In this order, and not in one round trip: a tensor that is there is always named.
        keys = scripts.tensor_keys(scope, names)
        [dropped] = yield from self._link.run(keys[0], ("UNLINK", *keys))
        names_key = scripts.names_key(scope)
        yield from self._link.run(names_key, ("SREM", names_key, *names))
        return int(dropped)

    @_bounded
    def tensor_ids(self, scope: Scope) -> Steps[dict[str, list[str]]]:
        return (yield from listed(self._link, scope))

    @_bounded
    def touch(
        self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()
    ) -> Steps[None]:
        if not self.ttl:
            return
        keys = scripts.tensor_keys(scope, scripts.tensor_names(fingerprint, chunk_ids))
        for start in range(0, len(keys), 1024):
            some = keys[start : start + 1024]
            yield from self._link.run(some[0], refresh(some, self._ttl_ms))
        yield from self._touch(scope, tensors=bool(keys))

    @_bounded
    def eviction(self) -> Steps[str | None]:
        return (yield from eviction.risk(self._link, expires=bool(self.ttl)))

    def server_version(self) -> Steps[str]:
        """What the server says of its version; "unknown" where a provider forbids asking."""
        try:
            [found] = yield from self._link.run("", ("INFO", "server"))
        except StoreError:
            return "unknown"
        return str(found.get("redis_version", "unknown"))

    # ------------------------------------------------------------------------------ inside

    @property
    def _ttl_ms(self) -> int:
        return self.ttl * 1000 if self.ttl else 0

    def _unlink(self, keys: Sequence[str]) -> Steps[list[str]]:
        """Those of ``keys``, all of one scope, that were there."""
        if not keys:
            return []
        gone = yield from self._link.run(keys[0], *(("UNLINK", key) for key in keys))
        return [key for key, was in zip(keys, gone, strict=True) if was]

    def _log(self, scope: Scope, *first: str) -> Steps[Log]:
        """A log that is whole, with its entries from id ``first`` on, if given."""
        for _ in range(_ATTEMPTS):
            answer = yield from self._link.script(scripts.READ, scripts.log_keys(scope), first)
            version, count, ttl, found, known, entries, revision, token = answer
            if count is None and not found and not known:
                if (yield from self._index.raise_if_lost(scope)):
                    continue
                return Log(0, [])
            if version is not None and version not in scripts.READABLE:
                raise refusal(scope, b"version", 0, version)
            if count is None or not int(count) == found == known:
                raise refusal(scope, b"lost", int(count or max(known, found)), found)
            if ttl != b"0":
                yield from self._touch(scope)
            return Log(found, entries, int(revision or 0), token)
        raise ConflictError(f"{scope.key} is deleted and written by others all the time")

    def _touch(self, scope: Scope, *, tensors: bool = False) -> Steps[None]:
        if self.ttl:
            yield from self._link.script(scripts.TOUCH, scripts.log_keys(scope), [self._ttl_ms])
            if tensors:
                keys = [scripts.names_key(scope), scripts.log_keys(scope)[1]]
                yield from self._link.script(scripts.LIST_TENSORS, keys, [self._ttl_ms])


def _check_seen(
    scope: Scope, expected: int | None, revision: int | None, count: int, found: int
) -> None:
    if expected is not None and expected != count:
        raise ConflictError(moved_on(scope, expected, count))
    if revision is not None and revision != found:
        raise ConflictError(rewritten(scope, count, revision, found))


def _room(quota: Quota | None) -> tuple[int, int]:
    """Messages and bytes that a scope may have; -1: any."""
    limits = quota or Quota()
    of_scope = (limits.scope_messages, limits.scope_bytes)
    messages, held = (-1 if limit is None else limit for limit in of_scope)
    return messages, held
