"""A session follows a graph's state: append-only, and each branch of the state has its own.

Let H be the messages that a session holds and S the old messages of the state, known again by id
and by what they say, and p the number of messages that both begin with:

* p is all of S: nothing is written. H may be longer, as S is of an earlier checkpoint: of H, the
  first p messages are read.
* p is all of H: the rest of S is appended.
* Both go on differently after p: a branch of the state. It has a session of its own, which begins
  with what is common and is named after the thread and S up to the first message that differs.
  There the same is asked again.

So no session ever holds a message that another branch said, without an index of branches; and what
is read was compared before, so that no name that is taken by something else can do harm.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from langchain_vist2.agents.mirrored import Mark, digest, held_mark, mirroring
from vist2_memory.errors import ConflictError, InvalidInputError
from vist2_memory.memory import Session, VisualMemory
from vist2_memory.types import Message

BRANCH = "~"
"""Parts a thread's name from that of a branch."""
_ATTEMPTS = 20
"""How often is looked again after another writer came first."""
_LONGEST = 900
"""Bytes that a thread's name may have; the name of a session has at most 1,024."""

Writer = Callable[[BaseMessage], Message]
"""Makes of a message what the session stores."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done with a session: ``"read"``, ``"append"`` or ``"branch"``, after ``at``."""

    do: str
    at: int


def step(held: Sequence[Mark | None], state: Sequence[Mark]) -> Step:
    """How a session that holds ``held`` follows ``state``."""
    at = common(held, state)
    if at == len(state):
        return Step("read", at)
    return Step("append" if at == len(held) else "branch", at)


def common(held: Sequence[Mark | None], state: Sequence[Mark]) -> int:
    """How many messages both begin with."""
    pairs = enumerate(zip(state, held, strict=False))
    shorter = min(len(held), len(state))
    return next((at for at, (mark, other) in pairs if not mark.matches(other)), shorter)


def follow(
    memory: VisualMemory,
    thread: str,
    messages: Sequence[BaseMessage],
    marks: Sequence[Mark],
    write: Writer,
) -> Session:
    """The session of ``thread`` whose first messages mirror ``messages``, written where needed.

    ``marks`` are theirs. Raises ``ConflictError`` where other writers always came first, and what
    ``Session.extend`` and ``Session.branch`` raise.
    """
    name = root = session_name(thread)
    parent: tuple[Session, str] | None = None  # of a branch, and the last message in common
    ids = _ids(marks)
    depth = attempts = 0
    while attempts < _ATTEMPTS:
        session = memory.session(name)
        held = session.held()
        then = step([held_mark(message) for message in held], marks)
        if then.do == "read":
            return session
        if then.do == "branch":
            depth += 1
            parent = (session, held[then.at - 1].id) if then.at else None
            name = branch_name(root, marks[: then.at + 1], depth)
            continue
        attempts += 1
        if not held and parent is not None:
            (source, at), parent = parent, None
            with suppress(ConflictError, InvalidInputError):  # it is there now; the source is gone
                source.branch(name, at)
            continue
        rest = zip(messages[then.at :], marks[then.at :], ids[then.at :], strict=True)
        mirrors = [mirroring(write(message), of, id) for message, of, id in rest]
        with suppress(ConflictError):
            session.extend(mirrors, after=then.at)
            return session
    raise ConflictError(f"thread {thread!r}: other writers came first {_ATTEMPTS} times; try again")


def session_name(thread: str) -> str:
    """The name of the first session of ``thread``; of a very long one, a digest."""
    data = thread.encode("utf-8", "replace")
    if len(data) <= _LONGEST and "\0" not in thread:
        return data.decode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def branch_name(root: str, marks: Sequence[Mark], depth: int) -> str:
    """The name of the session of a branch that begins with what has ``marks``.

    ``depth``: the how manieth session it is that was looked at; no name comes twice.
    """
    return f"{root}{BRANCH}{digest([*marks, Mark(None, str(depth))])}"


def sessions_of(memory: VisualMemory, thread: str) -> list[str]:
    """The names of the sessions of ``thread``, branches too."""
    root = session_name(thread)
    ours = re.compile(f"{re.escape(root)}({BRANCH}[0-9a-f]{{16}})?")
    names = (info.scope.name for info in memory.sessions())
    return [name for name in names if ours.fullmatch(name)]


def _ids(marks: Sequence[Mark]) -> list[str]:
    """An id for each message of a session, all different: its own, or one by place and digest."""
    ids: list[str] = []
    seen: set[str] = set()
    for place, of in enumerate(marks):
        id = of.id if of.id and of.id not in seen else f"{place}:{of.digest[:16]}"
        seen.add(id)
        ids.append(id)
    return ids
