"""Whether a server's logs are what its clients said and were told, message by message."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests


@dataclass(slots=True)
class Turn:
    """What a client asked once, however often it sent it."""

    question: str
    key: str
    """The ``Idempotency-Key``."""
    attempts: int = 0
    began: str = ""
    """The longest beginning of an answer that an attempt brought."""
    answer: str | None = None
    """The whole answer; None of a turn that the client gave up."""
    seen: bool = False
    """Whether an answer began, so that the question must be in the log."""
    degraded: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """One session as its client knows it."""

    id: str
    api_key: str
    turns: list[Turn] = field(default_factory=list)
    deleted: bool = False


def patiently(method: str, url: str, api_key: str, **options: Any) -> Any:
    """What the server answers, asked again while it or its Redis is away."""
    headers = {"Authorization": f"Bearer {api_key}"}
    while True:
        with suppress(requests.ConnectionError, requests.Timeout):
            reply = requests.request(method, url, headers=headers, timeout=60, **options)
            if reply.status_code not in (429, 503):
                reply.raise_for_status()
                return reply.json()
        time.sleep(1.0)


def messages(url: str, talk: Conversation) -> list[dict[str, Any]]:
    """The log of a session, as the server gives it out."""
    found: list[dict[str, Any]] = []
    place = f"{url}/v1/sessions/{quote(talk.id, safe='')}/messages"
    while True:
        page = patiently("GET", place, talk.api_key, params={"offset": len(found)})
        found += page["data"]
        if not page["has_more"]:
            return found


def delete(url: str, talk: Conversation) -> None:
    """Delete a session."""
    patiently("DELETE", f"{url}/v1/sessions/{quote(talk.id, safe='')}", talk.api_key)


def sessions(url: str, api_key: str) -> set[str]:
    """The sessions that a key's namespace has."""
    found: list[str] = []
    while True:
        after = {"limit": 1000, "after": found[-1] if found else ""}
        page = patiently("GET", f"{url}/v1/sessions", api_key, params=after)
        found += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            return set(found)


def faults(talk: Conversation, rows: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with a log, in words; empty if nothing is.

    Each question is there once, in the order in which it was asked, and behind it its answer, word
    for word. Of a turn that was given up the answer may be missing, or is there whole; and if it
    was given up before an answer began, the question may be missing too.
    """
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row["role"] == "user":
            places.setdefault(row["content"], []).append(place)
    found: list[str] = []
    asked: list[tuple[int, Turn]] = []
    for number, turn in enumerate(talk.turns):
        at = places.pop(turn.question, [])
        if len(at) > 1:
            found.append(f"{talk.id}: question {number} is there {len(at)} times")
        if not at and (turn.seen or turn.answer is not None):
            found.append(f"{talk.id}: question {number} is lost")
        if at:
            asked.append((at[0], turn))
    if places:
        found.append(f"{talk.id}: {len(places)} questions that nobody asked")
    if [at for at, _ in asked] != sorted(at for at, _ in asked):
        found.append(f"{talk.id}: questions in another order")
    answers: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["role"] != "user":
            answers.setdefault(row["turn"], []).append(row)
    for at, turn in asked:
        told = answers.pop(rows[at]["turn"], [])
        found += [f"{talk.id}: at {at}: {fault}" for fault in _answer_faults(turn, told, rows, at)]
    if answers:
        found.append(f"{talk.id}: {len(answers)} answers to nothing")
    return found


def _answer_faults(
    turn: Turn, told: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], at: int
) -> Iterable[str]:
    if len(told) > 1:
        yield f"{len(told)} answers"
    if turn.answer is None:
        if told and not told[0]["content"].startswith(turn.began):
            yield f"an answer that began as {turn.began!r} is {told[0]['content']!r}"
        return
    if not told:
        yield "the answer is lost"
    elif told[0]["content"] != turn.answer:
        yield f"the answer is {told[0]['content']!r} and was told as {turn.answer!r}"
    elif rows[at + 1 : at + 2] != [told[0]]:
        yield "the answer does not stand behind its question"
    elif not turn.answer.startswith(turn.began):
        yield f"an answer that began as {turn.began!r} was told as {turn.answer!r}"


def check(url: str, talks: Sequence[Conversation]) -> tuple[dict[str, int], list[str]]:
    """Compare all logs that were not deleted; how much was compared, and what is wrong."""
    compared: Counter[str] = Counter(sessions=0, messages=0)
    wrong: list[str] = []
    kept: dict[str, set[str]] = {}
    for talk in talks:
        compared["turns_answered"] += sum(turn.answer is not None for turn in talk.turns)
        compared["turns_given_up"] += sum(turn.answer is None for turn in talk.turns)
        if talk.deleted:
            continue
        rows = messages(url, talk)
        if rows:
            kept.setdefault(talk.api_key, set()).add(talk.id)
        compared["sessions"] += 1
        compared["messages"] += len(rows)
        compared["given_up_and_answered"] += _answered_anyway(talk, rows)
        wrong += faults(talk, rows)
    for api_key, ids in kept.items():
        odd = sessions(url, api_key) ^ ids
        wrong += [f"{id}: it is there and should not, or not there and should" for id in odd]
    return dict(compared), wrong


def _answered_anyway(talk: Conversation, rows: Sequence[dict[str, Any]]) -> int:
    """How many turns that the client gave up have an answer."""
    answered = {row["turn"] for row in rows if row["role"] == "assistant"}
    given_up = {turn.question for turn in talk.turns if turn.answer is None}
    return sum(row["turn"] in answered for row in rows if row["content"] in given_up)
