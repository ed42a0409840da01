"""Finding words in what was said: plain comparison over text and tool calls, no index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.errors import InvalidInputError
from vist2_memory.types import Message


@dataclass(frozen=True, slots=True)
class Found:
    """A message in which something was found.

    ``spans`` are the (start, end) character offsets in ``message.text`` of each occurrence, in
    order; they may overlap where one word that was looked for contains another. What occurs only in
    the message's tool calls has none.
    """

    message: Message
    spans: tuple[tuple[int, int], ...]


def find(messages: Sequence[Message], text: str, limit: int) -> list[Found]:
    """The messages in which all words of ``text`` occur, ``limit`` of them at most.

    Upper and lower case are the same, and a word is found within a longer one. Messages with the
    words side by side come first, newest first, with the spans of these; then the others, newest
    first, with the spans of each word. Raises ``InvalidInputError`` for a text without words.
    """
    if limit < 1:
        raise InvalidInputError(f"limit={limit!r} is not allowed: how many messages, at least 1")
    words = text.split() if isinstance(text, str) else []
    if not words:
        raise InvalidInputError(f"there is nothing to look for in {text!r}: give a word or more")
    patterns = [re.compile(re.escape(word), re.IGNORECASE) for word in dict.fromkeys(words)]
    phrase = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
    together: list[Found] = []
    apart: list[Found] = []
    for message in reversed(messages):
        said = [message.text, *(call.text for call in message.calls)]
        if any(map(phrase.search, said)):
            together.append(Found(message, _spans([phrase], message.text)))
            if len(together) == limit:
                break
        elif len(apart) < limit and all(any(map(of.search, said)) for of in patterns):
            apart.append(Found(message, _spans(patterns, message.text)))
    return (together + apart)[:limit]


def _spans(patterns: Sequence[re.Pattern[str]], text: str) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({m.span() for pattern in patterns for m in pattern.finditer(text)}))
