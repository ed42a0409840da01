"""What stands in chunks, for people: fragments of messages, beside what they take to remember."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vist2_memory.engine.base import Engine
from vist2_memory.memory.transcript import Transcript
from vist2_memory.serving.page.state import Picture
from vist2_memory.text.transcript import CALL, MARKS, speaker, unescape
from vist2_memory.types import Chunk, Message

_ROLES = {mark: str(role) for role, mark in MARKS.items()}
_SPLIT = re.compile(f"([{''.join(MARKS.values())}{CALL}])")
CALLS = "tool call"

Draw = Callable[[Chunk], Picture | None]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A stretch of one message. ``begins``: the message begins here; ``time`` when it was said."""

    role: str
    text: str
    begins: bool
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk: what it says and what it takes. ``number`` counts from 1."""

    number: int
    chunk: Chunk
    fragments: tuple[Fragment, ...]
    visual_tokens: int
    picture: Picture | None

    @property
    def ratio(self) -> float:
        """Text tokens for each visual token."""
        return self.chunk.tokens / self.visual_tokens if self.visual_tokens else 0.0


@dataclass(frozen=True, slots=True)
class Savings:
    """What is read: ``tokens`` of chunks as ``visual_tokens``, the rest as text."""

    tokens: int
    visual_tokens: int
    text_tokens: int
    """Of the system prompt and the newest part, which stay text."""

    @property
    def ratio(self) -> float:
        """Text tokens for each visual token."""
        return self.tokens / self.visual_tokens if self.visual_tokens else 0.0

    @property
    def whole(self) -> int:
        """Tokens that a text model would read."""
        return self.tokens + self.text_tokens

    @property
    def read(self) -> int:
        """Tokens that are read in their place."""
        return self.visual_tokens + self.text_tokens

    @property
    def share(self) -> float:
        """How much of ``whole`` is saved."""
        return 1 - self.read / self.whole if self.whole else 0.0


def rows_of(
    engine: Engine, draw: Draw, state: Transcript, chunks: Sequence[Chunk], first: int
) -> tuple[Row, ...]:
    """``chunks``, which stand side by side in ``state``, the first at the place ``first``."""
    if not chunks:
        return ()
    reading = _Reading(state, chunks[0].start)
    return tuple(
        Row(number, chunk, tuple(reading.read(chunk.text)), engine.cost(chunk), draw(chunk))
        for number, chunk in enumerate(chunks, first + 1)
    )


def tail_of(state: Transcript) -> tuple[Fragment, ...]:
    """What of a session is still text."""
    return tuple(_Reading(state, state.tail_start).read(state.tail))


def savings_of(engine: Engine, state: Transcript) -> Savings:
    """What a session takes."""
    visual = sum(engine.cost(chunk) for chunk in state.chunks)
    text = engine.chunker.count(state.pinned) + engine.chunker.count(state.tail)
    return Savings(sum(chunk.tokens for chunk in state.chunks), visual, text)


def document_rows(
    engine: Engine, draw: Draw, chunks: Sequence[tuple[Chunk, str]], first: int
) -> tuple[Row, ...]:
    """Chunks of a document, each with its own text."""
    return tuple(
        Row(
            number,
            chunk,
            (Fragment("document", text, number == 1),),
            engine.cost(chunk),
            draw(chunk),
        )
        for number, (chunk, text) in enumerate(chunks, first + 1)
    )


class _Reading:
    """Goes through a session's text from ``start`` on, and knows whose words it reads."""

    def __init__(self, state: Transcript, start: int) -> None:
        before = state.text[:start]
        marks = [part for part in _SPLIT.findall(before) if part != CALL]
        self._messages: list[Message] = [m for m in state.messages if m.role != "system"]
        self._next = len(marks)  # which message the next mark opens
        role = speaker(before) or "assistant"
        in_call = CALL in before[max(before.rfind(mark) for mark in MARKS.values()) + 1 :]
        self._role = CALLS if in_call else str(role)

    def read(self, text: str) -> Iterator[Fragment]:
        """The fragments of ``text``, which comes next."""
        before, *parts = _SPLIT.split(text)
        if before:
            yield Fragment(self._role, unescape(before), False)
        for mark, words in zip(parts[::2], parts[1::2], strict=True):
            if mark == CALL:
                self._role = CALLS
                yield Fragment(CALLS, unescape(words), True)
                continue
            self._role = _ROLES[mark]
            message = self._messages[self._next]
            self._next += 1
            if words or not message.calls:
                yield Fragment(self._role, unescape(words), True, message.time)
