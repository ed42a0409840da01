"""What of a state is sent as text: from as much as is wished to as little as may be.

Pure. A window is what is sent; :func:`windows` gives them in turn, each smaller than the one
before, until one fits into the budget of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage, ToolMessage

from langchain_vist2.agents.mirrored import as_message
from langchain_vist2.agents.splitting import groups, newest_question, sendable
from langchain_vist2.agents.stubs import shortened, stub, with_text

SHORTEST = 200
"""Characters of the newest question that are sent in any case."""
_HALF = 0.5
_LITTLE = 0.125


@dataclass(frozen=True, slots=True)
class Window:
    """The messages from ``start`` on, and the newest question, if it is older, before them."""

    start: int
    question: int | None = None
    """The place of a question that is sent though it is older than ``start``."""
    stubbed: frozenset[int] = frozenset()
    """The places of the results that are sent as stubs."""
    characters: int | None = None
    """Characters of the question that are sent; None: all."""
    share: float = _HALF
    """The part of the budget that is left to visual memory, if it has use for it."""

    def sent(self, messages: Sequence[BaseMessage], where: str, expand: bool) -> list[BaseMessage]:
        """The messages as they are sent. ``where`` and ``expand``: what stubs say."""
        sent = []
        if self.question is not None:
            asked = messages[self.question]
            if self.characters is not None:
                text = as_message(asked).text
                asked = with_text(asked, shortened(text, self.characters, where, expand))
            sent.append(asked)
        for place in range(self.start, len(messages)):
            message = messages[place]
            if place in self.stubbed:
                message = with_text(message, stub(as_message(message).text, where, expand))
            sent.append(message)
        return sendable(sent)


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens that a call may have: in all, and as text; None: any number."""

    tokens: int | None = None
    text: int | None = None

    def fits(self, text: int, visual: int, fixed: int, share: float) -> bool:
        """Whether so much text leaves room for the memory's ``share`` of what is not ``fixed``.

        ``visual``: what the memory could use. ``fixed``: text that is there in any case.
        """
        if self.text is not None and text > self.text:
            return False
        if self.tokens is None:
            return True
        return text + min(visual, int(max(0, self.tokens - fixed) * share)) <= self.tokens


def windows(
    messages: Sequence[BaseMessage],
    starts: Sequence[int],
    oversize: Callable[[BaseMessage], bool],
) -> Iterator[Window]:
    """What may be sent of ``messages``, in turn.

    First the messages from each of ``starts`` on, then fewer groups down to the newest alone, which
    comes before most of the memory; its results as stubs, the longest first; the newest question
    shortened; and that alone. Results that are ``oversize`` are stubs from the beginning.
    """
    large = {n for n in range(min(starts), len(messages)) if oversize(messages[n])}
    asked = newest_question(messages)
    later = [group.start for group in groups(messages) if group.start > max(starts)]
    for start in dict.fromkeys([*starts, *later]):
        question = asked if asked is not None and asked < start else None
        window = Window(start, question, frozenset(n for n in large if n >= start))
        yield window
    window = replace(window, share=_LITTLE)
    yield window
    for less in _less_of_the_results(messages, window):
        window = less
        yield window
    yield from _shorter(messages, window)
    alone = Window(len(messages), asked, share=_LITTLE)
    yield alone
    yield from _shorter(messages, alone)
    characters = None if asked is None else SHORTEST
    yield replace(alone, characters=characters, share=0)


def _less_of_the_results(messages: Sequence[BaseMessage], window: Window) -> Iterator[Window]:
    """``window`` with one result after the other as a stub."""
    sizes = {
        place: len(as_message(messages[place]).text)
        for place in range(window.start, len(messages))
        if isinstance(messages[place], ToolMessage) and place not in window.stubbed
    }
    for place in sorted(sizes, key=lambda place: -sizes[place]):
        if sizes[place] <= SHORTEST:
            break
        window = replace(window, stubbed=window.stubbed | {place})
        yield window


def _shorter(messages: Sequence[BaseMessage], window: Window) -> Iterator[Window]:
    """``window`` with half of the question, a quarter, and so on."""
    if window.question is None:
        return
    length = len(as_message(messages[window.question]).text) // 2
    while length > SHORTEST:
        yield replace(window, characters=length)
        length //= 2
