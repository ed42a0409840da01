"""What a store is: a log of messages that is the truth, and a cache of tensors that may be lost.

A store moves bytes. It knows nothing of models, sketches, or of what a tensor means; the codec
beside it does. All of one session or collection lies under one `Scope`, is found under its key, and
is deleted with it.

Time to live: whoever appends to a scope decides whether it expires. With a ``ttl`` it ends that
many seconds after its last use, and reading it through a store with a ``ttl`` counts as use;
appended to without one, it is kept. A scope that expired is an empty scope, not a lost log.

Quota: `Store.limit` says what a namespace and each scope in it may hold. It is kept by what appends
through this store, so all clients of a namespace should set the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, get_args
from urllib.parse import quote, unquote

from vist2_memory.errors import InvalidScopeError
from vist2_memory.types import Message

if TYPE_CHECKING:
    from vist2_memory.store.asynchronous import AsyncStore

Kind: TypeAlias = Literal["session", "collection"]
KINDS: tuple[str, ...] = get_args(Kind)

MAX_NAME_BYTES = 1024
"""How long a namespace or a name may be, in bytes of UTF-8."""


def quoted(part: str) -> str:
    """``part`` in the characters A-Z a-z 0-9 . _ - and %, reversible, no two parts alike."""
    if part.isascii() and part.isalnum():
        return part
    return quote(part, safe="", encoding="utf-8", errors="strict").replace("~", "%7E")


def validated_name(what: str, value: str) -> str:
    """``value``, if it may be part of a key; raises `InvalidScopeError` otherwise."""
    if not isinstance(value, str):
        raise InvalidScopeError(f"{what} must be a string, not {type(value).__name__}")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidScopeError(
            f"{what} {value[:40]!r} is not valid Unicode text: lone surrogate at {error.start}"
        ) from None
    if not 1 <= size <= MAX_NAME_BYTES:
        found = f"{size} bytes" if size else "empty"
        raise InvalidScopeError(
            f"{what} is {found}: 1 to {MAX_NAME_BYTES} bytes of UTF-8 are allowed"
        )
    return value


def validated_ttl(ttl: int | None) -> int | None:
    """``ttl``, if a scope can be kept for so many seconds; raises `ValueError` otherwise."""
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or ttl < 1):
        raise ValueError(f"ttl={ttl!r} is not allowed: whole seconds, at least 1, or None")
    return ttl


def validated_after(after: int) -> int:
    """``after``, if it can be a number of messages to leave out; raises `ValueError` otherwise."""
    if after < 0:
        raise ValueError(f"after={after} is not allowed: how many messages to leave out, 0 or more")
    return after


def validated_rewrite(keep: int, expected: int, revision: int) -> None:
    """Raises `ValueError` unless ``keep`` of ``expected`` messages can be kept."""
    if expected < 1 or not 0 <= keep <= expected:
        raise ValueError(
            f"keep={keep} of expected={expected} messages is not allowed: a rewrite keeps 0 to all "
            "of a log that holds 1 or more"
        )
    if revision < 0:
        raise ValueError(f"revision={revision} is not allowed: the one that was read, 0 or more")


@dataclass(frozen=True, slots=True)
class Scope:
    """One session or collection of one namespace (tenant). Names: any text, 1 to 1024 bytes."""

    namespace: str
    kind: Kind
    name: str

    def __post_init__(self) -> None:
        validated_name("namespace", self.namespace)
        if self.kind not in KINDS:
            raise InvalidScopeError(f"kind={self.kind!r} is not allowed: one of {', '.join(KINDS)}")
        validated_name(f"{self.kind} name", self.name)

    @property
    def key(self) -> str:
        """``namespace/kind/name`` in printable ASCII; no two scopes have the same."""
        return f"{quoted(self.namespace)}/{self.kind}/{quoted(self.name)}"

    @classmethod
    def from_key(cls, key: str) -> Scope:
        """The scope that has this key."""
        parts = key.split("/")
        if len(parts) == 3 and parts[1] in KINDS:
            kind: Kind = "session" if parts[1] == "session" else "collection"
            scope = cls(unquote(parts[0]), kind, unquote(parts[2]))
            if scope.key == key:
                return scope
        raise InvalidScopeError(f"{key[:80]!r} is not the key of a scope")


@dataclass(frozen=True, slots=True)
class ScopeInfo:
    """A scope that holds messages; ``created`` and ``updated`` are seconds since the epoch."""

    scope: Scope
    messages: int
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What a namespace may hold, and each session or collection in it; None: any amount.

    Counted are the messages and documents, and their bytes as they are stored, payloads and all.
    Tensors are a cache, and not counted.
    """

    messages: int | None = None
    """Messages and documents of the namespace."""
    bytes: int | None = None
    """Bytes of them."""
    scope_messages: int | None = None
    """Messages of one session, or documents of one collection."""
    scope_bytes: int | None = None
    """Bytes of them."""

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(
                    f"{option.name}={value!r} is not allowed: a whole number, 0 or more, or None"
                )


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a namespace holds; ``bytes``: of messages and documents, as they are stored."""

    messages: int = 0
    bytes: int = 0
    sessions: int = 0
    collections: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A log at one moment: the ``messages`` asked for, and how often it was rewritten."""

    messages: list[Message]
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion took away. ``chunks``: chunks with a tensor; ``tensors``: of any model.

    ``outbox``: answers that were kept on this machine for it.
    """

    messages: int = 0
    chunks: int = 0
    tensors: int = 0
    outbox: int = 0


class Refused(bytes):
    """In the place of stored bytes that a store read and does not give out: a miss with a reason.

    It is empty, so whoever does not know it takes it for damaged.
    """

    reason: str

    def __new__(cls, reason: str) -> Self:
        """``reason`` says what was wrong, for people."""
        made = super().__new__(cls)
        made.reason = reason
        return made


class HiddenName(str):
    """In the place of a chunk id: what a tensor is called in a store that hides which chunk it has.

    Only `TokenStore.drop_many` takes it.
    """


class MemoryStore(ABC):
    """The log of messages: ordered, verbatim. Every method may raise `StoreError`.

    A log grows at its end and changes otherwise only by `rewrite`, which raises its revision: two
    reads of one revision differ in what was appended between them, and in nothing else.
    """

    @abstractmethod
    def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        *,
        expected: int | None = None,
        revision: int | None = None,
    ) -> int:
        """Write all of ``messages`` or none, and return how many the log holds then.

        A message whose id is there already is skipped, so a retry doubles nothing; what was written
        first stays, its time and cuts too. ``expected`` is how many messages the caller has seen,
        ``revision`` the revision at which it saw them; None: whatever there is.

        Raises `ConflictError` if an id is there with another role, turn, text or payload, or if the
        log holds more or fewer than ``expected`` or is of another ``revision`` (unless all ids are
        there already: a retry); `InvalidMessageError` for a message without id or one that cannot
        be written down; `LogLostError` if the log is damaged; `QuotaExceededError` if there is no
        room for all.
        """

    @abstractmethod
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
        """Put ``messages`` in place of all but the first ``keep``, in one step or not at all.

        ``expected`` (at least 1), ``last`` and ``revision`` are what the caller has seen: how many
        messages, the id of the last of them, at which revision. Returns how many messages the log
        holds then; its revision is one higher. ``token`` names this rewrite: tried again under the
        same token, while it is the newest rewrite, it is not done twice. Tensors are left alone.

        Raises `ConflictError` if the log is no longer as it was seen; `InvalidMessageError` for a
        message that cannot be written down or whose id is among those kept; `LogLostError` if the
        log is damaged; `QuotaExceededError` if the log grows and there is no room for that.
        Nothing is changed then.
        """

    @abstractmethod
    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        """The messages in order, without the first ``after``, and the revision that they are of.

        Raises `LogLostError` if any message is missing.
        """

    def read(self, scope: Scope, after: int = 0) -> list[Message]:
        """The messages of :meth:`snapshot`."""
        return self.snapshot(scope, after).messages

    @abstractmethod
    def count(self, scope: Scope) -> int:
        """How many messages the log holds; 0 for a scope that is not there."""

    @abstractmethod
    def scopes(self, namespace: str, kind: Kind) -> list[ScopeInfo]:
        """All scopes of a kind that hold messages, sorted by name."""

    @abstractmethod
    def usage(self, namespace: str) -> StoreUsage:
        """What the namespace holds, counted now; no use of its scopes, so none lives longer."""

    @abstractmethod
    def delete(
        self, scope: Scope, *, expected: int | None = None, revision: int | None = None
    ) -> Deleted:
        """Delete the log and the tensors of all models; nothing of the scope is left.

        ``expected`` is how many messages the caller has seen, ``revision`` at which revision:
        `ConflictError` if the log is not as it was seen, and nothing is deleted then.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back connections; a second call does nothing."""


class TokenStore(ABC):
    """The cache of tensors, as bytes. ``fingerprint`` names the model, ``chunk_ids`` the chunks."""

    @abstractmethod
    def get_many(
        self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]
    ) -> list[bytes | None]:
        """The bytes of each chunk, in the order asked for; None where there are none."""

    @abstractmethod
    def put_many(self, scope: Scope, fingerprint: str, items: Mapping[str, bytes]) -> None:
        """Store the bytes of each chunk id, over what was there."""

    @abstractmethod
    def drop_many(self, scope: Scope, fingerprint: str, chunk_ids: Sequence[str]) -> int:
        """Delete these and return how many were there."""

    @abstractmethod
    def tensor_ids(self, scope: Scope) -> dict[str, list[str]]:
        """The chunk ids of all tensors that are there, sorted, by fingerprint.

        A store that hides them gives a `HiddenName` for each instead.
        """

    def listed_as(self, scope: Scope, chunk_id: str) -> tuple[str, ...]:
        """How `tensor_ids` may list the tensor of a chunk."""
        return (chunk_id,)


class Limited:
    """What is written through a store keeps to the quotas that were set there."""

    _quotas: dict[str, Quota]

    def limit(self, namespace: str, quota: Quota | None) -> None:
        """What is appended to ``namespace`` through this store keeps to ``quota`` from now on."""
        validated_name("namespace", namespace)
        if quota is None:
            self._quotas.pop(namespace, None)
        else:
            self._quotas[namespace] = quota

    def quota(self, namespace: str) -> Quota | None:
        """What `limit` set."""
        return self._quotas.get(namespace)


class Store(MemoryStore, TokenStore, Limited):
    """Log and cache in one place. ``ttl``: seconds after its last use that a scope is kept."""

    def __init__(self, *, ttl: int | None = None) -> None:
        self.ttl = validated_ttl(ttl)
        self._quotas = {}

    def asynchronous(self) -> AsyncStore | None:
        """The same store for event loops, without threads and closed with this one, if it can."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """The store's URL, without user and password."""

    @property
    def identity(self) -> str:
        """What tells this store from others: the same for all that open it by the same URL."""
        return self.describe()

    def seal(self, scope: Scope, data: bytes) -> bytes:
        """``data`` as it may lie on this machine until the store takes it; as it is, unless the
        store hides what it keeps."""
        return data

    def unseal(self, scope: Scope, data: bytes) -> bytes:
        """What `seal` was given; raises `StoreError` for data that it did not make."""
        return data

    def touch(self, scope: Scope, fingerprint: str = "", chunk_ids: Sequence[str] = ()) -> None:
        """Count as a use of the scope and of these tensors: what expires then ends later.

        Reading is a use; a store that can do with less overrides this.
        """
        self.get_many(scope, fingerprint, chunk_ids)

    def eviction(self) -> str | None:
        """How this place may lose a log by itself, in words with what to do; None if it does not.

        Asks the server, where there is one.
        """
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
