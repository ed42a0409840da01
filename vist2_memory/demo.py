"""The main job: a week of conversation goes into a store and is asked about in a new process.

Two halves that share nothing but the store. :func:`play` adds the messages one by one and closes
the store; a new process, which runs this module, opens it again and asks. It knows neither what is
right nor when it was told. Questions and answers become part of the conversation, as in real life:
a later question is asked in a session that holds the earlier ones.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from vist2_memory.errors import InvalidInputError, Vist2Error
from vist2_memory.memory import Session, VisualMemory
from vist2_memory.memory.recollection import recollect
from vist2_memory.selection import newest_that_fit
from vist2_memory.store import InMemoryStore, Store
from vist2_memory.text.transcript import write
from vist2_memory.types import Context, Finished, GenerationParams, TextDelta

NAMESPACE = "vist2-demo"
"""The demo's own part of the store; what it holds is deleted before the demo begins."""
SESSION = "week"
ANSWER_TOKENS = 80
MAX_WORDS = 40
"""An answer that is longer than this is no answer, whatever it contains."""
ROUNDS = 5
"""How often the time to first token is taken, with and without cached tensors."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what is right. ``day``: when it was told, None if it never was."""

    question: str
    expected: str
    accept: tuple[str, ...]
    stale: tuple[str, ...]
    kind: str
    day: str | None


