"""Conversations to be asked about, synthetic and real ones, and where their facts stand.

Knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import escape
from vist2_memory.training.dialogues import converse, read_dialogues
from vist2_memory.training.evaluate.longchat import beginning, read_topics
from vist2_memory.training.materials import begins_at
from vist2_memory.training.synthetic import Conversation, Question, generate
from vist2_memory.training.synthetic.scoring import normalise

Kind: TypeAlias = Literal["synthetic", "dialogues", "topics"]
Source: TypeAlias = Callable[[random.Random, int], Conversation]
"""Makes a conversation of about so many characters, with at least one question."""

AGES = ("oldest quarter", "second quarter", "third quarter", "newest quarter")
_TRIES = 1000


def source(kind: Kind, data: Path | None = None) -> Source:
    """Held-out synthetic conversations; or histories of the dialogues, or the records of topics, in
    the file ``data``.

    Raises ``InvalidInputError`` for a file that is missing, not needed, or without questions.
    """
    if kind == "synthetic":
        if data is not None:
            raise InvalidInputError(f"synthetic conversations are made, not read from {data}")
        return lambda rng, characters: generate(rng, characters=characters, split="heldout")
    if data is None:
        raise InvalidInputError(f"{kind} are read from a file: give --data FILE.jsonl.xz")
    return _dialogues(data) if kind == "dialogues" else _topics(data)


def _dialogues(data: Path) -> Source:
    """Several dialogues to a history, drawn at random."""
    dialogues = list(read_dialogues(data))
    if not any(dialogue.slots for dialogue in dialogues):
        raise InvalidInputError(f"the dialogues in {data} have no slots to ask about")

    def draw(rng: random.Random, characters: int) -> Conversation:
        for _ in range(_TRIES):
            conversation = converse(rng, dialogues, characters)
            if conversation.questions:
                return conversation
        raise InvalidInputError(
            f"{_TRIES} histories of dialogues in {data} have no slot that can be asked for"
        )

    return draw


def _topics(data: Path) -> Source:
    """The beginnings of the records, each once."""
    records = list(read_topics(data))
    rest = iter(records)

    def draw(rng: random.Random, characters: int) -> Conversation:
        record = next(rest, None)
        if record is None:
            raise InvalidInputError(
                f"{data} has {len(records)} records: ask for --conversations {len(records)} at most"
            )
        return beginning(record, characters)

    return draw


def values_of(path: Path) -> frozenset[str]:
    """Every slot value of the dialogues in a file, normalised as answers are."""
    return frozenset(
        normalise(value)
        for dialogue in read_dialogues(path)
        for mentions in dialogue.slots.values()
        for _, value in mentions
    )


def told_at(conversation: Conversation, question: Question) -> int:
    """The character offset in the transcript at which the newest value is told; -1 if nowhere."""
    if not question.answerable:
        return -1
    message = escape(conversation.messages[question.turn][1])
    inside = max(0, message.lower().find(question.value.lower()))
    return begins_at(conversation.messages, question.turn) + inside
