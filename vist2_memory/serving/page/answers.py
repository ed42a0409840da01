"""What the last answer of a session had in its context, summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from vist2_memory.serving.answers import Answered
from vist2_memory.types import ChunkUse, Message


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What of one session or collection was read: chunks, and their tokens."""

    kind: str
    name: str
    chunks: int
    read: int
    pinned: int
    tokens: int
    visual_tokens: int


@dataclass(frozen=True, slots=True)
class AnswerView:
    """An answer, and what became of the session's own chunks by their ids.

    ``newest``: no other was logged since, as by another server.
    """

    answered: Answered
    newest: bool
    sources: tuple[SourceRead, ...]
    uses: dict[str, ChunkUse]


def answer_view(answered: Answered, session: str, messages: Sequence[Message]) -> AnswerView:
    """``answered``, the last answer given here in ``session``, which holds ``messages``."""
    last = next((m.turn for m in reversed(messages) if m.role == "assistant"), None)
    sources = tuple(
        _summed(kind, name, list(uses))
        for (kind, name), uses in groupby(answered.end.chunks, lambda use: (use.kind, use.name))
    )
    own = {u.chunk_id: u for u in answered.end.chunks if (u.kind, u.name) == ("session", session)}
    return AnswerView(answered, last == answered.turn, sources, own)


def _summed(kind: str, name: str, uses: Iterable[ChunkUse]) -> SourceRead:
    every = list(uses)
    read = [use for use in every if use.read]
    return SourceRead(
        kind,
        name,
        len(every),
        len(read),
        sum(use.pinned for use in read),
        sum(use.tokens for use in read),
        sum(use.visual_tokens for use in read),
    )