@dataclass(frozen=True, slots=True)
class Script:
    """What is said, as (role, text), and what is asked."""

    title: str
    messages: tuple[tuple[str, str], ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """The conversation is in the store, and the store is closed. ``store`` names no password."""

    messages: int
    store: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A question is asked; its answer follows as ``TextDelta`` events."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with the whole answer. ``first_token_s``: seconds from asking to the first token.

    ``degraded`` and ``left_out_tokens`` as in ``Finished``.
    """

    question: str
    expected: str
    answer: str
    right: bool
    kind: str
    day: str | None
    first_token_s: float
    cached_visual_tokens: int
    left_out_tokens: int
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How many answers were right, and what the memory cost.

    ``text_tokens`` are those that ``visual_tokens`` stand for; ``tail_tokens`` are still text. All
    measures are of the conversation as it was played, before the first question. ``kv_bytes``
    counts visual tokens and tail, ``kv_bytes_text`` the same transcript as text. The times to first
    token are medians: with tensors from the store, and with all of them encoded.
    """

    questions: int
    right: int
    text_tokens: int
    visual_tokens: int
    compression_ratio: float
    characters_per_visual_token: float
    kv_bytes: int
    kv_bytes_text: int
    ttft_cached_s: float
    ttft_uncached_s: float
    tail_tokens: int
    cached_visual_tokens: int
    messages: int
    model: str
    store: str
    answers: tuple[Answered, ...]


DemoEvent: TypeAlias = Played | Asking | TextDelta | Answered | DemoResult


def read_script(path: Path | None = None) -> Script:
    """The committed conversation and its questions, or those in the file at ``path``."""
    assets = resources.files("vist2_memory").joinpath("assets")
    text = (path or assets.joinpath("demo.json")).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    messages = [m for day in found["days"] for m in day["messages"]]
    questions = (
        Question(**{**q, "accept": tuple(q["accept"]), "stale": tuple(q["stale"])})
        for q in found["questions"]
    )
    return Script(
        found["title"], tuple((m["role"], m["content"]) for m in messages), tuple(questions)
    )


def run_demo(
    store: str | None = None,
    model: str | Path | None = None,
    *,
    script: Script | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[DemoEvent]:
    """Play, close, ask in a new process: ``Played`` first, ``DemoResult`` last.

    ``store``: the URL of a store that outlives a process; without it, a SQLite file in a temporary
    folder, deleted at the end. ``progress`` is called with the messages played and all there are.
    Raises what ``VisualMemory.open`` raises, and ``InvalidInputError`` for ``memory://``.
    """
    script = script or read_script()
    with tempfile.TemporaryDirectory(prefix="vist2-demo-") as folder:
        url = store or f"sqlite:///{Path(folder, 'demo.db').as_posix()}"
        played = play(url, model, script, progress)
        yield played
        answers: list[Answered] = []
        figures: dict[str, Any] = {}
        for event in _ask_in_new_process(url, model, script):
            if isinstance(event, dict):
                figures = event
                continue
            yield event
            answers += [event] if isinstance(event, Answered) else []
    yield DemoResult(
        questions=len(answers),
        right=sum(answer.right for answer in answers),
        messages=played.messages,
        store=played.store,
        answers=tuple(answers),
        **figures,
    )


# The first half: the conversation


def play(
    url: str,
    model: str | Path | None,
    script: Script,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Played:
    """Add the messages to an empty session, one by one as they were said, and close the store."""
    with VisualMemory.open(url, model=model, namespace=NAMESPACE) as memory:
        if isinstance(memory.store, InMemoryStore):
            raise InvalidInputError(
                "the demo opens its store again in a new process, where memory:// is empty: name "
                "another store, or none for a temporary file"
            )
        for info in memory.sessions():
            memory.session(info.scope.name).delete()
        session = memory.session(SESSION)
        for done, (role, text) in enumerate(script.messages, 1):
            session.add(role, text)
            progress(done, len(script.messages))
        return Played(len(script.messages), memory.store.describe())


# The second half, seen from the first process


def _ask_in_new_process(
    url: str, model: str | Path | None, script: Script
) -> Iterator[Asking | TextDelta | Answered | dict[str, Any]]:
    """Start :func:`main` in a process of its own and give out what it says, judged.

    A dictionary holds the measures. The store is named by the environment, since a command line,
    which others can read, is no place for a URL with a password.
    """
    environment = {**os.environ, "VIST2_STORE": url}
    if model:
        environment["VIST2_MODEL"] = str(model)
    questions = json.dumps([q.question for q in script.questions])
    with _process([sys.executable, "-m", "vist2_memory.demo"], environment, questions) as lines:
        number = 0
        for line in lines:
            kind, value = json.loads(line)
            if kind == "error":
                raise Vist2Error(value)
            if kind == "figures":
                yield value
            elif kind == "delta":
                yield TextDelta(value)
            else:
                question = script.questions[number]
                if kind == "asking":
                    yield Asking(number + 1, question)
                else:
                    number += 1
                    yield _judged(question, value)
    if number < len(script.questions):
        raise Vist2Error(f"the new process ended after {number} answers")


@contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], given: str
) -> Iterator[Iterable[str]]:
    """The lines that ``command`` writes while it runs; it is ended with the ``with`` block."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it ended already; the lines will tell
                process.stdin.write(given)
                process.stdin.close()
            yield process.stdout
        except BaseException:
            process.kill()
            raise


def _judged(question: Question, answer: dict[str, Any]) -> Answered:
    return Answered(
        question=question.question,
        expected=question.expected,
        right=is_right(question, answer["answer"]),
        kind=question.kind,
        day=question.day,
        **{**answer, "degraded": tuple(answer["degraded"])},
    )


def is_right(question: Question, answer: str) -> bool:
    """Whether ``answer`` gives an accepted value, no stale one, and is short enough to be one.

    Values are compared as whole words, without regard to case. What was never told is answered
    rightly by not knowing it.
    """
    if len(answer.split()) > MAX_WORDS:
        return False
    accept = question.accept
    if question.kind == "unanswerable":
        accept = (*accept, "don't know", "do not know")
    return any(_says(answer, value) for value in accept) and not any(
        _says(answer, value) for value in question.stale
    )


def _says(answer: str, value: str) -> bool:
    """Whether ``value`` stands in ``answer`` as whole words and numbers: 64 is not in 64.50."""
    said, wanted = (" ".join(s.replace("\u2019", "'").split()) for s in (answer, value))
    pattern = rf"(?<!\w)(?<!\d[.:,]){re.escape(wanted)}(?!\w)(?![.:,]\d)"
    return re.search(pattern, said, re.IGNORECASE) is not None


# The second half, in its own process


def main() -> None:
    """Answer the questions on standard input, a JSON list, with JSON lines of [kind, value]."""
    try:
        with redirect_stdout(sys.stderr), VisualMemory.open(namespace=NAMESPACE) as memory:
            _answer_all(memory.session(SESSION), memory, json.load(sys.stdin))
    except Vist2Error as error:
        _say("error", str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _say(kind: str, value: Any) -> None:
    assert sys.__stdout__ is not None  # ours alone: what libraries print goes to standard error
    sys.__stdout__.write(json.dumps([kind, value]) + "\n")
    sys.__stdout__.flush()


def _answer_all(session: Session, memory: VisualMemory, questions: Sequence[str]) -> None:
    _say("figures", measure(memory, session, questions[0]))
    params = GenerationParams(max_tokens=ANSWER_TOKENS)
    for question in questions:
        _say("asking", question)
        for event in session.stream(question, params=params):
            if isinstance(event, TextDelta):
                _say("delta", event.text)
            elif isinstance(event, Finished):
                _say(
                    "answer",
                    {
                        "answer": event.text,
                        "first_token_s": event.timing.first_token_s,
                        "cached_visual_tokens": event.usage.cached_visual_tokens,
                        "left_out_tokens": event.left_out_tokens,
                        "degraded": event.degraded,
                    },
                )


def measure(memory: VisualMemory, session: Session, question: str) -> dict[str, Any]:
    """What the session's memory costs now; ``question`` is only tried on it, not added."""
    engine, chunks, tail = memory.engine, session.chunks(), session.tail()
    found = recollect(memory.store, engine, session.scope, chunks)
    visual_tokens = sum(map(len, found.visual))
    text_tokens = sum(chunk.tokens for chunk in chunks)
    tail_tokens = engine.chunker.count(tail)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS + 1):
        for cached in times:
            store = memory.store if cached else InMemoryStore()
            times[cached].append(_first_token_s(memory, session, question, store))
    cached_s, uncached_s = (statistics.median(taken[1:]) for taken in times.values())
    return {
        "text_tokens": text_tokens,
        "visual_tokens": visual_tokens,
        "compression_ratio": text_tokens / max(1, visual_tokens),
        "characters_per_visual_token": sum(len(c.text) for c in chunks) / max(1, visual_tokens),
        "kv_bytes": engine.spec.kv_bytes_per_token * (visual_tokens + tail_tokens),
        "kv_bytes_text": engine.spec.kv_bytes_per_token * (text_tokens + tail_tokens),
        "ttft_cached_s": cached_s,
        "ttft_uncached_s": uncached_s,
        "tail_tokens": tail_tokens,
        "cached_visual_tokens": found.cached_visual_tokens,
        "model": engine.spec.model,
    }


def _first_token_s(memory: VisualMemory, session: Session, question: str, store: Store) -> float:
    """Seconds to the first token of an answer when tensors come from ``store``, if it has them."""
    engine, chunks, tail = memory.engine, session.chunks(), session.tail()
    started = time.perf_counter()
    visual = recollect(store, engine, session.scope, chunks).visual
    fitting = visual[newest_that_fit(list(map(len, visual)), engine.spec.max_visual_tokens) :]
    prompt = tail + write([("user", question), ("assistant", "")])
    alone = f"first token at {started}"  # what was kept of the last time is not used
    context = Context("", fitting, prompt, cache_salt=alone)
    for _ in engine.generate(context, GenerationParams(max_tokens=1)):
        break
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
