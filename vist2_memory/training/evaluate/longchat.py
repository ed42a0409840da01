"""LongChat's topic retrieval: a long record of talk on several topics, and which came first.

Source: LongChat, lm-sys/LongEval (lmsys.org, June 2023). A record may be read from its beginning
only as far as a model can follow.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

from vist2_memory.errors import InvalidInputError
from vist2_memory.training.synthetic import Conversation, Question

_RECORD = re.compile(r"Now the record start\.(.*)Now the record ends\.\s*([^?]*\?)", re.DOTALL)
_SPEAKER = re.compile(r"\s*\b(USER|ASSISTANT): ")
_ARTICLE = re.compile(r"^(?:the|an?) ", re.IGNORECASE)


def read_topics(path: Path) -> Iterator[Conversation]:
    """The records of a .jsonl.xz file with ``prompt`` and ``topics``, each with its one question.

    Raises ``InvalidInputError`` for a line that holds none, naming it.
    """
    number = 0
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 (named in the error)
                row = json.loads(line)
                yield _conversation(row["prompt"], row["topics"])
    except (ValueError, KeyError, TypeError, lzma.LZMAError, EOFError) as error:
        raise InvalidInputError(f"{path}:{number} holds no record: {error!r}") from error


def _conversation(prompt: str, topics: list[str]) -> Conversation:
    found = _RECORD.search(prompt)
    if found is None or not topics:
        raise ValueError("no record of topics with a question after it")
    _, *parts = _SPEAKER.split(found[1])
    messages = [(s.lower(), said.strip()) for s, said in zip(parts[::2], parts[1::2], strict=True)]
    first, *others = (_ARTICLE.sub("", topic) for topic in topics)
    told = (i for i, (_, said) in enumerate(messages) if first.lower() in said.lower())
    question = Question(
        text=found[2],
        answer=f"The first topic was {topics[0]}.",
        value=first,
        kind="topic",
        answerable=True,
        turn=next(told, 0),
        stale=tuple(others),
    )
    return Conversation(tuple(messages), (question,))


def beginning(conversation: Conversation, characters: int) -> Conversation:
    """The first messages of ``conversation``, up to about ``characters`` characters."""
    length = 0
    for count, (_, said) in enumerate(conversation.messages, 1):
        length += len(said)
        if length >= characters:
            return Conversation(conversation.messages[:count], conversation.questions)
    return conversation
