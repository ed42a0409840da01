"""Memories whose store goes away while they answer, and the outbox that they have."""

from __future__ import annotations

from pathlib import Path

from tests.support.plain import FailingStore, PlainEngine
from vist2_memory import Session, VisualMemory
from vist2_memory.types import Finished

QUESTION, ANSWER = "What is my cat called?", "Your cat is called Miso."


def opened(
    store: FailingStore, file: Path | None, *answers: str, namespace: str = "default"
) -> VisualMemory:
    engine = PlainEngine(answers or [ANSWER])
    return VisualMemory.open(store, model=engine, outbox=file, namespace=namespace)


def ask_while_away(
    session: Session, store: FailingStore, question: str = QUESTION, turn: str = "t1"
) -> Finished:
    """The answer of a turn after whose question the store takes nothing more."""
    events = session.stream(question, turn=turn)
    next(events)
    store.broken.add("append")
    *_, end = events
    assert isinstance(end, Finished)
    return end
