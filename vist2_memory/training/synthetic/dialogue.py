"""What a synthetic conversation is: messages, and the questions that are asked after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "heldout"]


@dataclass(frozen=True)
class Question:
    """A recall question; `value` is the exact string that a right answer contains."""

    text: str
    answer: str
    """Full sentence, the training target: `You said: "my cat is called Miso."`."""
    value: str
    """The string that must occur in a right answer; "" when unanswerable."""
    kind: str
    answerable: bool
    turn: int
    """Index of the message that holds the (newest) value; -1 if unanswerable."""
    stale: tuple[str, ...] = ()
    """Older values of a changed fact, oldest first: a right answer has none of them."""


@dataclass(frozen=True)
class Conversation:
    """Alternating (role, content) messages, role "user" or "assistant", and questions on them."""

    messages: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]
