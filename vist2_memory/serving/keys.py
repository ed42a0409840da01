"""API keys: who may come in, to which namespace, and to do what.

A key is ``vist2-<id>-<secret>``; only the SHA-256 of it is kept, which is enough for a secret of
256 random bits. The namespace is the key's: no request chooses one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from limits import parse

from vist2_memory.errors import InvalidInputError, StoreUnavailableError
from vist2_memory.store.base import Scope

Right: TypeAlias = Literal["read", "write", "admin"]
"""To look; to add and to ask; to delete, and to see the server's figures."""
RIGHTS: tuple[str, ...] = get_args(Right)
DEFAULT: tuple[Right, ...] = ("read", "write")

_LOOK_AGAIN_S = 1.0
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept. ``rate``: requests, as in ``"600/minute"``; ``concurrent``: at once."""

    id: str
    sha256: str
    namespace: str
    rights: tuple[Right, ...] = DEFAULT
    rate: str = "600/minute"
    concurrent: int = 64

    def __post_init__(self) -> None:
        """Raise ``InvalidInputError`` for a value that is not allowed."""
        Scope(self.namespace, "session", "check")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise InvalidInputError(f"key {self.id!r}: sha256 must be 64 hexadecimal digits")
        if not self.rights or set(self.rights) - set(RIGHTS):
            raise InvalidInputError(
                f"key {self.id!r}: rights={list(self.rights)} is not allowed: some of "
                f"{', '.join(RIGHTS)}"
            )
        if self.concurrent < 1:
            raise InvalidInputError(f"key {self.id!r}: concurrent={self.concurrent} is below 1")
        try:
            parse(self.rate)
        except ValueError as error:
            raise InvalidInputError(
                f"key {self.id!r}: rate={self.rate!r} is none, as '600/minute' is"
            ) from error


def new_key(namespace: str, rights: Iterable[Right] = DEFAULT) -> tuple[str, Key]:
    """A new key, to be shown once, and what is kept of it."""
    id = secrets.token_hex(4)
    told = f"vist2-{id}-{secrets.token_urlsafe(32)}"
    return told, Key(id, digest(told), namespace, tuple(rights))


def digest(told: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


class Keyring:
    """The keys of a server."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """Raises ``InvalidInputError`` for two keys of one id."""
        self._keys: dict[str, Key] = {}
        for key in keys:
            if key.id in self._keys:
                raise InvalidInputError(f"two keys are called {key.id!r}")
            self._keys[key.id] = key

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, told: str) -> Key | None:
        """The key that ``told`` is; None for none. Takes as long for any key of one length."""
        id = told.split("-")[1] if told.count("-") >= 2 else ""
        key = self._keys.get(id)
        right = hmac.compare_digest(digest(told), _NOBODY if key is None else key.sha256)
        return key if right else None

    def by_id(self, id: str) -> Key | None:
        """The key called ``id``, for who showed it before; None where it is no more."""
        return self._keys.get(id)


class KeyFile(Keyring):
    """Keys in a JSON file, ``{"keys": [...]}``, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Raises ``StoreUnavailableError`` or ``InvalidInputError``."""
        self._path, self._lock = path, threading.Lock()
        self._looked = 0.0
        self._read()

    def find(self, told: str) -> Key | None:
        """See :meth:`Keyring.find`. A file that became unreadable leaves the keys as they were."""
        self._look_again()
        return super().find(told)

    def by_id(self, id: str) -> Key | None:
        """See :meth:`Keyring.by_id`."""
        self._look_again()
        return super().by_id(id)

    def _look_again(self) -> None:
        if time.monotonic() - self._looked > _LOOK_AGAIN_S:
            with self._lock:
                try:
                    if self._stamp() != self._read_stamp:
                        self._read()
                except (StoreUnavailableError, InvalidInputError):
                    pass
                self._looked = time.monotonic()

    def _read(self) -> None:
        stamp = self._stamp()
        super().__init__(read_keys(self._path))
        self._read_stamp, self._looked = stamp, time.monotonic()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise StoreUnavailableError(f"cannot read {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size


def find_keyring(path: Path | None, inline: str | None) -> Keyring | None:
    """The keys in a file, else those in the JSON text of ``VIST2_API_KEYS``; None for neither.

    Raises ``StoreUnavailableError``, or ``InvalidInputError``, also where there is no key in it.
    """
    ring: Keyring | None = None
    if path is not None:
        ring = KeyFile(path)
    elif inline:
        ring = Keyring(parse_keys(inline, "VIST2_API_KEYS"))
    if ring is not None and not len(ring):
        raise InvalidInputError(f"{path or 'VIST2_API_KEYS'} has no keys: vist2 key create")
    return ring


def read_keys(path: Path) -> list[Key]:
    """The keys in a file; none if it does not exist yet.

    Raises ``StoreUnavailableError``, or ``InvalidInputError`` for one that holds something else.
    """
    if not path.exists():
        return []
    try:
        return parse_keys(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise StoreUnavailableError(f"cannot read {path}: {error.strerror}") from error


def parse_keys(text: str, where: str) -> list[Key]:
    """The keys in a JSON text; raises ``InvalidInputError``."""
    try:
        found = json.loads(text)
        given = found["keys"]
        return [
            Key(**{**key, "rights": tuple(key.get("rights", ("read", "write")))}) for key in given
        ]
    except InvalidInputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f'{where} holds no keys, as {{"keys": [...]}} made by `vist2 key create`: {error!r}'
        ) from error


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Write ``keys`` for the owner's eyes alone; raises ``StoreUnavailableError``."""
    rows: list[Mapping[str, Any]] = [asdict(key) for key in keys]
    text = json.dumps({"keys": rows}, indent=2) + "\n"
    try:
        fresh = path.with_name(path.name + ".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise StoreUnavailableError(f"cannot write {path}: {error.strerror}") from error
