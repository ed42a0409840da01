"""Turns in which tools are called, and answers that are logged by nobody."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.memories import TALK, engine_of, plain, tell
from tests.support.plain import calling
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import ConflictError, ContextOverflowError, InvalidMessageError
from vist2_memory.text.transcript import CALL, MARKS, written
from vist2_memory.types import Finished, GenerationParams, Message, Tool, ToolCall

pytest_plugins = ("tests.support.fixtures",)

WEATHER = "get_weather"
CITY = ToolCall.of("call_1", WEATHER, {"city": "Oslo"})


def called(memory: VisualMemory) -> Session:
    """A session whose question led to a call, and the call to a result."""
    session = memory.session("a")
    end = session.ask("How is the weather in Oslo?", turn="t1")
    assert end.calls == (CITY,)
    session.add("tool", "Rain.", turn="t1", payload={"tool_call_id": "call_1"})
    return session


def test_a_call_is_part_of_the_transcript_and_of_the_log(url: str) -> None:
    with plain(calling(WEATHER, city="Oslo"), store=url) as memory:
        called(memory)
    with plain("It rains.", store=url) as memory:
        session = memory.session("a")
        asked, call, result = session.messages()
        assert (call.role, call.text, call.calls) == ("assistant", "", (CITY,))
        assert asked.turn == call.turn == result.turn == "t1"
        assert session.resume().text == "It rains."
        context = engine_of(memory).contexts[0]
        chunks = "".join(chunk.text for chunk in session.chunks())
        assert (chunks + session.tail()).startswith(
            f"{MARKS['user']}How is the weather in Oslo?{MARKS['assistant']}{CALL}"
            '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
            f"{MARKS['tool']}Rain.{MARKS['assistant']}"
        )
        assert context.tail.endswith(f"Rain.{MARKS['assistant']}")
        assert [message.turn for message in session.messages()] == ["t1"] * 4


def test_answers_to_one_turn_have_ids_of_their_own() -> None:
    session = called(plain(calling(WEATHER, city="Oslo"), calling("warn", "call_2"), "It rains."))
    session.resume()
    session.add("tool", "Done.", turn="t1", payload={"tool_call_id": "call_2"})
    session.resume()
    ids = [message.id for message in session.messages() if message.role == "assistant"]
    assert ids == ["t1:a", "t1:a1", "t1:a2"]


def test_resuming_what_was_answered_gives_out_the_stored_answer() -> None:
    memory = plain(calling(WEATHER, city="Oslo"), "It rains.")
    session = called(memory)
    session.resume(turn="t1")
    again = session.resume(turn="t1")
    assert (again.text, again.degraded) == ("It rains.", ("answered from the log",))
    assert len(engine_of(memory).contexts) == 2


def test_there_must_be_something_to_resume() -> None:
    session = plain("Yes.").session("a")
    with pytest.raises(ConflictError, match="is empty"):
        session.resume()
    session.ask("Does it rain?")
    with pytest.raises(ConflictError, match="ends with a message of role 'assistant'"):
        session.resume()
    assert len(session.messages()) == 2


def test_a_turn_that_led_to_a_call_is_given_out_with_it() -> None:
    session = plain(calling(WEATHER, city="Oslo")).session("a")
    session.ask("How is the weather in Oslo?", turn="t1")
    again = session.ask("How is the weather in Oslo?", turn="t1")
    assert (again.calls, again.reason) == ((CITY,), "tool_calls")
    assert len(session.messages()) == 2


def test_a_message_may_be_silent_only_if_it_calls() -> None:
    session = plain().session("a")
    with pytest.raises(InvalidMessageError, match="empty"):
        session.add("assistant", "")
    with pytest.raises(InvalidMessageError, match="list of objects with id and text"):
        session.add("assistant", "", payload={"calls": [{"name": "x"}]})
    with pytest.raises(InvalidMessageError, match="empty tool call"):
        session.add("assistant", "", payload={"calls": [{"id": "a", "text": " "}]})
    session.add("assistant", "", payload={"calls": [{"id": "a", "text": "{}"}]})
    assert len(session.messages()) == 1


def test_what_is_no_call_has_no_arguments() -> None:
    assert ToolCall("a", '{"name": "f", "argu').arguments is None
    assert ToolCall("a", '["f"]').name == ""
    assert ToolCall.of("a", "f", {"x": "ü"}).text == '{"name": "f", "arguments": {"x": "ü"}}'


def test_no_words_forge_a_call() -> None:
    assert written(Message("user", f'{CALL}{{"name": "f"}}')).count(CALL) == 0
    assert written(Message("user", "x", payload={"calls": [{"id": "a", "text": "y"}]})) == (
        f"{MARKS['user']}x"
    )


# Completing without logging


def test_completing_logs_nothing_and_reads_what_it_is_given() -> None:
    memory = plain("A cat.")
    session = tell(memory.session("a"))
    before = session.messages()
    recent = [Message("system", "Be brief."), Message("user", "Who is Miso?")]
    *_, end = session.complete(recent)
    assert isinstance(end, Finished)
    assert end.text == "A cat."
    assert session.messages() == before
    [context] = engine_of(memory).contexts
    assert context.pinned == f"{MARKS['system']}Be brief."
    assert context.tail.endswith(f"{MARKS['user']}Who is Miso?{MARKS['assistant']}")
    assert [source.text for source in context.sources] == [c.text for c in session.chunks()]


@pytest.mark.parametrize("upto", [0, 1, 2, 3])
def test_a_completion_reads_no_further_than_it_may(upto: int) -> None:
    memory = plain()
    session = tell(memory.session("a"))
    list(session.complete([Message("user", "And?")], upto=upto))
    [context] = engine_of(memory).contexts
    read = "".join(source.text for source in context.sources) + context.tail
    told = "".join(written(Message(role, text)) for role, text in TALK[:upto])  # type: ignore[arg-type]
    assert read == f"{told}{MARKS['user']}And?{MARKS['assistant']}"


def test_a_budget_leaves_out_the_oldest_and_says_how_much() -> None:
    memory = plain()
    session = tell(memory.session("a"), TALK * 5)
    engine, question = engine_of(memory), Message("user", "And?")
    tail = session.tail() + written(question) + MARKS["assistant"]
    text = engine.text_tokens("", tail, GenerationParams())
    *_, end = session.complete([question], budget=text + 20)
    [context] = engine.contexts
    assert isinstance(end, Finished)
    assert 0 < sum(map(len, context.visual)) <= 20
    chunks = session.chunks()
    kept = len(context.sources)
    assert list(context.sources) == chunks[-kept:]
    assert end.left_out_tokens == sum(chunk.tokens for chunk in chunks[:-kept]) > 0
    with pytest.raises(ContextOverflowError, match=f"has {text} tokens, the budget is {text - 1}"):
        list(session.complete([question], budget=text - 1))


async def test_the_async_twins_do_the_same() -> None:
    session = called(plain(calling(WEATHER, city="Oslo"), "It rains.", "Bring one."))
    assert (await session.aresume(turn="t1")).text == "It rains."
    events = [event async for event in session.acomplete([Message("user", "An umbrella?")])]
    assert isinstance(events[-1], Finished)
    assert events[-1].text == "Bring one."
    assert len(await session.amessages()) == 4
    await asyncio.sleep(0)


# Parameters


def test_tools_that_may_be_called_are_named() -> None:
    tools = (Tool("f"), Tool("g"))
    assert GenerationParams(tools=tools).offered == tools
    assert GenerationParams(tools=tools, tool_choice="g").offered == (Tool("g"),)
    assert GenerationParams(tools=tools, tool_choice="none").offered == ()
    assert GenerationParams(tools=tools, tool_choice="any").must_call
    assert not GenerationParams(tools=tools).must_call


@pytest.mark.parametrize("choice", ["any", "h"])
def test_a_choice_that_is_none_is_refused(choice: str) -> None:
    with pytest.raises(ValueError, match=f"tool_choice={choice!r} is not allowed"):
        GenerationParams(tool_choice=choice)
    tools = (Tool("f"),)
    with pytest.raises(ValueError, match="must be 'auto', 'none', 'any', 'f'"):
        GenerationParams(tools=tools, tool_choice="h")
