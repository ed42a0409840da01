"""What the store in Redis writes and reads, in which order, for threads and event loops alike.

Appending is one Lua script, and so is rewriting: it sees the whole log, so writers are in one order
and nothing is written twice or in part. Deleting uses the exact list of tensor names kept beside
them: SCAN would walk the keys of all tenants and, in a cluster, of all nodes. The index of a
namespace is in another slot and cannot change in the same step, so a scope is announced there
*before* its first message.

All clients of a namespace should use one ``ttl``: tensors written without outlive a log with one.

The methods are generators (`vist2_memory.store.redis.requests`). `RedisStore` and `AsyncRedisStore`
in `faces` run them.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from vist2_memory.errors import (
    ConflictError,
    StoreError,
)
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Scope,
    ScopeInfo,
    Snapshot,
    validated_after,
    validated_name,
    validated_rewrite,
)
from vist2_memory.store.deadline import deadline as within
from vist2_memory.store.records import moved_on, rewritten, to_records
from vist2_memory.store.redis import eviction, scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.log import Log, messages_of, refusal
from vist2_memory.store.redis.requests import Compute, Steps
from vist2_memory.store.redis.servers import Servers
from vist2_memory.types import Message

BATCH_BYTES = 8 * 2**20
"""About how much is read in one round trip."""
WRITE_BYTES = 2 * 2**20
"""About how much is written in one transaction, which the server holds until it is whole."""

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
        self._replicas = replicas
        self._fit: dict[str, int] = {}  # tensors of a fingerprint that one round trip reads
        self.link = self._link = Link(servers, deadline)
        self._index = Index(self._link, replicas)

    @_bounded
    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> Steps[int]:
        seen = (-1 if value is None else value for value in (expected, revision))
        arguments: list[bytes | int] = [*seen, self._ttl_ms]
        for record in to_records(messages):
            arguments += (record.id, record.digest, record.data)
        mark, nonce = ("ttl" if self.ttl else "kept"), secrets.token_hex(8)
        what, count, detail = yield from self._append(scope, arguments, create=False)
        for _ in range(_ATTEMPTS):
            if what != b"absent":
                break
            if (yield from self._index.raise_if_lost(scope)):
                what, count, detail = yield from self._append(scope, arguments, create=False)
            elif not messages or expected or revision:
                what, count, detail = (b"moved" if expected or revision else b"ok"), 0, 0
            elif (yield from self._index.mark(scope, "announce", nonce=nonce)) != b"kept":
                what, count, detail = yield from self._append(scope, arguments, create=True)
                yield from self._index.mark(scope, "confirm", mark, nonce)
                break
        else:
            raise ConflictError(f"{scope.key} is deleted and written by others all the time")
        if what != b"ok":
            raise refusal(scope, what, count, detail, expected=expected, revision=revision or 0)
        if detail:
            yield from self._index.mark(scope, "switch", mark)
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
        written = [part for r in to_records(messages) for part in (r.id, r.digest, r.data)]
        newest = (token or secrets.token_hex(16)).encode("utf-8")
        first = min(keep + 1, expected)
        log = yield from self._log(scope, f"{first}-0")
        gone: list[str] = []
        if log.token != newest:  # else it was done, and is only confirmed
            if log.length != expected:
                raise ConflictError(moved_on(scope, expected, log.length))
            gone = [message.id for message in messages_of(scope, first, log)]
            if log.revision != revision or gone[-1] != last:
                raise ConflictError(rewritten(scope, expected, revision, log.revision))
            gone = gone if keep < expected else []
        head = [scripts.LAYOUT_VERSION, int(self._replicas > 0), newest, revision, expected, keep]
        arguments = [*head, self._ttl_ms, len(gone), *gone, *written]
        what, count, detail = yield from self._link.script(
            scripts.REWRITE, scripts.log_keys(scope), arguments, replicas=self._replicas
        )
        if what != b"ok":
            raise refusal(scope, what, count, detail, expected=expected, revision=revision)
        if detail:
            yield from self._index.mark(scope, "switch", "ttl" if self.ttl else "kept")
        return int(count)

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
        marked = yield from self._index.scopes(namespace, kind)
        infos = []
        for start in range(0, len(marked), 1000):
            batch = marked[start : start + 1000]
            metas = [scripts.log_keys(scope)[1] for scope, _ in batch]
            rows = yield from self._link.gather(
                [(meta, ("HMGET", meta, "count", "created", "updated")) for meta in metas]
            )
            for (scope, mark), (count, created, updated) in zip(batch, rows, strict=True):
                if count is not None:
                    times = (int(created) / 1000, int(updated) / 1000)
                    infos += [ScopeInfo(scope, int(count), *times)] if int(count) else []
                elif mark == b"kept":  # lost: listed, so that it can be looked into and deleted
                    infos.append(ScopeInfo(scope, 0, 0.0, 0.0))
                elif mark == b"ttl":
                    yield from self._index.mark(scope, "remove", "ttl")
        return infos

    @_bounded
    def delete(self, scope: Scope) -> Steps[Deleted]:
        names_key = scripts.names_key(scope)
        marked = yield from self._index.mark_deleting(scope)
        for _ in range(_ATTEMPTS):
            [members] = yield from self._link.run(names_key, ("SMEMBERS", names_key))
            names = sorted(name.decode("ascii") for name in members)
            tensors = scripts.tensor_keys(scope, names)
            keys = [*scripts.log_keys(scope), names_key, *tensors]
            gone = yield from self._link.script(scripts.DELETE, keys, names)
            if gone:
                break
        else:
            raise ConflictError(f"{scope.key} is written by others all the time: stop them first")
        yield from self._index.mark(scope, *(("remove", "deleting") if marked else ("forget",)))
        messages, *flags = gone
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
            refresh = [("PEXPIRE", key, self._ttl_ms) for key in some] if self.ttl else []
            values += (yield from self._link.run(some[0], ("MGET", *some), *refresh))[0]
            sizes = [len(value) for value in values if value is not None]
            fit = BATCH_BYTES * len(sizes) // sum(sizes) if any(sizes) else 2 * batch
            batch = self._fit[fingerprint] = max(1, min(1024, fit))
        if keys:
            yield from self._touch(scope, tensors=True)
        return values

    @_bounded
    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> Steps[None]:
        names_key = scripts.names_key(scope)
        expiry = ("PX", self._ttl_ms) if self.ttl else ()
        for batch in _batches(items):
            names = scripts.tensor_names(fingerprint, (chunk for chunk, _ in batch))
            keys = scripts.tensor_keys(scope, names)
            # In one transaction: a tensor that no list names could never be deleted.
            yield from self._link.run(
                names_key,
                ("EVAL", scripts.LIST_TENSORS, 1, names_key, self._ttl_ms, *names),
                *(("SET", k, data, *expiry) for k, (_, data) in zip(keys, batch, strict=True)),
                transaction=True,
            )
        if items:
            yield from self._touch(scope)

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
    def touch(
        self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()
    ) -> Steps[None]:
        if not self.ttl:
            return
        keys = scripts.tensor_keys(scope, scripts.tensor_names(fingerprint, chunk_ids))
        for start in range(0, len(keys), 1024):
            some = keys[start : start + 1024]
            yield from self._link.run(some[0], *(("PEXPIRE", key, self._ttl_ms) for key in some))
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

    def _append(self, scope: Scope, arguments: list[bytes | int], *, create: bool) -> Steps[Any]:
        head = [scripts.LAYOUT_VERSION, int(create), int(self._replicas > 0)]
        keys = scripts.log_keys(scope)
        script, given = scripts.APPEND, [*head, *arguments]
        return (yield from self._link.script(script, keys, given, replicas=self._replicas))

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
                names_key = scripts.names_key(scope)
                yield from self._link.script(scripts.LIST_TENSORS, [names_key], [self._ttl_ms])


def _batches(items: Mapping[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for chunk, data in items.items():
        if batch and size + len(data) > WRITE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((chunk, data))
        size += len(data)
    if batch:
        yield batch
