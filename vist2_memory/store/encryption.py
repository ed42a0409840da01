"""A seal that hides: AES-256-GCM by the ``cryptography`` package (``vist2-memory[encryption]``).

The nonce is random for each message and tensor, and each scope has a key of its own: after 2**32
seals of one scope under one key the chance that two share a nonce is still below 2**-32.
"""

from __future__ import annotations

import secrets

from vist2_memory.errors import InvalidInputError
from vist2_memory.store.base import Scope
from vist2_memory.store.seals import Key, Seal

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:
    raise InvalidInputError(
        "encryption needs the cryptography package: pip install 'vist2-memory[encryption]'"
    ) from error

_NONCE_BYTES = 12


class Encryption(Seal):
    """Nonce, ciphertext, tag. Where it lies is authenticated with it (associated data)."""

    mark = b"v2e1"
    hides = True

    def _close(self, key: Key, scope: Scope, place: bytes, content: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(key.derived(b"aes", scope)).encrypt(nonce, content, place)

    def _open(self, key: Key, scope: Scope, place: bytes, body: bytes) -> bytes | None:
        if len(body) < _NONCE_BYTES:
            return None
        nonce, sealed = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        try:
            return AESGCM(key.derived(b"aes", scope)).decrypt(nonce, sealed, place)
        except InvalidTag:
            return None
