"""Lists of messages, as chat clients send them, answered by a session.

What of a list is new to the session says ``continuation``; here it is added, and the turn that the
list means is opened. So a client may send the whole conversation with each call, or what is new
alone, and may send either again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vist2_memory.errors import ConflictError
from vist2_memory.memory.continuation import Continuation, branch_of, continuation
from vist2_memory.memory.entries import Entry
from vist2_memory.memory.session import Session
from vist2_memory.types import GenerationEvent, Message

if TYPE_CHECKING:
    from vist2_memory.memory.memory import VisualMemory

OnConflict: TypeAlias = Literal["raise", "fork"]
"""What becomes of a list that contradicts its session: an error, or a branch of the session."""


@dataclass(frozen=True, slots=True)
class ListTurn:
    """A turn that a list of messages means; all but its question is in the session."""

    session: Session
    """The session that was named, or a branch of it."""
    plan: Continuation

    def stream(self, **options: Any) -> Iterator[GenerationEvent]:
        """Answer, as `Session.stream`, or `Session.resume_stream` after results of tools."""
        if self.plan.question is None:
            return self.session.resume_stream(turn=self.plan.turn, **options)
        return self.session.stream(self.plan.question.text, **self._asked(), **options)

    def astream(self, **options: Any) -> AsyncGenerator[GenerationEvent, None]:
        """:meth:`stream`, without blocking the event loop."""
        if self.plan.question is None:
            return self.session.aresume_stream(turn=self.plan.turn, **options)
        return self.session.astream(self.plan.question.text, **self._asked(), **options)

    def _asked(self) -> dict[str, Any]:
        assert self.plan.question is not None
        return {"turn": self.plan.turn, "payload": self.plan.question.payload}


def open_turn(
    memory: VisualMemory, session_id: str, entries: Sequence[Entry], on_conflict: OnConflict
) -> ListTurn:
    """Add to the session what is new to it in ``entries``, but for the question.

    Raises ``ConflictError`` for a list that contradicts the session, unless it may go on in a
    branch, ``InvalidMessageError`` for one that asks nothing, and what `Session.add` raises.
    """
    session = memory.session(session_id)
    while (plan := _plan(held := session.messages(), entries, on_conflict)) is None:
        name, at = _branch(session, held, entries)
        if at is not None:
            with suppress(ConflictError):  # it was begun before
                session.branch(name, at=at)
        session = memory.session(name)
    for new in plan.added:
        session.add(new.entry.role, new.entry.text, **new.options)
    return ListTurn(session, plan)


async def aopen_turn(
    memory: VisualMemory, session_id: str, entries: Sequence[Entry], on_conflict: OnConflict
) -> ListTurn:
    """:func:`open_turn`, without blocking the event loop."""
    session = await asyncio.to_thread(memory.session, session_id)
    while (plan := _plan(held := await session.amessages(), entries, on_conflict)) is None:
        name, at = _branch(session, held, entries)
        if at is not None:
            with suppress(ConflictError):  # it was begun before
                await session.abranch(name, at=at)
        session = memory.session(name)
    for new in plan.added:
        await session.aadd(new.entry.role, new.entry.text, **new.options)
    return ListTurn(session, plan)


def _plan(
    held: Sequence[Message], entries: Sequence[Entry], on_conflict: OnConflict
) -> Continuation | None:
    """How ``entries`` go on from what the session holds; None where they do in a branch."""
    try:
        return continuation(held, entries)
    except ConflictError:
        if on_conflict == "raise":
            raise
        return None


def _branch(
    session: Session, held: Sequence[Message], entries: Sequence[Entry]
) -> tuple[str, str | None]:
    """Which branch of ``session`` a list that contradicts it is of, and where it begins.

    None: with what the list has, since the two have nothing in common.
    """
    common, way = branch_of(held, entries)
    return f"{session.id}~{way[:16]}", held[common - 1].id if common else None


def as_messages(entries: Sequence[Entry]) -> list[Message]:
    """``entries`` as a model reads them; who says nothing is left out."""
    return [
        Message(entry.role, entry.text, payload=entry.payload)
        for entry in entries
        if not (entry.silent and entry.role in ("assistant", "system"))
    ]
