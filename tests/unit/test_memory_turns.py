"""A turn: its question, what the model is given to answer from, its answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, TALK, engine_of, plain, said, tell, whole
from tests.support.tokenizers import PROSE, token_ids
from vist2_memory import VisualMemory
from vist2_memory.errors import ConflictError, ContextOverflowError
from vist2_memory.text.transcript import MARKS, write
from vist2_memory.types import ChunkFolded, Finished, TextDelta

pytest_plugins = ("tests.support.fixtures",)


# Turns


def test_an_answer_is_joined_to_its_question_by_the_turn() -> None:
    session = plain("Miso.").session("a")
    end = session.ask("What is my cat called?")
    question, answer = session.messages()
    assert (question.role, question.text) == ("user", "What is my cat called?")
    assert (answer.role, answer.text) == ("assistant", "Miso.") == ("assistant", end.text)
    assert question.turn == answer.turn != ""


def test_a_turn_that_was_answered_is_answered_from_the_log(url: str) -> None:
    with plain("Miso.", store=url) as memory:
        memory.session("a").ask("What is my cat called?", turn="t1")
    with plain("Bees.", store=url) as memory:
        session = memory.session("a")
        again = session.ask("What is my cat called?", turn="t1")
        assert again.text == "Miso."
        assert "from the log" in again.degraded[0]
        assert engine_of(memory).contexts == []
        assert len(session.messages()) == 2


def test_a_turn_that_broke_off_is_taken_up_and_its_question_is_not_doubled() -> None:
    memory = plain("Miso.")
    session, engine = memory.session("a"), engine_of(memory)

    def breaks(*_: object) -> Iterator[TextDelta]:
        yield TextDelta("Mi")
        raise RuntimeError("the power went out")

    real, engine.generate = engine.generate, breaks  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power"):
        session.ask("What is my cat called?", turn="t1")
    assert said(session) == [("user", "What is my cat called?")]
    engine.generate = real  # type: ignore[method-assign]
    assert session.ask("What is my cat called?", turn="t1").text == "Miso."
    assert said(session) == [("user", "What is my cat called?"), ("assistant", "Miso.")]


def test_one_turn_cannot_ask_two_questions() -> None:
    session = plain().session("a")
    session.ask("What is my cat called?", turn="t1")
    with pytest.raises(ConflictError, match=r"'t1' was opened with another question: 'What is"):
        session.ask("Who keeps bees?", turn="t1")
    assert len(session.messages()) == 2


def test_an_abandoned_stream_leaves_its_question_open_and_the_next_ask_works() -> None:
    memory = plain("I will never finish", "Miso.")
    session = memory.session("a")
    events = session.stream("Tell me everything.")
    assert isinstance(next(events), TextDelta)
    assert engine_of(memory).open_generations == 1
    events.close()  # type: ignore[attr-defined]
    assert engine_of(memory).open_generations == 0
    assert said(session) == [("user", "Tell me everything.")]
    session.ask("What is my cat called?")
    assert [role for role, _ in said(session)] == ["user", "user", "assistant"]


@pytest.mark.parametrize("answered", [True, False])
def test_a_stream_that_is_held_open_holds_up_no_other_thread(answered: bool) -> None:
    session = plain("one two three").session("a")
    if answered:
        session.ask("Who?", turn="t")
    events = session.stream("Who?", turn="t")
    next(events)
    other = threading.Thread(target=session.add, args=("user", "Meanwhile."), daemon=True)
    other.start()
    other.join(timeout=3)
    stuck = other.is_alive()
    events.close()  # type: ignore[attr-defined]
    other.join(timeout=3)
    assert not stuck


def test_an_answer_of_no_words_closes_its_turn() -> None:
    session = plain("").session("a")
    assert session.ask("Anything?", turn="t").text == ""
    assert said(session) == [("user", "Anything?"), ("assistant", "")]
    assert session.ask("Anything?", turn="t").degraded  # from the log, not generated again


def test_a_message_that_arrives_while_an_answer_is_made_stands_before_it() -> None:
    """The answer's own cuts do not hold then; the transcript is whole all the same."""
    session = plain(ANSWER).session("a")
    events = session.stream("Who?")
    next(events)
    session.add("user", "Meanwhile, " + PROSE)
    *_, end = events
    assert isinstance(end, Finished)
    assert [role for role, _ in said(session)] == ["user", "user", "assistant"]
    assert whole(session) == write(said(session))  # type: ignore[arg-type]


