"""The cookie of who signed in: it names a key, and is none.

``<key id>.<when it ends>.<HMAC>`` under a secret of this server, over the key's digest too:
revoking or replacing the key ends it, and so does a restart, unless ``VIST2_PAGE_SECRET`` is set
(as it has to be, to the same, for several servers behind one address).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from urllib.parse import quote, unquote

from vist2_memory.errors import InvalidInputError
from vist2_memory.serving.keys import Key, Keyring

NAME = "vist2_page"
LIFE_S = 12 * 3600
SECRET = "VIST2_PAGE_SECRET"
_LEAST = 32


def find_secret() -> bytes:
    """The secret in the environment, or a new one; raises ``InvalidInputError`` for a short one."""
    given = os.environ.get(SECRET, "").encode()
    if given and len(given) < _LEAST:
        raise InvalidInputError(
            f"{SECRET} has {len(given)} bytes: give {_LEAST} or more, as from openssl rand -hex 32"
        )
    return given or secrets.token_bytes(_LEAST)


class Seal:
    """Makes and reads the cookie."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cookie(self, key: Key) -> str:
        """What ``key`` is known by from now on."""
        named = f"{quote(key.id, safe='')}.{int(time.time()) + LIFE_S}"
        return f"{named}.{self._mark(named, key)}"

    def key(self, cookie: str, keys: Keyring) -> Key | None:
        """The key that ``cookie`` names; None if it does not, or no more."""
        named, _, mark = cookie.rpartition(".")
        id, _, ends = named.rpartition(".")
        key = keys.by_id(unquote(id))
        if key is None or not hmac.compare_digest(mark.encode(), self._mark(named, key).encode()):
            return None
        return key if time.time() < int(ends) else None

    def _mark(self, named: str, key: Key) -> str:
        return hmac.new(self._secret, f"{named}.{key.sha256}".encode(), hashlib.sha256).hexdigest()
