"""What a changed log is: which messages make a turn, and where the transcript is cut anew.

Pure: messages come in, messages come out. Knows no store and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.transcript import Transcript
from vist2_memory.types import Message


@dataclass(frozen=True, slots=True)
class Made:
    """Cuts that were made while message ``id`` was generated: they hold after this very text."""

    id: str
    after: Transcript
    ends: tuple[int, ...]

    def ends_for(self, message: Message, before: Transcript) -> tuple[int, ...]:
        """The cuts, if ``message`` is the one, and stands where it was generated."""
        here, there = ((t.text, t.tail_start) for t in (before, self.after))
        return self.ends if message.id == self.id and here == there else ()


def common(messages: Sequence[Message], others: Sequence[Message]) -> int:
    """How many messages both begin with."""
    pairs = enumerate(zip(messages, others, strict=False))
    shorter = min(len(messages), len(others))
    return next((place for place, (here, there) in pairs if here != there), shorter)


def recut(state: Transcript, wanted: Sequence[Message], made: Made | None = None) -> Transcript:
    """The transcript of ``wanted``, cut as ``state`` is up to the first message that differs.

    Where only system prompts differ, which stand outside the flow, all cuts stay.
    """
    after = state.of(wanted[: common(state.messages, wanted)])
    stays = _flow(state.messages) == _flow(wanted)
    for message in wanted[len(after.messages) :]:
        if not stays:
            ends = made.ends_for(message, after) if made else ()
            cuts = after.cuts_after(message, ends)
            message = replace(message, cuts=cuts, layout=after.layout)
        after.take([message])
    return after


def place_of(messages: Sequence[Message], id: str, session: str) -> int:
    """Where the message ``id`` stands; raises ``InvalidInputError`` if it does not."""
    for place, message in enumerate(messages):
        if message.id == id:
            return place
    raise InvalidInputError(
        f"session {session!r} has no message {id!r}: take an id from Session.messages()"
    )


def asked(messages: Sequence[Message], turn: str) -> bool:
    """Whether a question of ``turn`` is among ``messages``."""
    return any(message.turn == turn and message.role == "user" for message in messages)


def last_question(messages: Sequence[Message]) -> int | None:
    """Where the last turn begins; None if nobody asked anything."""
    places = range(len(messages) - 1, -1, -1)
    return next((place for place in places if messages[place].role == "user"), None)


def turn_at(messages: Sequence[Message], question: int) -> list[int]:
    """The places of a turn: its question, what has its turn id, and nameless answers after it.

    Answers and results of tools without a turn id belong to the question before them; answers to
    other turns do not, nor do system prompts.
    """
    turn = messages[question].turn
    return [
        place
        for place, message in enumerate(messages)
        if place == question
        or (turn and message.turn == turn)
        or (place > question and not message.turn and message.role in ("assistant", "tool"))
    ]


def _flow(messages: Sequence[Message]) -> tuple[list[Message], list[int]]:
    """What the cuts of a transcript depend on, and the cuts that system prompts carry."""
    flow = [message for message in messages if message.role != "system"]
    return flow, [cut for m in messages if m.role == "system" for cut in m.cuts]
