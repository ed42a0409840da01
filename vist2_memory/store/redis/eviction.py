"""Servers that drop keys by themselves when they are full: what that means for logs and deletion.

What the server does is read from INFO, which providers allow where they forbid CONFIG.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store.base import Scope
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.requests import Steps

_PAGE = 10_000
"""Keys that one SCAN looks at."""


def risk(link: Link, *, expires: bool) -> Steps[str | None]:
    """How the server may lose a log, in words; ``expires``: its keys have a time to live."""
    memory = yield from _memory(link)
    policy = _policy(memory)
    kind = policy.partition("-")[0]
    if not memory.get("maxmemory") or not (kind == "allkeys" or (kind == "volatile" and expires)):
        return None
    return (
        f"Redis at {link.describe()} may evict logs when it is full (maxmemory-policy {policy}): "
        "set maxmemory-policy noeviction, or keep only tensors there and the log elsewhere, as "
        "VisualMemory.open(log_url, tensors=this_url) does"
    )


def unlisted(link: Link, scope: Scope, listed: Sequence[str]) -> Steps[list[str]]:
    """Keys of tensors that ``listed`` lacks: where keys are evicted, the list of names may be.

    Walks all keys of the server, and only there.
    """
    names_key = scripts.names_key(scope)
    if _policy((yield from _memory(link, names_key))) == "noeviction":
        return []
    [pattern] = scripts.tensor_keys(scope, "*")  # keys have no other character of patterns
    found: set[str] = set()
    cursor = 0
    while True:
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        [(cursor, keys)] = yield from link.run(names_key, command)
        found.update(key.decode("ascii") for key in keys)
        if not int(cursor):
            return sorted(found.difference(listed))


def _policy(memory: dict[str, Any]) -> str:
    return str(memory.get("maxmemory_policy", "noeviction"))


def _memory(link: Link, key: str = "") -> Steps[dict[str, Any]]:
    """What the server of ``key`` tells of its memory; nothing where that is forbidden too."""
    try:
        [found] = yield from link.run(key, ("INFO", "memory"))
    except StoreUnavailableError as error:
        if isinstance(error.__cause__, redis.ResponseError):
            return {}
        raise
    return dict(found)
