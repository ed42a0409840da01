"""One suite for every engine that answers: tools, schemas and log probabilities.

The models are small and random: what they would say is noise, and what they say must be whole all
the same. Engines differ in how a call is written and told; what comes out of them does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.support.engines import CountingEngine
from tests.support.serving import remote_engine
from tests.support.vlm import SmallVLM
from vist2_memory.engine.base import Engine
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import MARKS, RESERVED, write_message, written
from vist2_memory.types import (
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
    TextDelta,
    Tool,
    ToolCallDelta,
    calls_payload,
)

pytest_plugins = ("tests.support.fixtures", "tests.support.vlm_fixtures")

ENGINES = ("torch", "torch keeping a chunk", "remote", "qwen3_vl", "gemma3")
"""Of the stock models the first has tokens for calls, the second writes bare JSON."""
CITY = {"type": "string", "maxLength": 12}
WEATHER = Tool(
    "weather",
    "Tells the weather.",
    {
        "type": "object",
        "properties": {"city": CITY, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city"],
    },
)
NOW = Tool("now", "Tells the time.")
TOOLS = (WEATHER, NOW)
TAIL = f"{MARKS['user']}How is the weather?{MARKS['assistant']}"
HOT = GenerationParams(max_tokens=120, temperature=2.0, seed=0, tools=TOOLS)


@pytest.fixture(params=ENGINES)
def engine(
    request: pytest.FixtureRequest, checkpoint: Path, vlm: Callable[[str], SmallVLM]
) -> Iterator[Engine]:
    if request.param.startswith("torch"):
        made: Engine = CountingEngine(checkpoint, int("keeping" in request.param))
    elif request.param == "remote":
        made = remote_engine(checkpoint, 0)
    else:
        made = vlm(request.param)
    yield made
    made.close()


def answer(engine: Engine, params: GenerationParams, tail: str = TAIL) -> list[GenerationEvent]:
    events = list(engine.generate(Context("", (), tail), params))
    assert isinstance(events[-1], Finished)
    return events


def end_of(events: list[GenerationEvent]) -> Finished:
    end = events[-1]
    assert isinstance(end, Finished)
    return end


def check_calls(end: Finished, tools: tuple[Tool, ...] = TOOLS) -> None:
    schemas = {tool.name: tool.parameters for tool in tools}
    for call in end.calls:
        assert call.arguments is not None
        Draft202012Validator(schemas[call.name]).validate(call.arguments)


@pytest.mark.parametrize("parallel", [True, False])
def test_a_call_that_must_be_made_is_made_and_matches_its_tool(
    engine: Engine, parallel: bool
) -> None:
    params = replace(HOT, tool_choice="any", parallel_tool_calls=parallel)
    for seed in range(2):
        end = end_of(answer(engine, replace(params, seed=seed)))
        assert (end.text, end.reason) == ("", "tool_calls")
        assert len(end.calls) == 1 if not parallel else end.calls
        check_calls(end)


def test_a_tool_that_is_named_is_the_one_that_is_called(engine: Engine) -> None:
    end = end_of(answer(engine, replace(HOT, tool_choice="now")))
    assert {call.name for call in end.calls} == {"now"}
    check_calls(end)


def test_the_deltas_of_a_call_join_to_it_under_its_id(engine: Engine) -> None:
    events = answer(engine, replace(HOT, tool_choice="any"))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    calls = end_of(events).calls
    for index, call in enumerate(calls):
        own = [delta for delta in deltas if delta.index == index]
        assert {delta.id for delta in own} == {call.id}
        assert "".join(delta.text for delta in own) == call.text
        assert len(own) > 1
        assert json.dumps(json.loads(call.text), ensure_ascii=False) == call.text
    assert len({call.id for call in calls}) == len(calls)
    assert not any(isinstance(event, TextDelta) for event in events)


def test_where_it_is_the_models_choice_it_says_something_or_calls(engine: Engine) -> None:
    for seed in range(2):
        end = end_of(answer(engine, replace(HOT, seed=seed, max_tokens=40)))
        assert end.text.strip() or end.calls
        assert (end.reason == "tool_calls") == bool(end.calls)
        check_calls(end)


def test_tools_that_may_not_be_called_are_not(engine: Engine) -> None:
    end = end_of(answer(engine, replace(HOT, tool_choice="none", max_tokens=40)))
    assert end.calls == ()
    assert not set(end.text) & set(RESERVED)


def test_an_answer_with_a_schema_is_json_that_matches_it(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
            "inner": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        },
        "required": ["name", "tags", "inner"],
    }
    params = GenerationParams(max_tokens=70, temperature=2.0, schema=schema, stop=('"',))
    for seed in range(2):
        events = answer(engine, replace(params, seed=seed))
        end = end_of(events)
        Draft202012Validator(schema).validate(json.loads(end.text))
        assert (end.reason, end.calls) == ("stop", ())
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == end.text


def test_stop_strings_are_looked_for_in_text_and_not_in_calls(engine: Engine) -> None:
    params = replace(HOT, tool_choice="weather", stop=("{", '"', "name"))
    end = end_of(answer(engine, params))
    assert end.calls
    check_calls(end)


def test_what_cannot_be_honoured_is_refused_before_a_token_is_made(engine: Engine) -> None:
    bad = Tool("find", "", {"type": "object", "properties": {"x": {"type": "pigeon"}}})
    cases = [
        (replace(HOT, tools=(NOW, bad)), "the tool 'find' cannot be kept to: .*pigeon"),
        (replace(HOT, tool_choice="any", max_tokens=4), "max_tokens=4 is too few"),
        (GenerationParams(schema={"type": "string", "pattern": "(?=a)b"}), "the schema of the"),
        (replace(HOT, tools=(Tool("a\ue007"),)), "its name has characters"),
    ]
    for params, said in cases:
        with pytest.raises(InvalidInputError, match=said):
            engine.check(params)
        with pytest.raises(InvalidInputError, match=said):
            next(engine.generate(Context("", (), TAIL), params))
    engine.check(HOT)


def test_chunks_that_fold_within_calls_are_what_the_transcript_has(engine: Engine) -> None:
    params = replace(HOT, tool_choice="any", max_tokens=110)
    tail = write_message("user", "How is the weather?") + MARKS["assistant"]
    folds = 0
    for seed in range(2):
        events = answer(engine, replace(params, seed=seed), tail)
        end = end_of(events)
        message = Message("assistant", end.text, payload=calls_payload(end.calls))
        transcript = tail + written(message).removeprefix(MARKS["assistant"])
        folded = "".join(event.chunk.text for event in events if isinstance(event, ChunkFolded))
        assert transcript.startswith(folded)
        check_calls(end)
        folds += len(folded) > len(tail)
    assert folds


def test_tools_are_counted_in_what_was_read(engine: Engine) -> None:
    usage = end_of(answer(engine, replace(HOT, max_tokens=8))).usage
    without = end_of(answer(engine, GenerationParams(max_tokens=1))).usage
    assert usage.prompt_text_tokens == engine.text_tokens("", TAIL, HOT)
    assert usage.prompt_text_tokens > without.prompt_text_tokens + 20


@pytest.mark.parametrize("asked", ["text", "schema"])
def test_log_probabilities_are_told_for_every_token_of_text(engine: Engine, asked: str) -> None:
    schema = {"type": "object", "properties": {"a": CITY}, "required": ["a"]}
    params = GenerationParams(
        max_tokens=30, logprobs=3, schema=schema if asked == "schema" else None
    )
    events = answer(engine, params)
    told = [one for event in events if isinstance(event, TextDelta) for one in event.logprobs]
    end = end_of(events)
    assert len(told) == end.usage.new_tokens
    assert b"".join(one.bytes for one in told).decode("utf-8", "replace") == end.text
    for one in told:
        assert one.logprob <= 0
        assert len(one.top) == 3
        best = [other.logprob for other in one.top]
        assert best == sorted(best, reverse=True)
        assert one.logprob <= best[0]
        assert sum(map(math.exp, best)) <= 1 + 1e-6
    none = answer(engine, replace(params, logprobs=None))
    assert not any(event.logprobs for event in none if isinstance(event, TextDelta))
    assert end_of(none).text == end.text
