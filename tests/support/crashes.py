"""Writers that are to be killed, for `multiprocessing`: they must be importable."""

from __future__ import annotations

import itertools
from multiprocessing.connection import Connection

import numpy as np

from vist2_memory.memory.moving import move
from vist2_memory.store import Scope, Store, codec, open_store
from vist2_memory.types import Message, VisualTokens

FINGERPRINT = "f"
CHUNKS = 3


def turn(number: int) -> list[Message]:
    return [
        Message("user", f"What is {number}?", id=f"{number}:q", turn=str(number)),
        Message("assistant", f"It is {number}.", id=f"{number}:a", turn=str(number)),
    ]


def chunk_id(number: int, chunk: int) -> str:
    return f"{number}-{chunk}"


def write_turns(url: str, namespace: str, name: str, acknowledged: Connection) -> None:
    """Write turns and their tensors until killed; each number is sent once it is acknowledged."""
    scope = Scope(namespace, "session", name)
    store = open_store(url)
    for number in itertools.count():
        store.append(scope, turn(number), expected=2 * number)
        acknowledged.send(number)
        values = np.full((64, 256), number, dtype=np.float32)
        tokens = [
            VisualTokens(chunk_id(number, chunk), values, FINGERPRINT, text_tokens=64)
            for chunk in range(CHUNKS)
        ]
        store.put_many(scope, FINGERPRINT, {t.chunk_id: codec.encode(t, scope) for t in tokens})


def check_turns(store: Store, scope: Scope, acknowledged: int) -> int:
    """Every turn is whole, none that was acknowledged is missing, every tensor is readable.

    How many tensors there are.
    """
    tensors = 0
    messages = store.read(scope)
    turns = len(messages) // 2
    assert messages == [message for number in range(turns) for message in turn(number)]
    assert acknowledged <= turns <= acknowledged + 1
    ids = [chunk_id(number, chunk) for number in range(turns) for chunk in range(CHUNKS)]
    for asked, data in zip(ids, store.get_many(scope, FINGERPRINT, ids), strict=True):
        if data is not None:
            found = codec.decode(data, scope=scope, fingerprint=FINGERPRINT, chunk_id=asked)
            assert (found.values == int(asked.split("-")[0])).all()
            tensors += 1
    return tensors


def move_sessions(source_url: str, target_url: str, namespace: str, started: Connection) -> None:
    """Move all sessions of a namespace until killed; something is sent before the first."""
    with open_store(source_url) as source, open_store(target_url) as target:
        found = source.scopes(namespace, "session")
        started.send(len(found))
        for info in found:
            move(source, info.scope, target, info.scope)


def versions(number: int) -> list[Message]:
    """A log at revision ``number``; how long it is differs."""
    return [Message("user", f"{number}. " * 20, id=f"m{place}") for place in range(3 + number % 4)]


def rewrite_always(url: str, namespace: str, name: str, acknowledged: Connection) -> None:
    """Rewrite a log until killed; each revision is sent once it is acknowledged."""
    scope = Scope(namespace, "session", name)
    store = open_store(url)
    store.append(scope, versions(0))
    for number in itertools.count():
        before, new = versions(number), versions(number + 1)
        last = before[-1].id
        store.rewrite(scope, 0, new, expected=len(before), last=last, revision=number)
        acknowledged.send(number)


def check_rewritten(store: Store, scope: Scope, acknowledged: int) -> None:
    """The log is that of one revision, and of none before the last that was acknowledged."""
    log = store.snapshot(scope)
    assert acknowledged <= log.revision <= acknowledged + 1
    assert log.messages in (versions(log.revision), [])
    assert log.messages or log.revision == 0  # killed before its first message