def test_what_was_folded_while_another_message_came_between_is_cut_again(
    memory: VisualMemory, script: Script
) -> None:
    script.say(ANSWER, "Yes.")
    session = memory.session("a")
    events = session.stream("Who?")
    assert any(isinstance(event, ChunkFolded) for event in (next(events) for _ in range(12)))
    session.add("user", "Meanwhile, " + PROSE)
    *_, end = events
    assert isinstance(end, Finished)
    assert whole(session) == write(said(session))  # type: ignore[arg-type]
    assert session.ask("Really?").text == "Yes."


# Context


def test_the_context_is_pinned_text_then_memory_then_tail_and_the_assistants_mark() -> None:
    memory = plain()
    session = memory.session("a")
    session.add("system", "Be kind.")
    tell(session)
    session.add("system", "Be brief.")
    session.ask("What is my cat called?")
    [context] = engine_of(memory).contexts
    assert context.pinned == write([("system", "Be kind."), ("system", "Be brief.")])
    texts = {chunk.id: chunk.text for chunk in session.chunks()}
    flow = write([*TALK, ("user", "What is my cat called?")])  # type: ignore[list-item]
    shown = "".join(texts[tokens.chunk_id] for tokens in context.visual)
    assert shown + context.tail == flow + MARKS["assistant"]
    assert len(context.visual) > 3
    assert memory.engine.chunker.count(context.tail) <= memory.engine.spec.tail_limit


def test_a_system_prompt_that_leaves_no_room_is_refused_and_nothing_is_stored() -> None:
    memory = plain()
    session = memory.session("a")
    session.add("system", "Be kind. " * 40)
    with pytest.raises(ContextOverflowError, match="has room for 512: shorten it"):
        session.add("system", "Be kind. " * 100)
    assert len(session.messages()) == 1


def test_of_a_history_too_long_for_the_model_the_newest_is_read_and_the_rest_told() -> None:
    memory = plain(max_visual_tokens=12)
    session = tell(memory.session("a"))
    end = session.ask("What is my cat called?")
    [context] = engine_of(memory).contexts
    asked = len(write([*TALK, ("user", "What is my cat called?")]))  # type: ignore[list-item]
    chunks = [chunk for chunk in session.chunks() if chunk.start + len(chunk.text) <= asked]
    costs = [len(tokens) for tokens in memory.engine.encode(chunks)]
    read_ids = [tokens.chunk_id for tokens in context.visual]
    left = len(chunks) - len(read_ids)
    assert left > 0
    assert read_ids == [chunk.id for chunk in chunks[left:]]
    assert sum(costs[left:]) <= 12 < sum(costs[left - 1 :])
    assert end.left_out_tokens == sum(chunk.tokens for chunk in chunks[:left])


def test_nothing_is_left_out_when_all_fits() -> None:
    session = tell(plain().session("a"))
    assert session.ask("Who?").left_out_tokens == 0


def test_usage_and_timing_tell_what_was_read(
    memory: VisualMemory, engine: CountingEngine, script: Script
) -> None:
    script.say("Miso.")
    session = tell(memory.session("a"))
    end = session.ask("So?")
    [context] = engine.contexts
    tokens = {chunk.id: chunk.tokens for chunk in session.chunks()}
    assert end.usage.text_tokens == sum(tokens[visual.chunk_id] for visual in context.visual) > 50
    assert end.usage.cached_visual_tokens == end.usage.visual_tokens
    assert end.usage.visual_tokens == sum(map(len, context.visual))
    assert end.usage.full_prompt_tokens == len(
        token_ids(write(said(session)[:-1]) + MARKS["assistant"])  # type: ignore[arg-type]
    )
    assert 0 < end.timing.load_s < end.timing.first_token_s <= end.timing.total_s
