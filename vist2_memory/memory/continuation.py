"""What of a message list is new to a session: the rule by which no turn is doubled or lost.

With a session id the session is the truth. Let H be what the session holds and L the list that a
client sends, both without system messages and without assistant messages that say nothing. L ends
with a human message, the question, or with the results of tools. Messages are equal when role, text
and tool calls are, and results when they are of one call. The first of these that holds counts:

1. *L goes on from H*: L begins with all of H and is longer. The rest of L is added, and its end
   answered. (A new session holds nothing, so that all of L is the rest.)
2. *Unanswered, again*: H ends with L, as when a stream was cancelled or a call failed. It is
   answered; nothing is added.
3. *Answered, again*: L is the whole of H but for the answer, and has two messages or more; or it
   ends with results, and H but for the answer ends with L. The answer is given out again as it was
   stored.
4. *Something new*: what stands in L before the question, or before results of calls that H ends
   with, is the end of H. Only the rest is added. It is the rule for the usual chain, whose list is
   one human message, and for trimmed histories. One human message alone is always a new question
   (or, by 2, an unanswered one), also where the same words were said and answered before.
5. Anything else contradicts the session: ``ConflictError``, and nothing is stored; or a branch is
   begun for it, see :func:`branch_of`.

System messages stand outside the flow, wherever they are in L, since a session pins them. If L has
any, they must begin with those that the session holds: the rest is added, and others are a
conflict.

Whoever sends a list twice at once means it once: what is added, and the turn that is opened, are
named by what they follow; and a question that waits for its answer is, by 2, not asked again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vist2_memory.errors import ConflictError, InvalidMessageError
from vist2_memory.memory.entries import Entry
from vist2_memory.types import Message


@dataclass(frozen=True, slots=True)
class Added:
    """What is to be added to a session, under which id and in which turn."""

    entry: Entry
    id: str
    turn: str

    @property
    def options(self) -> dict[str, Any]:
        """For ``Session.add``, beside role and text."""
        return {"id": self.id, "turn": self.turn, "payload": self.entry.payload}


@dataclass(frozen=True, slots=True)
class Continuation:
    """What is to be added to a session, and then asked; without a question its end is answered.

    ``turn`` is that of the answer; ``again``: it was opened before.
    """

    added: tuple[Added, ...]
    question: Entry | None
    turn: str
    again: bool = False


def continuation(held: Sequence[Message], given: Sequence[Entry]) -> Continuation:
    """How the list ``given`` continues a session that holds ``held``.

    Raises ``ConflictError`` for a list that contradicts the session and ``InvalidMessageError`` for
    one that ends with neither a human message nor the results of calls.
    """
    flow = check_end(given)
    results = _results_at_the_end(flow)
    if not _answers_calls(flow, flow[len(flow) - results :]) and len(flow) > results:
        raise InvalidMessageError(
            _orphaned(flow[-1], "the assistant's message before it has no such call")
        )
    pinned = _new_system(held, given)
    logged = [message for message in held if message.role != "system"]
    known = _flow(map(Entry.of, logged))
    *before, last = flow
    asks = last.role == "user"

    if _begins_with(flow, known) and (asks or len(flow) > results):
        return _going_on(held, pinned, flow[len(known) :], lone=len(flow) == 1)
    again = Continuation(_adding(held, pinned), last if asks else None, _turn(logged), again=True)
    if _ends_with(known, flow) and logged[-1].role == last.role and (logged[-1].turn or not asks):
        return again
    if (before or not asks) and _is_answered(logged):
        answered = _flow(map(Entry.of, logged[:-1]))
        if _same(answered, flow) if asks else _ends_with(answered, flow):
            return again
    for new in range(1, max(results, 1) + 1):
        if _ends_with(known, flow[:-new]) and (asks or _answers_calls(known, flow[-new:])):
            return _going_on(held, pinned, flow[-new:], lone=not before)
    if results == len(flow):
        raise InvalidMessageError(_orphaned(flow[-1], "the session waits for no such result"))
    raise ConflictError(_contradiction(known, flow))


def branch_of(held: Sequence[Message], given: Sequence[Entry]) -> tuple[int, str]:
    """Where a list that contradicts a session leaves it: messages in common, and the way's name.

    The messages are counted with the system messages among them. Lists that leave the session by
    the same message have the same name.
    """
    flow, systems = _flow(given), _systems(given)
    said = [message.text for message in held if message.role == "system"]
    if systems and [entry.text for entry in systems[: len(said)]] != said:
        return 0, _digest("", *systems, *flow[:1])
    common = at = 0
    for place, message in enumerate(held):
        entry = Entry.of(message)
        if message.role == "system":
            at += at == place  # goes with what it stands behind
        elif not _is_passed_over(entry):
            if common == len(flow) or not _alike(flow[common], entry):
                break
            common, at = common + 1, place + 1
    return at, _digest("", *flow[common : common + 1])


def check_end(given: Sequence[Entry]) -> list[Entry]:
    """What was said in ``given``; raises ``InvalidMessageError`` unless it can be answered."""
    flow = _flow(given)
    last = flow[-1] if flow else None
    if last is None or last.role not in ("user", "tool"):
        found = f"a message of role {last.role!r}" if last else "nothing to answer"
        raise InvalidMessageError(
            f"the message list ends with {found}: its last message must be a human one or the "
            "result of a tool"
        )
    if last.role == "user" and last.silent:
        raise InvalidMessageError("the last message is empty: there is nothing to be answered")
    return flow


def _new_system(held: Sequence[Message], given: Sequence[Entry]) -> list[Entry]:
    """The system messages of ``given`` that the session does not hold yet."""
    known = [message.text for message in held if message.role == "system"]
    systems = _systems(given)
    texts = [entry.text for entry in systems]
    if texts and texts[: len(known)] != known:
        raise ConflictError(
            f"the system prompt {' '.join(texts)[:60]!r} differs from the one that the session "
            f"holds, {' '.join(known)[:60]!r}: leave it out, send the same, or use another session"
        )
    return systems[len(known) :]


def _going_on(
    held: Sequence[Message], pinned: Sequence[Entry], rest: Sequence[Entry], lone: bool
) -> Continuation:
    """Add ``rest``; a question at its end is asked instead. ``lone``: it is meant each time."""
    question = rest[-1] if rest[-1].role == "user" else None
    added = _adding(held, [*pinned, *(rest if question is None else rest[:-1])])
    if question is None:
        return Continuation(added, None, added[-1].turn)
    after = added[-1].id if added else held[-1].id if held else ""
    turn = uuid.uuid4().hex if lone else _digest(after, question)
    return Continuation(added, question, turn)


def _adding(held: Sequence[Message], entries: Iterable[Entry]) -> tuple[Added, ...]:
    """``entries`` with ids that name what they follow; an answer has the turn of its question."""
    id, turn, added = held[-1].id if held else "", _turn(held), list[Added]()
    for entry in entries:
        id = _digest(id, entry)
        if entry.role == "user":
            turn = id
        added.append(Added(entry, id, "" if entry.role == "system" else turn))
    return tuple(added)


def _turn(messages: Sequence[Message]) -> str:
    """The turn of the newest question."""
    return next((m.turn for m in reversed(messages) if m.role == "user"), "")


def _flow(entries: Iterable[Entry]) -> list[Entry]:
    """What was said: no system messages, and none of an assistant that says nothing."""
    return [e for e in entries if e.role != "system" and not _is_passed_over(e)]


def _systems(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.role == "system" and not entry.silent]


def _is_passed_over(entry: Entry) -> bool:
    return entry.role == "assistant" and entry.silent


def _alike(one: Entry, other: Entry) -> bool:
    """Whether two messages are equal; results of different calls are not."""
    ids = {entry.payload.get("tool_call_id") for entry in (one, other) if entry.role == "tool"}
    return one == other and len(ids - {None}) < 2


def _same(some: Sequence[Entry], others: Sequence[Entry]) -> bool:
    return len(some) == len(others) and all(map(_alike, some, others))


def _begins_with(flow: Sequence[Entry], known: Sequence[Entry]) -> bool:
    """Whether ``flow`` goes on from ``known``."""
    return len(flow) > len(known) and _same(flow[: len(known)], known)


def _is_answered(logged: Sequence[Message]) -> bool:
    """Whether the last message is an answer in the turn of the newest question."""
    last = logged[-1] if logged else None
    return last is not None and last.role == "assistant" and last.turn == _turn(logged) != ""


def _ends_with(known: Sequence[Entry], end: Sequence[Entry]) -> bool:
    return len(end) <= len(known) and _same(known[len(known) - len(end) :], end)


def _results_at_the_end(flow: Sequence[Entry]) -> int:
    """How many messages at the end are results of tools."""
    return next((n for n, entry in enumerate(reversed(flow)) if entry.role != "tool"), len(flow))


def _answers_calls(known: Sequence[Entry], results: Sequence[Entry]) -> bool:
    """Whether ``results`` are of calls that the assistant's message at the end of ``known`` has."""
    asked = next((entry.calls for entry in reversed(known) if entry.role != "tool"), ())
    ids = {call.id for call in asked}
    return all(result.payload.get("tool_call_id") in {None, *ids} for result in results)


