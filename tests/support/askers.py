"""Processes that talk to a session, for `multiprocessing`: they must be importable. No torch."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.errors import StoreError, StoreUnavailableError
from vist2_memory.memory.recollection import recollect
from vist2_memory.store import InMemoryStore, Scope, Store, open_store
from vist2_memory.types import Message

QUESTION, ANSWER = "What is number {}?", "It is {}, you told me so."


def ask_on_and_on(
    url: str, outbox: Path, namespace: str, name: str, acknowledged: Connection
) -> None:
    """Ask until killed, of a store that often fails; each number is sent once it is answered."""
    store = open_store(url)
    break_often(store)
    engine = PlainEngine()
    memory = VisualMemory.open(store, model=engine, namespace=namespace, outbox=outbox)
    for number in itertools.count():
        while True:
            engine.answers = deque([ANSWER.format(number)])
            try:
                memory.session(name).ask(QUESTION.format(number), turn=str(number))
                break
            except StoreUnavailableError:
                pass
        acknowledged.send(number)


def break_often(store: Store) -> None:
    """From now on the store is away for a tenth of a second now and then, or acknowledges nothing.

    Each time it is back, and before each append, it may go away again: answers often wait.
    """
    append, back = store.append, 0.0

    def failing(scope: Scope, messages: Sequence[Message], **seen: Any) -> int:
        nonlocal back
        if time.monotonic() >= back and random.random() < 0.3:
            back = time.monotonic() + 0.1
        if time.monotonic() < back:
            time.sleep(0.005)
            raise StoreUnavailableError("the store is away")
        count = append(scope, messages, **seen)
        if random.random() < 0.15:
            raise StoreUnavailableError("the acknowledgement was lost")
        return count

    store.append = failing  # type: ignore[method-assign]


def check_answers(memory: VisualMemory, name: str, acknowledged: int) -> int:
    """Turns are whole, in order, none twice, none lost, every tensor is good; how many there are.

    The last question may be open, for it was asked by a process that was killed.
    """
    session = memory.session(name)
    texts = [message.text for message in session.messages()]
    turns = len(texts) // 2
    expected = [form.format(n) for n in range(turns) for form in (QUESTION, ANSWER)]
    assert texts == expected + [QUESTION.format(turns)] * (len(texts) % 2)
    assert acknowledged <= turns <= acknowledged + 1
    recalled = recollect(memory.store, memory.engine, session.scope, session.chunks())
    assert recalled.degraded == ()
    return turns


def die_with_an_answer(url: str, outbox: Path, told: Connection) -> None:
    """Answer, with the server taken away by the other side meanwhile; then die by kill -9."""
    memory = VisualMemory.open(url, model=PlainEngine([ANSWER]), outbox=outbox)
    events = memory.session("s").stream(QUESTION, turn="t")
    next(events)
    told.send("asked")
    told.recv()
    *_, end = events
    told.send(end)
    os.kill(os.getpid(), signal.SIGKILL)


def keep_one(outbox: Path, number: int, go: Connection) -> None:
    """Keep an answer in an outbox that many make at the same time."""
    from vist2_memory.store.outbox import Outbox

    go.recv()
    question = Message("user", "What?", id=f"{number}:q")
    answer = Message("assistant", f"Number {number}.", id=f"{number}:a")
    Outbox(outbox).keep(InMemoryStore(), Scope("n", "session", "s"), question, answer)


def write_together(url: str, namespace: str, who: int, turns: int, go: Connection) -> None:
    """Write ``turns`` turns into a session that others write to at the same time.

    Every other one only if nobody came in between, which is tried until it holds.
    """
    scope = Scope(namespace, "session", "s")
    with open_store(url) as store:
        go.recv()
        for number in range(turns):
            id = f"{who}-{number}"
            turn = [
                Message("user", f"Question {id}", id=f"{id}:q", turn=id),
                Message("assistant", f"Answer {id}", id=f"{id}:a", turn=id),
            ]
            if number % 2:
                store.append(scope, turn)
                continue
            while True:
                try:
                    store.append(scope, turn, expected=store.count(scope))
                    break
                except StoreError:
                    continue
