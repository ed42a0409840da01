"""What of a message list is new to a session: the rule by which no turn is doubled or lost.

With a session id the session is the truth. Let H be what the session holds and L the list that a
chain sends, both without system messages and without assistant messages that say nothing. L ends
with a human message, the question. Messages are equal when role, text and tool calls are. The first
of these that holds counts:

1. *L goes on from H*: L begins with all of H and is longer. The rest of L is added, and its last
   message asked. (A new session holds nothing, so that all of L is the rest.)
2. *An unanswered question again*: H ends with L, as when a stream was cancelled or a call failed.
   The question is answered; nothing is added.
3. *An answered question again*: L is the whole of H but for the answer, and has two messages or
   more. The answer is given out again as it was stored.
4. *A new question*: what stands before the question in L is the end of H. Only the question is
   added. It is the rule for the usual chain, whose list is one human message, and for trimmed
   histories. One message alone is always a new question (or, by 2, an unanswered one), also where
   the same words were said and answered before.
5. Anything else contradicts the session: ``ConflictError``, and nothing is stored.

System messages stand outside the flow, wherever they are in L, since a session pins them. If L has
any, they must begin with those that the session holds: the rest is added, and others are a
conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_vist2.messages import Entry
from vist2_memory.errors import ConflictError, InvalidMessageError
from vist2_memory.types import Message


@dataclass(frozen=True, slots=True)
class Continuation:
    """What is to be added to a session, and then asked; ``turn`` names a turn that was opened."""

    added: tuple[Entry, ...]
    question: str
    turn: str | None = None


def continuation(held: Sequence[Message], given: Sequence[Entry]) -> Continuation:
    """How the list ``given`` continues a session that holds ``held``.

    Raises ``ConflictError`` for a list that contradicts the session and ``InvalidMessageError`` for
    one that does not end with a human message.
    """
    flow = [entry for entry in given if entry.role != "system" and not _is_passed_over(entry)]
    if not flow or flow[-1].role != "user":
        last = f"a message of role {flow[-1].role!r}" if flow else "nothing to answer"
        raise InvalidMessageError(
            f"the message list ends with {last}: its last message must be a human one"
        )
    if flow[-1].silent:
        raise InvalidMessageError("the last message is empty: there is nothing to be answered")
    pinned = _new_system(held, [e for e in given if e.role == "system" and not e.silent])
    logged = [message for message in held if message.role != "system"]
    known = _said(logged)
    *before, question = flow

    if flow[: len(known)] == known and len(flow) > len(known):
        return Continuation((*pinned, *flow[len(known) : -1]), question.text)
    if _ends_with(known, flow) and logged[-1].role == "user" and logged[-1].turn:
        return Continuation(pinned, question.text, logged[-1].turn)
    if before and _answers(logged) and flow == _said(logged[:-1]):
        return Continuation(pinned, question.text, logged[-1].turn)
    if _ends_with(known, before):
        return Continuation(pinned, question.text)
    raise ConflictError(_contradiction(known, flow))


def _new_system(held: Sequence[Message], given: Sequence[Entry]) -> tuple[Entry, ...]:
    """The system messages of ``given`` that the session does not hold yet."""
    known = [message.text for message in held if message.role == "system"]
    texts = [entry.text for entry in given]
    if texts and texts[: len(known)] != known:
        raise ConflictError(
            f"the system prompt {' '.join(texts)[:60]!r} differs from the one that the session "
            f"holds, {' '.join(known)[:60]!r}: leave it out, send the same, or use another session"
        )
    return tuple(given[len(known) :])


def _said(messages: Sequence[Message]) -> list[Entry]:
    """What was said in ``messages``: those of an assistant that said nothing are passed over."""
    entries = map(Entry.of, messages)
    return [entry for entry in entries if not _is_passed_over(entry)]


def _is_passed_over(entry: Entry) -> bool:
    return entry.role == "assistant" and entry.silent


def _ends_with(known: Sequence[Entry], end: Sequence[Entry]) -> bool:
    return len(end) <= len(known) and list(known[len(known) - len(end) :]) == list(end)


def _answers(logged: Sequence[Message]) -> bool:
    """Whether the last message is the answer to the one before it."""
    if len(logged) < 2:
        return False
    question, answer = logged[-2:]
    roles = (question.role, answer.role)
    return roles == ("user", "assistant") and bool(answer.turn) and question.turn == answer.turn


def _contradiction(known: Sequence[Entry], flow: Sequence[Entry]) -> str:
    pairs = zip(known, flow, strict=False)
    at = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), len(flow))
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