def _orphaned(result: Entry, why: str) -> str:
    id = result.payload.get("tool_call_id")
    return f"the message list ends with the result of the call {id!r}, and {why}"


def _digest(after: str, *entries: Entry) -> str:
    """A name of ``entries`` that follow the message ``after``."""
    said = [
        (e.role, e.text, [(call.id, call.name, call.arguments) for call in e.calls])
        for e in entries
    ]
    text = json.dumps([after, said], ensure_ascii=True, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _contradiction(known: Sequence[Entry], flow: Sequence[Entry]) -> str:
    pairs = zip(known, flow, strict=False)
    at = next((i for i, (ours, theirs) in enumerate(pairs) if not _alike(ours, theirs)), len(flow))
    if at == len(known):
        return (
            f"the session holds all of the list, and its last message {flow[-1].text[:60]!r} was "
            "added without a turn: send what is to be asked as one message; nothing was stored"
        )
    theirs = f"has {flow[at].role} {flow[at].text[:60]!r}" if at < len(flow) else "ends"
    return (
        f"the message list contradicts the session, which holds {len(known)} messages: at message "
        f"{at + 1} the session has {known[at].role} {known[at].text[:60]!r}, the list {theirs}. "
        "Send the whole conversation, or only what is new, or use another session; nothing was "
        "stored"
    )
