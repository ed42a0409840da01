"""Spans: who is told of them, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.memories import TALK, plain
from vist2_memory.memory.streams import from_thread
from vist2_memory.tracing import Ended, span, watched, watching


class Notes:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, name: str, attributes: Mapping[str, Any]) -> Ended:
        self.lines.append(f"{name} {dict(attributes)}")

        def ended(error: BaseException | None, outcome: Mapping[str, Any]) -> None:
            self.lines.append(f"{name} ended {type(error).__name__ if error else dict(outcome)}")

        return ended


def test_nobody_is_told_where_nobody_watches() -> None:
    with span("draw") as outcome:
        outcome["pages"] = 1


def test_an_observer_is_told_of_beginning_and_end_inside_only() -> None:
    notes = Notes()
    with watching(notes):
        with span("draw", chunks=2) as outcome:
            outcome["pages"] = 3
        with watching(None), span("store"):
            pass
    with span("draw"):
        pass
    assert notes.lines == ["draw {'chunks': 2}", "draw ended {'pages': 3}"]


def test_an_error_ends_a_span_and_goes_on() -> None:
    notes = Notes()
    with pytest.raises(KeyError), watching(notes), span("store"):
        raise KeyError
    assert notes.lines[-1] == "store ended KeyError"


def steps() -> Iterator[int]:
    with span("generate"):
        yield 1
        with span("encode"):
            pass
        yield 2


def test_steps_are_watched_and_what_is_in_between_is_not() -> None:
    notes = Notes()
    for _ in watched(steps(), notes):
        with span("between"):
            pass
    assert notes.lines == ["generate {}", "encode {}", "encode ended {}", "generate ended {}"]


def test_leaving_early_ends_what_was_begun() -> None:
    notes = Notes()
    iterator = watched(steps(), notes)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert notes.lines == ["generate {}", "generate ended GeneratorExit"]


async def test_threads_of_a_stream_tell_who_watched_when_it_was_begun() -> None:
    notes = Notes()
    with watching(notes):
        stream = from_thread(steps)
    assert [step async for step in stream] == [1, 2]
    assert notes.lines[0] == "generate {}"
    assert notes.lines[-1] == "generate ended {}"


async def test_two_streams_at_once_are_told_apart() -> None:
    async def watch() -> list[str]:
        notes = Notes()
        with watching(notes):
            stream = from_thread(steps)
        async for _ in stream:
            await asyncio.sleep(0)
        return notes.lines

    first, second = await asyncio.gather(watch(), watch())
    assert len(first) == len(second) == 4


def test_a_turn_tells_of_the_log_of_tensors_and_of_the_answer() -> None:
    notes = Notes()
    session = plain("Yes, it is.").session("a")
    for role, text in TALK:
        session.add(role, text)
    with watching(notes):
        session.ask("Is it?")
    told = [line for line in notes.lines if "ended" not in line]
    assert any(line.startswith("store {'what': 'log', 'written'") for line in told)
    assert "generate {'max_tokens': 256}" in told
    assert "generate ended {'tokens': 0, 'reason': 'stop'}" in notes.lines
    assert len(notes.lines) == 2 * len(told)
