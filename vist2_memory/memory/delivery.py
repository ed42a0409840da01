"""A session's memory as pages and text, to be sent to a model that somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vist2_memory.engine.pages import DrawnPage, PageEngine
from vist2_memory.memory.candidates import (
    check_pins,
    of_documents,
    of_session,
    once,
    question_of,
    told,
)
from vist2_memory.memory.reading import Reading
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import Candidate, choose
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import CALL, LABELS, MARKS, opened, read
from vist2_memory.types import LeftOut, Role
from vist2_memory.verbatim import find, note

VERBATIM_TOKENS = 500
"""Estimated tokens that exact strings may take beside the pages."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message, or what of it stands after the last page (``continued``)."""

    role: Role
    text: str
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """All that a hosted model is to be sent, in the order in which it should read it."""

    system: tuple[str, ...]
    """System prompts, as text."""
    pages: tuple[DrawnPage, ...]
    """Documents, then the conversation, each oldest first; no page twice."""
    verbatim: str
    """Strings on the pages that readers of pictures misread; empty when there are none."""
    recent: tuple[Said, ...]
    """What was said after the last page."""
    left_out_pages: int
    """Pages for which there was no room, the oldest unless a selection chose others."""
    left_out_tokens: int
    """Estimated tokens of their text."""
    left_out: tuple[LeftOut, ...] = ()
    """The messages and documents that they are of."""

    @property
    def page_tokens(self) -> int:
        """Tokens of the pages, as the provider counts them."""
        return sum(page.tokens for page in self.pages)

    @property
    def compression_ratio(self) -> float:
        """Estimated text tokens on the pages over :attr:`page_tokens`; 0.0 without pages."""
        text_tokens = sum(page.text_tokens for page in self.pages)
        return text_tokens / self.page_tokens if self.pages else 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """What a request may take. None: the engine's and the provider's limits."""

    tokens: int | None = None
    """Tokens of pages, as the provider counts them."""
    pages: int | None = None
    """Pages."""
    verbatim_tokens: int = VERBATIM_TOKENS
    """Estimated tokens of exact strings; 0 leaves them out."""

    def __post_init__(self) -> None:
        for name in ("tokens", "pages", "verbatim_tokens"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value!r} is not allowed: it must be 0 or more")


def deliver(
    engine: PageEngine, scope: Scope, state: Transcript, reading: Reading, room: Room
) -> Delivery:
    """The memory of ``state`` and the documents that are included, as far as there is ``room``."""
    every = of_documents(once(reading.include, engine), engine.cost, reading.pins)
    every += of_session(scope, state, engine.cost, reading.pins)
    check_pins(reading.pins, every, state.messages)
    candidates = _once(every)
    kept, question = candidates, question_of(state.messages)
    limits = (
        (engine.cost, engine.spec.max_visual_tokens if room.tokens is None else room.tokens),
        (lambda _: 1, engine.provider.max_pages if room.pages is None else room.pages),
    )
    for cost, budget in limits:
        kept = [replace(candidate, cost=cost(candidate.chunk)) for candidate in kept]
        selection = choose(kept, budget, question, reading.policy)
        kept = [kept[place] for place in selection.kept]
    shown = {candidate.chunk.id for candidate in kept}
    left_out = [candidate for candidate in candidates if candidate.chunk.id not in shown]
    chunks = [candidate.chunk for candidate in kept]
    found = [find(chunk.text) for chunk in chunks]
    return Delivery(
        system=tuple(text for _, text in read(state.pinned)),
        pages=tuple(engine.draw(chunks)),
        verbatim=note(found, room.verbatim_tokens, engine.chunker.count),
        recent=tuple(_recent(state)),
        left_out_pages=len(left_out),
        left_out_tokens=sum(candidate.chunk.tokens for candidate in left_out),
        left_out=told(left_out, state),
    )


def _once(candidates: Sequence[Candidate]) -> list[Candidate]:
    """``candidates`` without those that a later one says again, pinned if one of them is."""
    pinned = {candidate.chunk.id for candidate in candidates if candidate.pinned}
    last = {candidate.chunk.id: place for place, candidate in enumerate(candidates)}
    places = sorted((place, id) for id, place in last.items())
    return [replace(candidates[place], pinned=id in pinned) for place, id in places]


def _recent(state: Transcript) -> list[Said]:
    """The tail as messages; the first may have begun on the last page."""
    tail = state.tail
    if not tail:
        return []
    whole, continued = opened(tail, state.speaks)
    for before in MARKS["assistant"], "":  # no content has this mark unescaped
        whole = whole.replace(before + CALL, before + ("" if before else "\n") + LABELS[CALL])
    said = [Said(role, text) for role, text in read(whole)]
    return [replace(said[0], continued=continued), *said[1:]]
