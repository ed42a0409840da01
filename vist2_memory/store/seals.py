"""Keys, and what is done with them: a seal binds bytes to their place, and may hide them.

Bytes that were sealed for one place (a message's position in its log, a tensor's chunk) are opened
for no other. Each scope has keys of its own, derived from the one that was given. The store's bytes
and messages are the concern of `vist2_memory.store.sealed`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar

from vist2_memory.errors import InvalidInputError, SealedError, TamperedError
from vist2_memory.store.base import Scope

KEY_BYTES = 32
_ID_BYTES = 8
_TAG_BYTES = 32
_HOW = "python -c 'import secrets; print(secrets.token_urlsafe(32))' prints a new one"


class Key:
    """A secret of 32 bytes. ``id`` names it in what it sealed and in messages; it tells nothing."""

    __slots__ = ("_secret", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise InvalidInputError(f"a key has {KEY_BYTES} bytes, not {len(secret)}: {_HOW}")
        self._secret = secret
        self.id = self._digest(b"id", b"", _ID_BYTES).hex()

    def derived(self, purpose: bytes, scope: Scope) -> bytes:
        """The key of 32 bytes that ``scope`` has for ``purpose``."""
        return self._digest(purpose, scope.key.encode("ascii"), KEY_BYTES)

    def _digest(self, purpose: bytes, data: bytes, size: int) -> bytes:
        person = b"vist2 " + purpose
        return blake2b(data, digest_size=size, key=self._secret, person=person).digest()

    def __repr__(self) -> str:
        return f"Key({self.id})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled: give it to each process")


def parse_keys(given: str | Sequence[str], name: str) -> tuple[Key, ...]:
    """The keys in ``given``, the newest first: base64 of 32 bytes each, several with commas.

    Raises `InvalidInputError`, which says which one of ``name`` is wrong and never what it is.
    """
    texts = given.split(",") if isinstance(given, str) else list(given)
    keys: list[Key] = []
    for number, text in enumerate(texts, 1):
        try:
            plain = re.sub(r"\s", "", text).translate(str.maketrans("-_", "+/")).rstrip("=")
            secret = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (TypeError, AttributeError, ValueError, binascii.Error):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise InvalidInputError(
                f"{name}: key {number} of {len(texts)} is not {KEY_BYTES} bytes in base64: {_HOW}"
            ) from None
        keys.append(Key(secret))
    if not keys or len({key.id for key in keys}) != len(keys):
        raise InvalidInputError(f"{name} has {'one key twice' if keys else 'no key'}")
    return tuple(keys)


class Seal(ABC):
    """``keys``: the first one seals, all open."""

    mark: ClassVar[bytes]
    """The first bytes of what this kind sealed."""
    hides: ClassVar[bool]
    """Whether sealed bytes, and names that are digests of text, tell nothing to who has no key."""

    def __init__(self, keys: Sequence[Key]) -> None:
        if not keys:
            raise InvalidInputError("a seal needs at least one key")
        self._keys = {key.id: key for key in keys}
        self.newest = keys[0]

    def close(self, scope: Scope, place: bytes, content: bytes) -> bytes:
        """``content`` sealed under the newest key for ``place`` in ``scope``."""
        head = self.mark + bytes.fromhex(self.newest.id)
        return head + self._close(self.newest, scope, head + place, content)

    def open(self, scope: Scope, place: bytes, sealed: bytes) -> bytes:
        """The content of ``sealed``.

        Raises `TamperedError` if it was not sealed, or sealed for another place, or changed since;
        `SealedError` if the key was not given.
        """
        head = sealed[: len(self.mark) + _ID_BYTES]
        if len(head) != len(self.mark) + _ID_BYTES or not head.startswith(self.mark):
            raise TamperedError("it has no seal of this kind: written without the key, or planted")
        key = self._keys.get(head[len(self.mark) :].hex())
        if key is None:
            raise SealedError(
                f"it is sealed under the key {head[len(self.mark) :].hex()}, which was not given "
                f"(given: {', '.join(self._keys)})"
            )
        content = self._open(key, scope, head + place, sealed[len(head) :])
        if content is None:
            raise TamperedError("its seal does not hold: changed, or copied from another place")
        return content

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it, by what it says itself."""
        return sealed.startswith(self.mark + bytes.fromhex(self.newest.id))

    def names(self, scope: Scope, name: str) -> list[str]:
        """What ``name``, a digest of text, may be stored under: by the newest key first."""
        if not self.hides:
            return [name]
        return [
            blake2b(name.encode(), digest_size=16, key=key.derived(b"names", scope)).hexdigest()
            for key in self._keys.values()
        ]

    @abstractmethod
    def _close(self, key: Key, scope: Scope, place: bytes, content: bytes) -> bytes:
        """What follows the head."""

    @abstractmethod
    def _open(self, key: Key, scope: Scope, place: bytes, body: bytes) -> bytes | None:
        """The content; None if the seal does not hold."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._keys)})"


class Signature(Seal):
    """A keyed digest (BLAKE2b of 32 bytes) before the content, which stays readable."""

    mark = b"v2s1"
    hides = False

    def _close(self, key: Key, scope: Scope, place: bytes, content: bytes) -> bytes:
        return self._tag(key, scope, place, content) + content

    def _open(self, key: Key, scope: Scope, place: bytes, body: bytes) -> bytes | None:
        tag, content = body[:_TAG_BYTES], body[_TAG_BYTES:]
        return content if hmac.compare_digest(tag, self._tag(key, scope, place, content)) else None

    def _tag(self, key: Key, scope: Scope, place: bytes, content: bytes) -> bytes:
        digest = blake2b(digest_size=_TAG_BYTES, key=key.derived(b"signature", scope))
        digest.update(len(place).to_bytes(8, "little") + place)
        digest.update(content)
        return digest.digest()
