"""Real task dialogues with annotated slot values: histories of several, and questions on them."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vist2_memory.errors import InvalidInputError
from vist2_memory.training.data import open_text
from vist2_memory.training.synthetic import Conversation, Question
from vist2_memory.training.synthetic.quoting import answer

_ROLES = {"user": "user", "system": "assistant"}

_WORDS = {
    "where_to": "destination",
    "directed_by": "director",
    "city_of_event": "city of the event",
    "address_of_location": "address",
    "event_name": "name of the event",
    "from_location": "place to leave from",
    "to_location": "place to go to",
    "approximate_ride_duration": "duration of the ride",
}
"""How a slot is called in a question, where its own name would not do."""

_ASK = (
    "What is the {s}?",
    "What was the {s}?",
    "What is the {s} again?",
    "Which {s} was it?",
    "Do you remember the {s}?",
    "Can you tell me the {s}?",
    "Remind me of the {s}, please.",
    "I forgot the {s}. What was it?",
    "Tell me the {s}.",
    "And the {s}?",
)
_ENTITIES = ("_name", "title", "venue")
"""Slots that name the thing that a dialogue is about; others are asked "of" it."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns of (role, text), and for each slot its (turn, value) mentions in order."""

    turns: tuple[tuple[str, str], ...]
    slots: Mapping[str, Sequence[tuple[int, str]]]

    @property
    def text(self) -> str:
        """What was said, one turn a line."""
        return "\n".join(text for _, text in self.turns)

    def last(self, slot: str) -> str:
        """The newest value of ``slot``."""
        return self.slots[slot][-1][1]

    def entity(self) -> str | None:
        """The name of what the dialogue is about, if it has exactly one."""
        names = {self.last(slot) for slot in self.slots if slot.endswith(_ENTITIES)}
        return names.pop() if len(names) == 1 else None


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """The dialogues of a .jsonl file (see ``data.PACKED``): ``turns`` and ``slots``.

    A turn is [speaker, text]; a slot has its [turn, value] mentions.

    Raises ``InvalidInputError`` for a line that holds none, naming it.
    """
    number = 0
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 (named in the error)
                row = json.loads(line)
                turns = tuple((_ROLES[speaker], text) for speaker, text in row["turns"])
                slots = {
                    slot: [(int(turn), str(value)) for turn, value in mentions]
                    for slot, mentions in row.get("slots", {}).items()
                    if mentions
                }
                yield Dialogue(turns, slots)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path}:{number} holds no dialogue: {error!r}") from error


def converse(rng: random.Random, dialogues: Sequence[Dialogue], characters: int) -> Conversation:
    """Dialogues one after another, about ``characters`` characters, with questions on their slots.

    None comes twice: of few dialogues, the conversation may be shorter.
    A slot is asked for only where the question has one answer: it occurs in one dialogue alone, or
    is asked of the one thing that its dialogue is about. The newest value counts.
    """
    picked: dict[int, Dialogue] = {}
    length = 0
    while length < characters and len(picked) < len(dialogues):
        place = rng.randrange(len(dialogues))
        if place not in picked:
            picked[place] = dialogues[place]
            length += len(dialogues[place].text)
    chosen = list(picked.values())
    turns: list[tuple[str, str]] = []
    questions: list[Question] = []
    seen = Counter(slot for dialogue in chosen for slot in dialogue.slots)
    entities = Counter(dialogue.entity() for dialogue in chosen)
    for dialogue in chosen:
        entity = dialogue.entity()
        for slot in dialogue.slots:
            known = entity is not None and entities[entity] == 1 and dialogue.last(slot) != entity
            if seen[slot] == 1 or known:
                of = entity if known and (seen[slot] > 1 or rng.random() < 0.5) else None
                questions.append(_question(rng, dialogue, slot, of, len(turns)))
        turns += dialogue.turns
    return Conversation(tuple(turns), tuple(questions))


def _question(
    rng: random.Random, dialogue: Dialogue, slot: str, entity: str | None, before: int
) -> Question:
    """``entity``: what the slot is asked of; ``before``: turns before this dialogue."""
    turn, value = dialogue.slots[slot][-1]
    words = _WORDS.get(slot, slot.replace("_", " "))
    if entity is not None:
        words += f" {'of' if rng.random() < 0.5 else 'for'} {entity}"
    older = {said for _, said in dialogue.slots[slot] if not _alike(said, value)}
    text = rng.choice(_ASK).replace("{s}", words)
    role, said = dialogue.turns[turn]
    [sentence] = [part for part in _sentences(said) if value in part][-1:] or [said]
    return Question(
        text=text,
        answer=answer(role, sentence, value, text),
        value=value,
        kind="changed" if older else "dialogue",
        answerable=True,
        turn=before + turn,
        stale=tuple(sorted(older)),
    )


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def _alike(a: str, b: str) -> bool:
    """Whether one value is said inside the other ("the 12th", "March 12th")."""
    a, b = a.lower(), b.lower()
    return a in b or b in a or a.split()[-1] == b.split()[-1]
