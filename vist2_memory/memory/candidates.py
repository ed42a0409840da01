"""From what may be read to what is: candidates of sessions and collections, pins, what is left out.

The choice itself is `vist2_memory.selection`'s; here it is told what there is, and its answer is
told in messages and documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Literal

from vist2_memory.engine.base import Engine
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import Candidate
from vist2_memory.store.base import Scope
from vist2_memory.types import Chunk, ChunkUse, LeftOut, Message

Cost = Callable[[Chunk], int]


def once(include: Iterable[Collection], engine: Engine) -> list[Collection]:
    """Each collection of ``include`` once: all of it, or what is in any of its excerpts.

    Raises ``InvalidInputError`` for one that another model than ``engine``'s encodes, and for two
    of one name that are of different stores.
    """
    found: dict[Scope, Collection] = {}
    for books in include:
        other = found.setdefault(books.scope, books)
        _check(books, other, engine)
        if other is not books:
            found[books.scope] = other.joined(books)
    return list(found.values())


def _check(books: Collection, other: Collection, engine: Engine) -> None:
    if books.engine.spec.fingerprint != engine.spec.fingerprint:
        raise InvalidInputError(
            f"collection {books.name!r} is of a memory with the model {books.engine.spec.model!r} "
            f"or other settings of it, which {engine.spec.model!r} cannot read: take it from the "
            "memory of the session"
        )
    if books.store is not other.store:
        raise InvalidInputError(
            f"two collections called {books.name!r}, of different stores, cannot be included "
            "together: give one of them another name"
        )


def of_documents(
    include: Sequence[Collection], cost: Cost, pins: frozenset[str]
) -> list[Candidate]:
    """The passages of ``include``; pinned by the id of a document or of a chunk."""
    return [
        Candidate(
            chunk := passage.chunk,
            cost(chunk),
            books.scope,
            passage.document_id,
            passage.document_id in pins or chunk.id in pins,
        )
        for books in include
        for passage in books.passages()
    ]


def of_session(
    scope: Scope, state: Transcript, cost: Cost, pins: frozenset[str]
) -> list[Candidate]:
    """The chunks of a session; pinned by the id of a message that is in them, or of a chunk."""
    pinned = set(state.chunks_of(pins)) if pins else set()
    return [
        Candidate(chunk, cost(chunk), scope, pinned=place in pinned or chunk.id in pins)
        for place, chunk in enumerate(state.chunks)
    ]


def check_pins(
    pins: frozenset[str], candidates: Iterable[Candidate], messages: Iterable[Message]
) -> None:
    """Raises ``InvalidInputError`` for a pin that names nothing that could be read.

    A message that is still text is read anyway, so pinning it asks for nothing.
    """
    if not pins:
        return
    known = {message.id for message in messages}
    for candidate in candidates:
        known |= {candidate.chunk.id, candidate.document}
    unknown = sorted(pins - known)
    if unknown:
        raise InvalidInputError(
            f"pins={unknown[0]!r} is not there: pin the id of a message of the session, of a "
            "document that is included, or of a chunk of these"
        )


def question_of(messages: Sequence[Message]) -> str:
    """What is to be answered: the newest that a user said."""
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def told(left_out: Sequence[Candidate], state: Transcript) -> tuple[LeftOut, ...]:
    """What was left out, for each session or collection, documents first."""
    entries = []
    for scope, group in groupby(left_out, key=lambda candidate: candidate.source):
        of_scope = list(group)
        tokens = sum(candidate.chunk.tokens for candidate in of_scope)
        documents = list(dict.fromkeys(one.document for one in of_scope if one.document))
        said = state.messages_in(one.chunk for one in of_scope if not one.document)
        kind: Literal["session", "collection"] = "collection" if documents else "session"
        entries.append(LeftOut(kind, scope.name, tuple(documents or said), tokens))
    return tuple(entries)


def used(candidates: Sequence[Candidate], kept: Iterable[int]) -> tuple[ChunkUse, ...]:
    """What became of each candidate, of which those at the places ``kept`` are read."""
    read = frozenset(kept)
    return tuple(
        ChunkUse(
            one.source.kind,
            one.source.name,
            one.document,
            one.chunk.id,
            one.chunk.tokens,
            one.cost,
            one.pinned,
            place in read,
        )
        for place, one in enumerate(candidates)
    )
