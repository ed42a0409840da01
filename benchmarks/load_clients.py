"""Clients of a server for benchmarks/load.py: each talks in a session of its own, and writes down
what it said and was told.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import gevent
import requests
from load_check import Conversation, Turn, delete, faults, messages
from locust import HttpUser, constant, task
from locust.exception import StopUser

URL = "/v1/chat/completions"
NAMES = ("Anna", "Chidi", "Dora", "Emeka", "Freya", "Goran", "Hana", "Kofi", "Milo", "Nadia")
THINGS = ("cat", "boat", "kettle", "bicycle", "piano", "ladder", "radio", "tent", "violin")
PLACES = ("harbour", "attic", "market", "mill", "station", "library", "bakery", "quarry")
DONE = "[DONE]"


class InterruptedAnswerError(Exception):
    """An answer that did not come to its end; it may be asked for again."""


@dataclass(slots=True)
class Tally:
    """What all clients counted and timed, in seconds."""

    conversations: list[Conversation] = field(default_factory=list)
    first_byte: list[float] = field(default_factory=list)
    turn: list[float] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    cancelled: int = 0
    deleted: int = 0
    wrong: list[str] = field(default_factory=list)
    """What was wrong with sessions that were compared and deleted before the end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the clients behave."""

    api_keys: tuple[str, ...]
    until: float
    """No turn is begun after this time of the monotonic clock."""
    max_tokens: tuple[int, int] = (16, 32)
    turns: int = 0
    """After so many turns a client goes on in a new session; 0: never."""
    deletes: float = 0.0
    """How likely it compares and deletes the one before."""
    leaves: float = 0.0
    """How likely a client goes away in the middle of an answer, or before it."""
    rough: bool = False
    """Whether server and Redis are ended meanwhile, so that no answer is no error."""
    seed: int = 0


def questions(rng: random.Random) -> Iterator[str]:
    """What a client says, without end: facts, and questions about them; no two are the same."""
    number = 0
    while True:
        name, thing, place = rng.choice(NAMES), rng.choice(THINGS), rng.choice(PLACES)
        number += 1
        code = rng.randint(100, 999)
        yield f"Note {number}: {name} keeps the {thing} with code {code} at the {place}."
        number += 1
        yield f"Question {number}: where is the {thing} of {name}?"


class Talker(HttpUser):
    """Asks one question after the other and reads each answer to its end."""

    abstract = True
    wait_time = constant(0)
    plan: Plan
    tally: Tally

    def on_start(self) -> None:
        number = len(self.tally.conversations)
        self._rng = random.Random(self.plan.seed * 100_003 + number)
        self._api_key = self.plan.api_keys[number % len(self.plan.api_keys)]
        self._begin()

    def _begin(self) -> None:
        name = f"load/{uuid.UUID(int=self._rng.getrandbits(128))}"
        self._talk = Conversation(name, self._api_key)
        self._questions = questions(self._rng)
        self.tally.conversations.append(self._talk)

    @task
    def take_turn(self) -> None:
        """One question, sent until it is answered, or given up where this client leaves."""
        if time.monotonic() >= self.plan.until:
            raise StopUser
        if self.plan.turns and len(self._talk.turns) >= self.plan.turns:
            if self._rng.random() < self.plan.deletes:
                self._delete()
            self._begin()
        turn = Turn(next(self._questions), uuid.UUID(int=self._rng.getrandbits(128)).hex)
        self._talk.turns.append(turn)
        began = time.monotonic()
        while turn.answer is None:
            leaves = self._rng.random() < self.plan.leaves
            turn.attempts += 1
            try:
                wait = self._ask(turn, self._rng.randint(0, 8) if leaves else None)
            except (InterruptedAnswerError, requests.RequestException) as error:
                wait = self._interrupted(error, leaves)
            gevent.sleep(wait)
            if leaves and self._rng.random() < 0.5:  # it is not wanted any more
                return
        self.tally.turn.append(time.monotonic() - began)

    def _delete(self) -> None:
        """Compare the session with what was said in it, and delete it."""
        self.tally.wrong += faults(self._talk, messages(self.host, self._talk))
        delete(self.host, self._talk)
        self._talk.deleted = True
        self.tally.deleted += 1

    def _interrupted(self, error: Exception, leaves: bool) -> float:
        """Note it; the seconds to wait."""
        if leaves and not isinstance(error, requests.ConnectionError):
            self.tally.cancelled += 1
            return 0.0
        known = self.tally.retries if self.plan.rough else self.tally.errors
        told = str(error) if isinstance(error, InterruptedAnswerError) else type(error).__name__
        known[told] += 1
        return self._rng.uniform(0.5, 2.0)

    def _ask(self, turn: Turn, leave_after: int | None) -> float:
        """Send the question, and read the answer or ``leave_after`` events of it; the seconds to
        wait before it is sent again, if it must be.
        """
        body = {
            "session_id": self._talk.id,
            "messages": [{"role": "user", "content": turn.question}],
            "max_tokens": self._rng.randint(*self.plan.max_tokens),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {"Authorization": f"Bearer {self._api_key}", "Idempotency-Key": turn.key}
        patience = self._rng.uniform(0.05, 2.0) if leave_after == 0 else 300.0
        began = time.monotonic()
        options = {"stream": True, "timeout": (30, patience), "catch_response": True}
        with self.client.post(URL, json=body, headers=headers, **options) as reply:
            if reply.status_code == 0:  # locust's sign for no answer at all
                reply.success()
                raise reply.error
            with closing(reply):
                if reply.status_code != 200:
                    return self._refused(reply)
                reply.success()
                self._read(reply, turn, began, leave_after)
        return 0.0

    def _refused(self, reply: Any) -> float:
        """Note it; the seconds to wait that the server asks for."""
        status, known = reply.status_code, self.tally.retries
        again = reply.headers.get("Retry-After")
        if status == 429 or (status == 503 and self.plan.rough):
            reply.success()
        else:
            known = self.tally.errors
        if again is None:
            known = self.tally.errors
        code = reply.json()["error"]["code"]
        known[f"{status} {code}"] += 1
        if known is self.tally.errors:
            reply.failure(f"{status} {code}")
        return float(again or 1.0)

    def _read(self, reply: Any, turn: Turn, began: float, leave_after: int | None) -> None:
        said, count, ended = "", 0, False
        for line in reply.iter_lines(chunk_size=None):
            if not line:
                continue
            if not count:
                turn.seen = True
                self.tally.first_byte.append(time.monotonic() - began)
            data = line.decode().removeprefix("data: ")
            count += 1
            if data == DONE:
                if not ended:
                    raise InterruptedAnswerError("an answer without its end")
                turn.answer = said
                return
            event = json.loads(data)
            if "error" in event:
                raise InterruptedAnswerError(f"in the stream: {event['error']['code']}")
            for choice in event["choices"]:
                said += choice["delta"].get("content") or ""
                if choice["finish_reason"]:
                    ended = True
                    turn.degraded += event["vist2"]["degraded"]
            if event.get("usage"):
                self.tally.tokens += event["usage"]["completion_tokens"]
            turn.began = max(turn.began, said, key=len)
            if leave_after is not None and count >= leave_after:
                raise InterruptedAnswerError("left")
        raise InterruptedAnswerError("the stream broke off")
