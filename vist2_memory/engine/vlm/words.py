"""A transcript as the turns of a chat, for a reader that was trained on chats.

Knows no template, no tokens and no model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from vist2_memory.text.transcript import LABELS, MARKS, opened, read, read_calls
from vist2_memory.types import Role

ChatRole: TypeAlias = Literal["system", "user", "assistant"]

PAGES_FOLLOW = "What was said and read so far stands on these pages, oldest first:\n"
GOES_ON = "The conversation goes on."
PAGES_END = f"The pages end here. {GOES_ON}\n\n"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a chat. The pages, if any, stand between ``before`` and ``text``, the calls of
    tools after it."""

    role: ChatRole
    text: str
    pages: int = 0
    before: str = ""
    calls: tuple[str, ...] = ()


def turns(pinned: str, pages: int, note: str, tail: str, speaks: Role) -> tuple[list[Turn], Turn]:
    """The chat up to the answer, and the beginning of the answer.

    ``pages`` of memory and the ``note`` beside them open the first turn of the user. ``tail`` may
    begin inside a message; then ``speaks`` says whose.
    """
    out: list[Turn] = []
    if pinned:
        out.append(Turn("system", "\n\n".join(text for _, text in read(pinned))))
    said = list(read_calls(opened(tail, speaks)[0]))
    _, begun, calls = said.pop() if said[-1][0] == "assistant" else ("assistant", "", ())
    if pages:
        beside = f"\n{note}\n" if note else "\n"
        out.append(Turn("user", beside + PAGES_END, pages, PAGES_FOLLOW))
    for message in said:
        turn = _as_turn(*message)
        last = out[-1] if out else None
        if last is not None and last.role == turn.role:
            out[-1] = _joined(last, turn)
        elif turn.role == "assistant" and (last is None or last.role == "system"):
            out += [Turn("user", GOES_ON), turn]  # templates want a user to begin
        else:
            out.append(turn)
    if not out or out[-1].role != "user":
        out.append(Turn("user", GOES_ON))
    return [_without_gap(turn) for turn in out], Turn("assistant", begun, calls=calls)


def _joined(turn: Turn, more: Turn) -> Turn:
    """Two turns of one role as one: templates want roles to alternate."""
    gap = "" if turn.text.endswith("\n\n") or not (turn.text and more.text) else "\n\n"
    return replace(turn, text=turn.text + gap + more.text, calls=turn.calls + more.calls)


def _without_gap(turn: Turn) -> Turn:
    """``turn``, not ending with the gap before words that never came."""
    text = turn.text.removesuffix("\n\n") if turn.text.endswith(PAGES_END) else turn.text
    return replace(turn, text=text)


def _as_turn(role: Role, text: str, calls: tuple[str, ...]) -> Turn:
    if role == "user" or role == "assistant":
        return Turn(role, text, calls=calls)
    return Turn("user", LABELS[MARKS[role]] + text)
