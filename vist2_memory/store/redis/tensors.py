"""The tensors of a scope: which there are, and how many are moved in one round trip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from vist2_memory.store.base import Scope
from vist2_memory.store.redis import scripts
from vist2_memory.store.redis.link import Link
from vist2_memory.store.redis.requests import Command, Steps

BATCH_BYTES = 8 * 2**20
"""About how much is read in one round trip."""
WRITE_BYTES = 2 * 2**20
"""About how much is written in one transaction, which the server holds until it is whole."""


def end_all(link: Link, scope: Scope, ttl_ms: int) -> Steps[None]:
    """A log that was kept expires from now on: so do its tensors, and the list of them."""
    names_key = scripts.names_key(scope)
    [members] = yield from link.run(names_key, ("SMEMBERS", names_key))
    keys = scripts.tensor_keys(scope, (name.decode("ascii") for name in sorted(members)))
    for start in range(0, len(keys), 1000):
        some = keys[start : start + 1000]
        yield from link.run(names_key, *(("PEXPIRE", key, ttl_ms) for key in some))
    yield from link.run(names_key, ("PEXPIRE", names_key, ttl_ms))


def refresh(keys: Sequence[str], ttl_ms: int) -> Command:
    """Those of ``keys`` that expire end ``ttl_ms`` from now."""
    return ("EVAL", scripts.REFRESH, len(keys), *keys, ttl_ms)


def listed(link: Link, scope: Scope) -> Steps[dict[str, list[str]]]:
    """The chunk ids of all tensors that are there and in the list of names, by fingerprint."""
    names_key = scripts.names_key(scope)
    [members] = yield from link.run(names_key, ("SMEMBERS", names_key))
    names = sorted(name.decode("ascii") for name in members)
    found: dict[str, list[str]] = {}
    for start in range(0, len(names), 1000):
        some = names[start : start + 1000]
        keys = scripts.tensor_keys(scope, some)
        there = yield from link.run(names_key, *(("EXISTS", key) for key in keys))
        for name, is_there in zip(some, there, strict=True):
            if is_there:  # neither expired nor evicted
                fingerprint, chunk = (unquote(part) for part in name.split(":"))
                found.setdefault(fingerprint, []).append(chunk)
    return {fingerprint: sorted(chunks) for fingerprint, chunks in sorted(found.items())}


def batches(items: Mapping[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    """``items`` in lots of about `WRITE_BYTES`."""
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
