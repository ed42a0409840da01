"""Many questions at once: each session is left as if it had been asked alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.scripted import Scripted
from vist2_memory import VisualMemory
from vist2_memory.engine.batch import Batch
from vist2_memory.errors import ConflictError, InvalidInputError, InvalidMessageError
from vist2_memory.types import Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

FACTS = ["My cat is called Miso. " * 4, "", "It rained for 23 days. " * 2]
QUESTIONS = ["What is my cat called?", "Who are you?", "How long did it rain, and where?"]
SHORT = GenerationParams(max_tokens=25)


class Batched(CountingEngine):
    """Remembers how many contexts each batch had."""

    def __init__(self, folder: Path) -> None:
        self.batches: list[int] = []
        super().__init__(folder)

    def generate_batch(
        self, contexts: Sequence[Context], params: Sequence[GenerationParams]
    ) -> Batch:
        self.batches.append(len(contexts))
        return super().generate_batch(contexts, params)


@pytest.fixture
def engine(checkpoint: Path) -> Batched:
    return Batched(checkpoint)


def filled(engine: CountingEngine) -> VisualMemory:
    memory = VisualMemory.open("memory://", model=engine)
    for number, text in enumerate(FACTS):
        if text:
            memory.session(f"s{number}").add("user", text)
    return memory


def asked_of(memory: VisualMemory) -> list[tuple[Any, str]]:
    return [(memory.session(f"s{number}"), text) for number, text in enumerate(QUESTIONS)]


def held(memory: VisualMemory) -> list[list[tuple[str, str]]]:
    sessions = [memory.session(f"s{number}") for number in range(3)]
    return [[(m.role, m.text) for m in session.messages()] for session in sessions]


def test_answers_and_logs_are_those_of_one_question_after_the_other(engine: Batched) -> None:
    with filled(engine) as alone, filled(engine) as many:
        expected = [session.ask(text, params=SHORT) for session, text in asked_of(alone)]
        engine.batches.clear()
        found = many.ask_many(asked_of(many), params=SHORT)
        assert [end.text for end in found] == [end.text for end in expected]
        assert [end.usage for end in found] == [end.usage for end in expected]
        assert held(many) == held(alone)
        for (session, _), (other, _) in zip(asked_of(alone), asked_of(many), strict=True):
            assert other.chunks() == session.chunks()
        assert engine.batches == [3]


async def test_the_asynchronous_twin_answers_alike(engine: Batched) -> None:
    with filled(engine) as one, filled(engine) as other:
        expected = one.ask_many(asked_of(one), params=SHORT)
        found = await other.aask_many(asked_of(other), params=SHORT)
        assert [end.text for end in found] == [end.text for end in expected]
        assert held(other) == held(one)


def test_questions_to_one_session_are_answered_in_their_order(
    engine: Batched, script: Script
) -> None:
    with VisualMemory.open("memory://", model=engine) as memory:
        script.say("One.", "Two.", "Three.")
        found = memory.ask_many([("a", "first?"), ("b", "second?"), ("a", "third?")])
        assert [end.text for end in found] == ["One.", "Two.", "Three."]
        texts = [message.text for message in memory.session("a").messages()]
        assert texts == ["first?", "One.", "third?", "Three."]
        assert engine.batches == [2, 1]


def test_an_error_of_one_question_leaves_the_others_their_answers(
    engine: Batched, script: Script
) -> None:
    with VisualMemory.open("memory://", model=engine) as memory:
        list(memory.session("b").stream("open?", turn="t"))
        script.say("One.", "Three.", "One again.")
        asked = [("a", "first?"), ("b", "another?"), ("c", "third?"), ("d", "")]
        turns = ["1", "t", "3", "4"]
        found = memory.ask_many(asked, turns=turns, return_exceptions=True)
        kinds = [type(one) for one in found]
        assert kinds == [Finished, ConflictError, Finished, InvalidMessageError]
        assert [m.text for m in memory.session("c").messages()] == ["third?", "Three."]
        with pytest.raises(ConflictError, match="another question"):
            memory.ask_many(asked, turns=turns)
        assert [m.text for m in memory.session("a").messages()] == ["first?", "One."]


def test_an_engine_that_fails_for_one_leaves_its_question_open() -> None:
    scripted = Scripted("One.", RuntimeError("lost"), "Three.")
    with VisualMemory.open("memory://", model=scripted) as memory:
        asked = [("a", "first?"), ("b", "second?"), ("c", "third?")]
        one, two, three = memory.ask_many(asked, return_exceptions=True)
        assert (one.text, str(two), three.text) == ("One.", "lost", "Three.")
        assert [m.role for m in memory.session("b").messages()] == ["user"]


def test_each_question_may_have_parameters_of_its_own(engine: Batched) -> None:
    with filled(engine) as memory:
        engine._never |= engine.stop_ids
        params = [GenerationParams(max_tokens=count) for count in (3, 9, 5)]
        found = memory.ask_many(asked_of(memory), params=params)
        assert [end.usage.new_tokens for end in found] == [3, 9, 5]


@pytest.mark.parametrize("wrong", [{"params": [SHORT]}, {"turns": ["a", "b"]}])
def test_too_few_of_anything_are_refused_before_a_question_is_logged(
    engine: Batched, wrong: dict[str, Any]
) -> None:
    with filled(engine) as memory:
        before = held(memory)
        with pytest.raises(InvalidInputError, match="3 questions, and"):
            memory.ask_many(asked_of(memory), **wrong)
        assert held(memory) == before


def test_no_questions_have_no_answers(engine: Batched) -> None:
    with filled(engine) as memory:
        assert memory.ask_many([]) == []


async def test_cancelling_stops_all_generations_and_leaves_the_questions_open(
    engine: Batched,
) -> None:
    engine._never |= engine.stop_ids
    with filled(engine) as memory:
        long = GenerationParams(max_tokens=900)
        asking = asyncio.ensure_future(memory.aask_many(asked_of(memory), params=long))
        while not engine.batches:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [messages[-1][0] for messages in held(memory)] == ["user"] * 3
