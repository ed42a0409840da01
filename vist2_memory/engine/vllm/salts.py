"""What keeps apart what vLLM keeps: the salt of a namespace, until something of it is forgotten.

vLLM drops nothing of one owner alone. But what it keeps is found by its salt: where a namespace
gets another one, nothing of before is ever found again, and it is overwritten in time.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

OWNERS = 65_536
"""Owners whose salt is remembered; to forget one of the others gives all namespaces new salts."""


class Salts:
    """The salts that requests are sent with. Safe to use from several threads."""

    def __init__(self, owners: int = OWNERS) -> None:
        """``owners``: how many are remembered."""
        self._lock, self._owners = threading.Lock(), owners
        self._salt_of: OrderedDict[str, str] = OrderedDict()
        self._turned: dict[
            str, str
        ] = {}  # what a salt is followed by since something was forgotten
        self._all = ""
        self._lost = False  # whether an owner was dropped to make room

    def of(self, salt: str, owner: str) -> str:
        """What a request of ``owner`` with ``salt`` is sent with; empty where there is none."""
        with self._lock:
            if owner:
                self._salt_of[owner] = salt
                self._salt_of.move_to_end(owner)
                if len(self._salt_of) > self._owners:
                    self._salt_of.popitem(last=False)
                    self._lost = True
            return salt + self._all + self._turned.get(salt, "")

    def forget(self, owner: str) -> None:
        """Let nothing be found that was kept of ``owner``."""
        with self._lock:
            salt = self._salt_of.pop(owner, None)
            if salt is not None:
                self._turned[salt] = f"#{secrets.token_hex(8)}"
            elif self._lost:
                self._all = f"#{secrets.token_hex(8)}"
