"""A session's memory as pages and text, to be sent to a model that somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vist2_memory.engine.pages import DrawnPage, PageEngine
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import newest_that_fit, share
from vist2_memory.text.transcript import CALL, LABELS, MARKS, opened, read
from vist2_memory.types import Chunk, Role
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
    """Oldest pages for which there was no room."""
    left_out_tokens: int
    """Estimated tokens of their text."""

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


def deliver(engine: PageEngine, state: Transcript, shelf: Sequence[Chunk], room: Room) -> Delivery:
    """The memory of ``state`` and the documents of ``shelf``, as far as there is ``room``."""
    documents, said = _once(shelf), _once(state.chunks)
    limits = (
        (engine.cost, engine.spec.max_visual_tokens if room.tokens is None else room.tokens),
        (lambda _: 1, engine.provider.max_pages if room.pages is None else room.pages),
    )
    first = first_said = 0
    for cost, budget in limits:
        costs, costs_said = [cost(c) for c in documents], [cost(c) for c in said]
        own, theirs = share(sum(costs_said), sum(costs), budget)
        first = max(first, newest_that_fit(costs, theirs))
        first_said = max(first_said, newest_that_fit(costs_said, own))
    kept = _once([*documents[first:], *said[first_said:]])
    shown = {chunk.id for chunk in kept}
    left_out = [c for c in (*documents[:first], *said[:first_said]) if c.id not in shown]
    found = [find(chunk.text) for chunk in kept]
    return Delivery(
        system=tuple(text for _, text in read(state.pinned)),
        pages=tuple(engine.draw(kept)),
        verbatim=note(found, room.verbatim_tokens, engine.chunker.count),
        recent=tuple(_recent(state)),
        left_out_pages=len(left_out),
        left_out_tokens=sum(chunk.tokens for chunk in left_out),
    )


def _once(chunks: Sequence[Chunk]) -> list[Chunk]:
    """``chunks`` without those that a later one says again."""
    return list({chunk.id: chunk for chunk in reversed(chunks)}.values())[::-1]


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
