"""The store in Redis (6.2 and later, or Valkey), by core commands only.

Appending is one Lua script: it sees the whole log, so writers are in one order and nothing is
written twice or in part. Deleting uses the exact list of tensor names kept beside them: SCAN would
walk the keys of all tenants and, in a cluster, of all nodes. The index of a namespace is in another
slot and cannot change in the same step, so a scope is announced there *before* its first message.

All clients of a namespace should use one ``ttl``: tensors written without outlive a log with one.
Keys and scripts: `vist2_memory.store.redis_scripts`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from vist2_memory.errors import (
    ConflictError,
    LogLostError,
    StoreError,
    StoreFormatError,
    StoreUnavailableError,
    StoreURLError,
)
from vist2_memory.store import redis_scripts as scripts
from vist2_memory.store.base import (
    Deleted,
    Kind,
    Scope,
    ScopeInfo,
    Store,
    validated_after,
    validated_name,
)
from vist2_memory.store.records import differs, from_record, lost, moved_on, to_records
from vist2_memory.types import Message

BATCH_BYTES = 8 * 2**20
"""About how much is read or written in one round trip."""
CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 3.0
"""Seconds until a server that is silent counts as unavailable (``?socket_timeout=`` in the URL)."""

_ATTEMPTS = 20


class RedisStore(Store):
    """``client``: a synchronous `redis.Redis` that returns bytes; it is not closed with the store.

    `RedisStore.from_url` makes its own, with timeouts, and checks that the server answers.
    """

    def __init__(self, client: redis.Redis, *, ttl: int | None = None) -> None:
        super().__init__(ttl=ttl)
        if not isinstance(client, redis.Redis):
            raise TypeError(
                f"client is a {type(client).__module__}.{type(client).__qualname__}: this release "
                "takes a synchronous redis.Redis (no cluster or asyncio client)"
            )
        if client.get_encoder().decode_responses:
            raise ValueError(
                "client was made with decode_responses=True and would damage tensors, which are "
                "bytes: make it with decode_responses=False"
            )
        self._client = client
        self._owned = False
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, ttl: int | None = None) -> Self:
        """Connect to redis://, rediss:// or unix://; options as for `redis.Redis.from_url`."""
        try:
            client = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=ANSWER_TIMEOUT,
                # A lost connection is made again once; a silent server costs one timeout, not two.
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 1, (redis.ConnectionError,)),
                health_check_interval=30,
            )
            store = cls(client, ttl=ttl)
            store._owned = True
        except ValueError as error:
            if isinstance(error, StoreError) or "://" not in url or "ttl=" in str(error):
                raise
            # The reason may quote a password that was not percent-encoded: it is not passed on.
            raise StoreURLError(
                f"the {url.partition('://')[0]}:// URL of the store cannot be used: the form is "
                "redis://user:password@host:6379/0 (percent-encode the password), options as in "
                "redis.Redis.from_url, without decode_responses"
            ) from None
        try:
            store._pipe(("PING",))
        except TypeError as error:
            raise StoreURLError(f"the URL of the store has an unknown option: {error}") from None
        except StoreError:
            store.close()
            raise
        return store

    def append(
        self, scope: Scope, messages: Sequence[Message], *, expected: int | None = None
    ) -> int:
        arguments: list[bytes | int] = [-1 if expected is None else expected, self._ttl_ms]
        for record in to_records(messages):
            arguments += (record.id, record.digest, record.data)
        mark, nonce = ("ttl" if self.ttl else "kept"), secrets.token_hex(8)
        what, count, detail = self._append(scope, arguments, create=False)
        for _ in range(_ATTEMPTS):
            if what != b"absent":
                break
            if self._raise_if_lost(scope):
                what, count, detail = self._append(scope, arguments, create=False)
            elif not messages or expected:
                what, count, detail = (b"moved" if expected else b"ok"), 0, 0
            elif self._mark(scope, "announce", nonce=nonce) != b"kept":
                what, count, detail = self._append(scope, arguments, create=True)
                self._mark(scope, "confirm", mark, nonce)
                break
        else:
            raise ConflictError(f"{scope.key} is deleted and written by others all the time")
        if what == b"ok":
            if detail:
                self._mark(scope, "switch", mark)
            return int(count)
        if what == b"differs":
            raise ConflictError(differs(scope, detail))
        if what == b"moved":
            raise ConflictError(moved_on(scope, expected or 0, count))
        if what == b"version":
            raise StoreFormatError(_version(scope, detail))
        raise LogLostError(lost(scope, detail, count))

    def read(self, scope: Scope, after: int = 0) -> list[Message]:
        validated_after(after)
        count, entries = self._log(scope, f"{after + 1}-0")
        wanted = range(after + 1, count + 1)
        if [entry_id for entry_id, _ in entries] != [b"%d-0" % n for n in wanted]:
            raise LogLostError(lost(scope, count - len(wanted) + len(entries), count))
        # An entry of ours has one field, "m"; another's is no message either way.
        return [
            from_record(entry[1][1], scope, n) for n, entry in zip(wanted, entries, strict=True)
        ]

    def count(self, scope: Scope) -> int:
        return self._log(scope)[0]

    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        index = scripts.index_key(validated_name("namespace", namespace))
        [marks] = self._pipe(("HGETALL", index))
        marked = [(Scope.from_key(key.decode("ascii")), mark) for key, mark in marks.items()]
        marked = sorted((m for m in marked if m[0].kind == kind), key=lambda m: m[0].name)
        infos = []
        for start in range(0, len(marked), 1000):
            batch = marked[start : start + 1000]
            rows = self._pipe(
                *(
                    ("HMGET", scripts.log_keys(scope)[1], "count", "created", "updated")
                    for scope, _ in batch
                )
            )
            for (scope, mark), (count, created, updated) in zip(batch, rows, strict=True):
                if count is not None:
                    times = (int(created) / 1000, int(updated) / 1000)
                    infos.append(ScopeInfo(scope, int(count), *times))
                elif mark == b"kept":  # lost: listed, so that it can be looked into and deleted
                    infos.append(ScopeInfo(scope, 0, 0.0, 0.0))
                elif mark == b"ttl":
                    self._mark(scope, "remove", "ttl")
        return infos

    def delete(self, scope: Scope) -> Deleted:
        names_key = scripts.names_key(scope)
        marked = self._mark_deleting(scope)
        for _ in range(_ATTEMPTS):
            [members] = self._pipe(("SMEMBERS", names_key))
            names = sorted(name.decode("ascii") for name in members)
            tensors = [scripts.tensor_key(scope, name) for name in names]
            keys = [*scripts.log_keys(scope), names_key, *tensors]
            gone = self._script(scripts.DELETE, keys, names)
            if gone:
                break
        else:
            raise ConflictError(f"{scope.key} is written by others all the time: stop them first")
        self._mark(scope, *(("remove", "deleting") if marked else ("forget",)))
        messages, *flags = gone
        chunks = {name.split(":")[1] for name, was in zip(names, flags, strict=True) if was}
        return Deleted(messages, len(chunks), sum(flags))

    def close(self) -> None:
        if not self._closed and self._owned:
            self._client.close()
        self._closed = True

    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        keys = [scripts.tensor_key(scope, scripts.tensor_name(fingerprint, c)) for c in chunk_ids]
        values: list[bytes | None] = []
        batch = 16  # tensors of a scope are much alike in size: the first few tell how many fit
        while len(values) < len(keys):
            some = keys[len(values) : len(values) + batch]
            refresh = [("PEXPIRE", key, self._ttl_ms) for key in some] if self.ttl else []
            values += self._pipe(("MGET", *some), *refresh)[0]
            sizes = [len(value) for value in values if value is not None]
            fit = BATCH_BYTES * len(sizes) // sum(sizes) if any(sizes) else 2 * batch
            batch = max(1, min(1024, fit))
        if keys:
            self._touch(scope, tensors=True)
        return values

    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        names_key = scripts.names_key(scope)
        expiry = ("PX", self._ttl_ms) if self.ttl else ()
        for batch in _batches(items):
            named = [(scripts.tensor_name(fingerprint, chunk), data) for chunk, data in batch]
            # In one transaction: a tensor that no list names could never be deleted.
            self._pipe(
                ("EVAL", scripts.LIST_TENSORS, 1, names_key, self._ttl_ms, *(n for n, _ in named)),
                *(("SET", scripts.tensor_key(scope, name), data, *expiry) for name, data in named),
                transaction=True,
            )
        if items:
            self._touch(scope)

    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        if not chunk_ids:
            return 0
        names = [scripts.tensor_name(fingerprint, chunk) for chunk in chunk_ids]
        dropped, _ = self._pipe(  # in this order: a tensor that is there is always named
            ("UNLINK", *(scripts.tensor_key(scope, name) for name in names)),
            ("SREM", scripts.names_key(scope), *names),
        )
        return int(dropped)

    def server_version(self) -> str:
        """What the server says of its version; "unknown" where a provider forbids asking."""
        try:
            (found,) = self._pipe(("INFO", "server"))
        except StoreError:
            return "unknown"
        return str(found.get("redis_version", "unknown"))

    def describe(self) -> str:
        options = self._client.connection_pool.connection_kwargs
        database = options.get("db") or 0
        if options.get("path"):
            return f"unix://{quote(str(options['path']))}?db={database}"
        tls = issubclass(self._client.connection_pool.connection_class, redis.SSLConnection)
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        return f"{'rediss' if tls else 'redis'}://{host}:{port}/{database}"

    # ------------------------------------------------------------------------------ inside

    @property
    def _ttl_ms(self) -> int:
        return self.ttl * 1000 if self.ttl else 0

    def _append(self, scope: Scope, arguments: list[bytes | int], *, create: bool) -> Any:
        head = [scripts.LAYOUT_VERSION, int(create)]
        return self._script(scripts.APPEND, scripts.log_keys(scope), [*head, *arguments])

    def _log(self, scope: Scope, *first: str) -> tuple[int, list[Any]]:
        """The count of a log that is whole, and its entries from id ``first`` on, if given."""
        for _ in range(_ATTEMPTS):
            version, count, ttl, entries, known, answer = self._script(
                scripts.READ, scripts.log_keys(scope), first
            )
            if count is None and not entries and not known:
                if self._raise_if_lost(scope):
                    continue
                return 0, []
            if version is not None and version != b"%d" % scripts.LAYOUT_VERSION:
                raise StoreFormatError(_version(scope, version))
            if count is None or not int(count) == entries == known:
                raise LogLostError(lost(scope, entries, int(count or max(known, entries))))
            if ttl != b"0":
                self._touch(scope)
            return entries, answer
        raise ConflictError(f"{scope.key} is deleted and written by others all the time")

    def _raise_if_lost(self, scope: Scope) -> bool:
        """For a scope without keys: `LogLostError` if it should have some; True: look again."""
        [mark] = self._pipe(("HGET", scripts.index_key(scope.namespace), scope.key))
        if mark != b"kept":
            return False
        # A first message or a deletion may be on its way between the index and the keys.
        for _ in range(5):
            time.sleep(0.02)
            [keys] = self._pipe(("EXISTS", *scripts.log_keys(scope)))
            [mark] = self._pipe(("HGET", scripts.index_key(scope.namespace), scope.key))
            if keys or mark != b"kept":
                return True
        raise LogLostError(
            f"{scope.key}: the whole log was evicted or deleted by something else. "
            "Restore a backup, or delete the scope to begin anew."
        )

    def _mark(self, scope: Scope, action: str, mark: str = "", nonce: str = "") -> Any:
        index = scripts.index_key(scope.namespace)
        return self._script(scripts.MARK, [index], [scope.key, action, mark, nonce])

    def _mark_deleting(self, scope: Scope) -> bool:
        """False on a server that is full: it takes no mark, but must not keep one from deleting."""
        try:
            self._pipe(("HSET", scripts.index_key(scope.namespace), scope.key, "deleting"))
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, redis.exceptions.OutOfMemoryError):
                return False
            raise
        return True

    def _touch(self, scope: Scope, *, tensors: bool = False) -> None:
        if self.ttl:
            self._script(scripts.TOUCH, scripts.log_keys(scope), [self._ttl_ms])
            if tensors:
                self._script(scripts.LIST_TENSORS, [scripts.names_key(scope)], [self._ttl_ms])

    def _script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        call = (len(keys), *keys, *arguments)
        with self._translated():
            try:
                return self._client.execute_command("EVALSHA", digest, *call)
            except redis.exceptions.NoScriptError:
                return self._client.execute_command("EVAL", script, *call)

    def _pipe(self, *commands: tuple[Any, ...], transaction: bool = False) -> list[Any]:
        """The answers to several commands, sent in one round trip."""
        with self._translated(), self._client.pipeline(transaction=transaction) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed:
            raise StoreUnavailableError(f"{self.describe()} was closed: open it again")
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreUnavailableError(
                f"Redis at {self.describe()} cannot be reached: {error}"
            ) from error
        except redis.RedisError as error:
            if "WRONGTYPE" in str(error):
                raise StoreFormatError(
                    f"Redis at {self.describe()}: a key of ours holds something else"
                ) from error
            raise StoreUnavailableError(
                f"Redis at {self.describe()} refused: {str(error)[-200:]}"
            ) from error


def _batches(items: Mapping[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for chunk, data in items.items():
        if batch and size + len(data) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((chunk, data))
        size += len(data)
    if batch:
        yield batch


def _version(scope: Scope, version: bytes) -> str:
    return (
        f"{scope.key} has layout version {version.decode('ascii', 'replace')}; this release reads "
        f"{scripts.LAYOUT_VERSION}. Use the release that wrote it, or a newer one."
    )
