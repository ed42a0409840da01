"""Answering again: the old answer stands until the new one is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, engine_of, plain, said, tell, whole
from tests.support.revised import check_whole, ids
from tests.support.tokenizers import PROSE
from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import write
from vist2_memory.types import Chunk, ChunkFolded, Context, Finished, GenerationEvent, TextDelta

pytest_plugins = ("tests.support.fixtures",)


def test_an_answer_is_replaced_by_a_new_one() -> None:
    memory = plain("Old " + ANSWER, "New " + ANSWER)
    session = tell(memory.session("a"))
    session.ask("And now? " + PROSE, turn="t")
    before = session.messages()
    end = session.regenerate()
    assert end.text == "New " + ANSWER
    assert session.messages()[:-1] == before[:-1]
    answer = session.messages()[-1]
    assert (answer.id, answer.role, answer.turn, answer.text) == (
        "t:a", "assistant", "t", "New " + ANSWER,
    )  # fmt: skip
    first, again = engine_of(memory).contexts
    assert (first.pinned, first.tail, first.sources) == (again.pinned, again.tail, again.sources)
    check_whole(memory, session)
    assert session.ask("And now? " + PROSE, turn="t").text == "New " + ANSWER


def test_where_generating_again_fails_or_is_left_the_old_answer_stays() -> None:
    memory = plain("Old.", "one two three")
    session, engine = memory.session("a"), engine_of(memory)
    session.ask("Who?")
    before = session.messages()

    def breaks(*_: object) -> Iterator[TextDelta]:
        yield TextDelta("Ne")
        raise RuntimeError("the power went out")

    real, engine.generate = engine.generate, breaks  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power"):
        session.regenerate()
    engine.generate = real  # type: ignore[method-assign]
    events = session.regenerate_stream()
    next(events)
    assert session.messages() == before  # while it is made, too
    events.close()  # type: ignore[attr-defined]
    assert (session.messages(), engine.open_generations) == (before, 0)


def test_what_was_said_after_an_answer_stays_when_it_is_made_again() -> None:
    memory = plain("Old.", "one two three")
    session = memory.session("a")
    session.ask("Who?", turn="t")
    events = session.regenerate_stream()
    next(events)
    session.add("system", "Be kind.", id="s")
    session.add("user", "Meanwhile. " + PROSE, id="m")
    list(events)
    assert ids(session) == ["t:q", "t:a", "s", "m"]
    assert session.messages()[1].text == "one two three"
    check_whole(memory, session)


def test_a_question_taken_back_while_it_is_answered_again_stays_away() -> None:
    session = plain("Old.", "one two three").session("a")
    session.ask("Who?")
    events = session.regenerate_stream()
    next(events)
    session.undo()
    *_, end = events
    assert isinstance(end, Finished)
    assert "taken back" in end.degraded[0]
    assert session.messages() == []


def test_an_unanswered_question_is_answered_and_without_one_it_says_so() -> None:
    memory = plain("Yes.")
    session = memory.session("a")
    session.add("system", "Be kind.")
    with pytest.raises(InvalidInputError, match="no question"):
        session.regenerate()
    session.add("user", "Are you there?", id="q", turn="t")
    assert session.regenerate().text == "Yes."
    assert said(session)[1:] == [("user", "Are you there?"), ("assistant", "Yes.")]
    check_whole(memory, session)


def test_chunks_folded_while_answering_again_are_cached_and_cut_as_they_were_made(
    memory: VisualMemory, engine: CountingEngine, script: Script
) -> None:
    script.say("Short.", ANSWER, "Yes.")
    session = tell(memory.session("a"))
    session.ask("What is my cat called?")
    engine.encoded.clear()
    assert session.regenerate().usage.folds > 0
    made = list(engine.encoded)
    chunks = session.chunks()
    assert whole(session) == write(said(session))  # type: ignore[arg-type]
    engine.encoded.clear()
    session.ask("So?")
    assert not {chunk.text for chunk in chunks} & set(engine.encoded)
    assert len(made) == len(set(made)) > 0  # none twice
    assert set(made) <= {chunk.text for chunk in chunks}


def test_a_fold_of_the_new_answer_is_a_chunk_where_it_was_folded() -> None:
    memory = plain("Old.")
    session, engine = memory.session("a"), engine_of(memory)
    session.ask("Who?", turn="t")

    def folds(context: Context, _: object) -> Iterator[GenerationEvent]:
        chunk = Chunk("", context.tail[:3], 1)
        chunk = replace(chunk, id=chunk_id(chunk.text))
        [visual] = engine.encode([chunk])
        yield ChunkFolded(chunk, visual)
        yield Finished("New and different.", "stop")

    engine.generate = folds  # type: ignore[method-assign]
    session.regenerate()
    assert session.chunks()[0].text == write([("user", "Wh")])
    assert check_whole(memory, session)
    assert len(engine.encoded) == len(set(engine.encoded))
