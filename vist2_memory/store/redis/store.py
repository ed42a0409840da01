"""`RedisStore`: what is written and read, in which order.

Appending is one Lua script, and so is rewriting: it sees the whole log, so writers are in one order
and nothing is written twice or in part. Deleting uses the exact list of tensor names kept beside
them: SCAN would walk the keys of all tenants and, in a cluster, of all nodes. The index of a
namespace is in another slot and cannot change in the same step, so a scope is announced there
*before* its first message.

All clients of a namespace should use one ``ttl``: whoever appends last decides of a log, and its
tensors end with it.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, Self, TypeVar

import redis
from redis.cluster import RedisCluster

from vist2_memory.errors import (
    ConflictError,
    StoreError,
    StoreURLError,
)
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Quota,
    Scope,
    ScopeInfo,
    Snapshot,
    Store,
    StoreUsage,
    validated_after,
    validated_name,
    validated_rewrite,
)
from vist2_memory.store.deadline import deadline as within
from vist2_memory.store.quotas import Size, check_namespace, check_scope, limits_namespace, size_of
from vist2_memory.store.records import moved_on, rewritten, to_records
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.index import Index
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.log import Log, messages_of, refusal
from vist2_memory.store.redis.servers import Servers
from vist2_memory.store.redis.tensors import BATCH_BYTES, batches, listed
from vist2_memory.store.redis.urls import (
    FORMS,
    servers_of_client,
    servers_of_url,
    split_options,
)
from vist2_memory.store.redis.usage import Usage
from vist2_memory.store.redis.writing import Writing, replaced
from vist2_memory.types import Message

DEADLINE = 5.0
"""Seconds that a call may take as a whole (``?deadline=`` in the URL)."""

_ATTEMPTS = 20

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Method = Callable[Concatenate["RedisStore", _P], _R]


def _bounded(method: _Method[_P, _R]) -> _Method[_P, _R]:
    """All round trips of one call share one deadline."""

    @functools.wraps(method)
    def call(self: RedisStore, /, *args: _P.args, **options: _P.kwargs) -> _R:
        with within(self.deadline):
            return method(self, *args, **options)

    return call


class RedisStore(Store):
    """``client``: a synchronous `redis.Redis` (``Sentinel.master_for`` too) or `RedisCluster`.

    It says where and how to connect. The store makes connections of its own, which keep to
    ``deadline`` (seconds for a call as a whole), and closes only those. ``replicas``: how many must
    confirm a message before it counts as written; with 0 a fail-over may lose the newest ones.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster,
        *,
        ttl: int | None = None,
        deadline: float = DEADLINE,
        replicas: int = 0,
    ) -> None:
        if not isinstance(client, (redis.Redis, RedisCluster)):
            raise TypeError(
                f"client is a {type(client).__module__}.{type(client).__qualname__}: this release "
                "takes a synchronous redis.Redis or redis.cluster.RedisCluster (no asyncio client)"
            )
        self._set_up(servers_of_client(client, deadline), ttl, deadline, replicas)

    def _set_up(self, servers: Servers, ttl: int | None, deadline: float, replicas: int) -> None:
        super().__init__(ttl=ttl)
        if not deadline > 0:
            raise ValueError(f"deadline={deadline!r} is not allowed: seconds, more than 0")
        if replicas < 0:
            raise ValueError(f"replicas={replicas!r} is not allowed: how many confirm, 0 or more")
        self.deadline = deadline
        self._link = Link(servers, deadline)
        self._index = Index(self._link, replicas)
        self._usage = Usage(self._link, self._index)
        self._writing = Writing(self._link, self._index, replicas)

    @classmethod
    def from_url(cls, url: str, *, ttl: int | None = None) -> Self:
        """Connect as the URL says (forms: `vist2_memory.store.redis.urls`) and see who answers.

        Options of our own: ``deadline`` (seconds) and ``replicas``, as in the class.
        """
        store = cls.__new__(cls)
        try:
            place, options = split_options(url)
            deadline = float(options.get("deadline", DEADLINE))
            servers = servers_of_url(place, deadline)
            store._set_up(servers, ttl, deadline, int(options.get("replicas", 0)))
        except ValueError as error:
            if isinstance(error, StoreError) or str(error).startswith("ttl="):
                raise
            # The reason may quote a password that was not percent-encoded: it is not passed on.
            scheme = url.partition("://")[0]
            raise StoreURLError(
                f"the {scheme}:// URL of the store cannot be used: the form is {FORMS[scheme]} "
                "(percent-encode the password), options as in redis.Redis.from_url, without "
                "decode_responses, and deadline=SECONDS, replicas=NUMBER"
            ) from None
        try:
            store._link.check()
        except TypeError as error:
            raise StoreURLError(f"the URL of the store has an unknown option: {error}") from None
        except StoreError:
            store.close()
            raise
        return store

    @_bounded
    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        records = to_records(messages)
        quota = self.quota(scope.namespace)
        more = size_of(records)
        while True:
            with self._usage.reserved(scope, quota, more) as full:
                what, count, detail, *sizes = self._writing.append(
                    scope, records, expected, revision, _room(quota), full is not None, self._ttl_ms
                )
                if what == b"quota":
                    new = Size(detail, sizes[1])
                    check_scope(quota, scope, Size(count, sizes[0]), new)
                    check_namespace(quota, scope, full or Size(), new)
            if what == b"ok":
                break
            more = new  # some of the messages are there already, and there is room for the others
        if limits_namespace(quota) and full is None:
            self._usage.settle(scope, Size(count, sizes[0]))
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
    ) -> int:
        validated_rewrite(keep, expected, revision)
        records = to_records(messages)
        newest = (token or secrets.token_hex(16)).encode("utf-8")
        quota, more, gone = self.quota(scope.namespace), Size(), list[str]()
        log = self._log(scope, f"{min(keep + 1, expected)}-0")
        if log.token != newest:  # else it was done, and is only confirmed
            gone, freed = replaced(
                scope, log, keep, expected=expected, last=last, revision=revision
            )
            more = size_of(records) - freed
        with self._usage.reserved(scope, quota, more) as full:
            if full is not None:
                check_namespace(quota, scope, full, more)
            what, count, detail, *sizes = self._writing.rewrite(
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
        if limits_namespace(quota):
            self._usage.settle(scope, Size(count, sizes[0]))
        return int(count)

    @_bounded
    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        validated_after(after)
        log = self._log(scope, f"{after + 1}-0")
        return Snapshot(messages_of(scope, after + 1, log), log.revision)

    @_bounded
    def count(self, scope: Scope) -> int:
        return self._log(scope).length

    @_bounded
    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        validated_name("namespace", namespace)
        infos = []
        for scope, mark, row in self._index.listed(namespace, kind, "count", "created", "updated"):
            count, created, updated = row
            if count is not None:
                times = (int(created) / 1000, int(updated) / 1000)
                infos += [ScopeInfo(scope, int(count), *times)] if int(count) else []
            elif mark == b"kept":  # lost: listed, so that it can be looked into and deleted
                infos.append(ScopeInfo(scope, 0, 0.0, 0.0))
            elif mark == b"ttl":
                self._index.mark(scope, "remove", "ttl")
                self._usage.settle(scope, Size())
        return infos

    @_bounded
    def usage(self, namespace: str) -> StoreUsage:
        return self._usage.count(validated_name("namespace", namespace))

    @_bounded
    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        names_key = scripts.names_key(scope)
        if expected is not None or revision is not None:
            log = self._log(scope)
            self._check_seen(scope, expected, revision, log.length, log.revision)
        marked = self._index.mark_deleting(scope)
        for _ in range(_ATTEMPTS):
            [members] = self._link.run(names_key, ("SMEMBERS", names_key))
            names = sorted(name.decode("ascii") for name in members)
            tensors = [scripts.tensor_key(scope, name) for name in names]
            keys = [*scripts.log_keys(scope), names_key, *tensors]
            seen = (-1 if value is None else value for value in (expected, revision))
            given = [*seen, *names]
            gone = self._link.script(scripts.DELETE, keys, given)
            if gone:
                break
        else:
            raise ConflictError(f"{scope.key} is written by others all the time: stop them first")
        if not gone[0]:
            self._index.unmark_deleting(scope)
            self._check_seen(scope, expected, revision, *gone[1:])
            raise AssertionError("it is as it was seen")
        self._index.mark(scope, *(("remove", "deleting") if marked else ("forget",)))
        self._usage.settle(scope, Size())
        messages, *flags = gone[1:]
        chunks = {name.split(":")[1] for name, was in zip(names, flags, strict=True) if was}
        return Deleted(messages, len(chunks), sum(flags))

    def close(self) -> None:
        self._link.close()

    @_bounded
    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        keys = [scripts.tensor_key(scope, scripts.tensor_name(fingerprint, c)) for c in chunk_ids]
        values: list[bytes | None] = []
        batch = 16  # tensors of a scope are much alike in size: the first few tell how many fit
        while len(values) < len(keys):
            some = keys[len(values) : len(values) + batch]
            refresh = [("EVAL", scripts.REFRESH, len(some), *some, self._ttl_ms)] * bool(self.ttl)
            values += self._link.run(some[0], ("MGET", *some), *refresh)[0]
            sizes = [len(value) for value in values if value is not None]
            fit = BATCH_BYTES * len(sizes) // sum(sizes) if any(sizes) else 2 * batch
            batch = max(1, min(1024, fit))
        if keys:
            self._touch(scope, tensors=True)
        return values

    @_bounded
    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        if items:
            self._touch(scope)  # first: what is written ends with the log
        names_key, meta = scripts.names_key(scope), scripts.log_keys(scope)[1]
        for batch in batches(items):
            names = [scripts.tensor_name(fingerprint, chunk) for chunk, _ in batch]
            keys = [scripts.tensor_key(scope, name) for name in names]
            end = (scripts.END_TENSORS, 1 + len(keys), meta, *keys, self._ttl_ms)
            # In one transaction: a tensor that no list names could never be deleted.
            self._link.run(
                names_key,
                ("EVAL", scripts.LIST_TENSORS, 2, names_key, meta, self._ttl_ms, *names),
                *(("SET", key, data) for key, (_, data) in zip(keys, batch, strict=True)),
                ("EVAL", *end),
                transaction=True,
            )

    @_bounded
    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        if not chunk_ids:
            return 0
        names = [scripts.tensor_name(fingerprint, chunk) for chunk in chunk_ids]
        # In this order, and not in one round trip: a tensor that is there is always named.
        keys = [scripts.tensor_key(scope, name) for name in names]
        [dropped] = self._link.run(keys[0], ("UNLINK", *keys))
        names_key = scripts.names_key(scope)
        self._link.run(names_key, ("SREM", names_key, *names))
        return int(dropped)

    @_bounded
    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        return listed(self._link, scope)

    def server_version(self) -> str:
        """What the server says of its version; "unknown" where a provider forbids asking."""
        try:
            [found] = self._link.run("", ("INFO", "server"))
        except StoreError:
            return "unknown"
        return str(found.get("redis_version", "unknown"))

    def describe(self) -> str:
        return self._link.describe()

    # ------------------------------------------------------------------------------ inside

    @property
    def _ttl_ms(self) -> int:
        return self.ttl * 1000 if self.ttl else 0

    def _check_seen(
        self, scope: Scope, expected: int | None, revision: int | None, count: int, found: int
    ) -> None:
        if expected is not None and expected != count:
            raise ConflictError(moved_on(scope, expected, count))
        if revision is not None and revision != found:
            raise ConflictError(rewritten(scope, count, revision, found))

    def _log(self, scope: Scope, *first: str) -> Log:
        """A log that is whole, with its entries from id ``first`` on, if given."""
        for _ in range(_ATTEMPTS):
            version, count, ttl, found, known, entries, revision, token = self._link.script(
                scripts.READ, scripts.log_keys(scope), first
            )
            if count is None and not found and not known:
                if self._index.raise_if_lost(scope):
                    continue
                return Log(0, [])
            if version is not None and version not in scripts.READABLE:
                raise refusal(scope, b"version", 0, version)
            if count is None or not int(count) == found == known:
                raise refusal(scope, b"lost", int(count or max(known, found)), found)
            if ttl != b"0":
                self._touch(scope)
            return Log(found, entries, int(revision or 0), token)
        raise ConflictError(f"{scope.key} is deleted and written by others all the time")

    def _touch(self, scope: Scope, *, tensors: bool = False) -> None:
        if self.ttl:
            self._link.script(scripts.TOUCH, scripts.log_keys(scope), [self._ttl_ms])
            if tensors:
                keys = [scripts.names_key(scope), scripts.log_keys(scope)[1]]
                self._link.script(scripts.LIST_TENSORS, keys, [self._ttl_ms])


def _room(quota: Quota | None) -> tuple[int, int]:
    """Messages and bytes that a scope may have; -1: any."""
    limits = quota or Quota()
    of_scope = (limits.scope_messages, limits.scope_bytes)
    messages, held = (-1 if limit is None else limit for limit in of_scope)
    return messages, held
