"""Answers held to tools and schemas, whatever the model would rather say.

Every token is drawn at random from those that may come; a validator of its own judges the JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, Field

from tests.support.grammars import BARE, FORM, shortest, small_vocabulary, walk
from tests.support.tokenizers import token_ids
from vist2_memory.engine.steering import steer
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.text.transcript import CALL
from vist2_memory.types import GenerationParams, Tool


def an_object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


TEXT = {"type": "string"}
TREE = {
    **an_object("tree", tree={"$ref": "#/$defs/node"}),
    "$defs": {
        "node": an_object(
            "name",
            name=TEXT,
            left={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            rest={"type": "array", "items": {"$ref": "#/$defs/node"}},
        )
    },
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": an_object(),
    "strings": an_object("a", a=TEXT, b={**TEXT, "minLength": 3, "maxLength": 9}),
    "numbers": an_object(
        *"abcd",
        a={"type": "integer", "minimum": 10, "maximum": 31},
        b={"type": "number", "exclusiveMinimum": 0},
        c={"type": "integer", "multipleOf": 5},
        d={"type": "number"},
    ),
    "choices": an_object(
        *"abcd",
        a={"enum": ["red", "reddish", 3, None, {"x": [1]}]},
        b={"const": 'the "one"'},
        c={"type": ["boolean", "null"]},
        d={"anyOf": [{"type": "integer"}, an_object("z", z=TEXT)]},
    ),
    "arrays": an_object(
        *"abc",
        a={"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
        b={"type": "array", "prefixItems": [TEXT, {"type": "integer"}], "items": False},
        c={"type": "array", "items": an_object("x", x=TEXT)},
    ),
    "formats": an_object(
        *"abcdefg",
        a={**TEXT, "format": "date-time"},
        b={**TEXT, "format": "date"},
        c={**TEXT, "format": "email"},
        d={**TEXT, "format": "uuid"},
        e={**TEXT, "format": "ipv4"},
        f={**TEXT, "format": "time"},
        g={**TEXT, "format": "color-of-the-sky"},
    ),
    "patterns": an_object("a", a={**TEXT, "pattern": "^[a-z]{2,5}-[0-9]+$"}),
    "maps": an_object("a", a={"type": "object", "additionalProperties": {"type": "integer"}}),
    "joined": {"allOf": [an_object("a", a=TEXT), an_object("b", b={"type": "boolean"})]},
    "either": {"anyOf": [an_object("a", a=TEXT), an_object("b", b={"type": "boolean"})]},
    "anything": an_object("a", a={}),
    "a list": {"type": "array", "items": TEXT, "minItems": 1},
    "recursive": TREE,
}
TOOLS = (
    Tool("weather", "Tells it.", an_object("city", city=TEXT, days={"type": "integer"})),
    Tool("weather_of_all", "", SCHEMAS["arrays"]),
    Tool("grow", "", TREE),
    Tool("now"),
)
SEEDS = range(4)


FORMATS = FormatChecker(["date", "email", "uuid", "ipv4"])
FORMATS.checks("date-time", ValueError)(datetime.fromisoformat)
FORMATS.checks("time", ValueError)(time.fromisoformat)


def check_json(written: str, schema: Any) -> Any:
    value = json.loads(written)
    Draft202012Validator(schema, format_checker=FORMATS).validate(value)
    return value


def check_call(written: str, tools: tuple[Tool, ...] = TOOLS) -> None:
    call = json.loads(written)
    assert list(call) == ["name", "arguments"]
    [tool] = [tool for tool in tools if tool.name == call["name"]]
    assert isinstance(call["arguments"], dict)
    check_json(json.dumps(call["arguments"]), tool.parameters)


# Always whole


@pytest.mark.parametrize("more", [0, 1, 5, 90], ids=lambda more: f"{more} more")
@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_matches_its_schema_if_there_are_tokens_enough_at_all(
    name: str, more: int
) -> None:
    params = GenerationParams(schema=SCHEMAS[name])
    params = replace(params, max_tokens=shortest(params) + more)
    for seed in SEEDS:
        found = walk(params, seed)
        assert found.whole
        check_json(found.written, SCHEMAS[name])


@pytest.mark.parametrize("more", [0, 3, 60, 150], ids=lambda more: f"{more} more")
@pytest.mark.parametrize("choice", ["any", "weather", "grow"])
@pytest.mark.parametrize("parallel", [True, False])
def test_calls_that_must_be_made_are_made_at_once_and_match(
    choice: str, parallel: bool, more: int
) -> None:
    params = GenerationParams(tools=TOOLS, tool_choice=choice, parallel_tool_calls=parallel)
    params = replace(params, max_tokens=shortest(params) + more)
    most = 0
    for seed in SEEDS:
        found = walk(params, seed)
        assert found.whole
        assert found.text == ""
        for call in found.calls:
            check_call(call, params.offered)
        most = max(most, len(found.calls))
    assert most == 1 if not parallel or more < 10 else most >= 1


@pytest.mark.parametrize("max_tokens", [1, 30, 120])
def test_where_it_is_the_models_choice_it_says_something_or_calls(max_tokens: int) -> None:
    params = GenerationParams(tools=TOOLS, max_tokens=max_tokens)
    for seed in SEEDS:
        found = walk(params, seed)
        assert found.text.strip() or found.calls
        for call in found.calls:
            check_call(call)


def test_with_a_schema_and_tools_an_answer_is_one_or_the_other() -> None:
    schema = SCHEMAS["strings"]
    params = GenerationParams(tools=TOOLS[:1], schema=schema, max_tokens=60)
    for seed in SEEDS:
        for first in ("{", CALL):
            found = walk(params, seed, first=first)
            assert found.whole
            assert found.written.startswith(first)
            if first == CALL:
                [check_call(call) for call in found.calls]
            else:
                check_json(found.written, schema)


def test_a_call_that_no_longer_finds_room_is_not_begun() -> None:
    """The model would open one at each step."""
    vocabulary = small_vocabulary()
    params = GenerationParams(tools=TOOLS[:1], max_tokens=40)
    steering = steer(params, FORM, vocabulary)
    assert steering is not None
    room = params.max_tokens
    [x] = token_ids("x")
    while room > 25:
        assert steering.next(lambda flags: x, room) == x
        room -= 1
    assert steering.next(lambda flags: FORM.opens or 0, room) in vocabulary.stops


@pytest.mark.parametrize("name", ["strings", "recursive"])
def test_deciding_ahead_changes_nothing_but_the_choices_that_were_none(name: str) -> None:
    params = GenerationParams(schema=SCHEMAS[name], max_tokens=80)
    for seed in SEEDS:
        check_json(walk(params, seed, ahead=False).written, SCHEMAS[name])


def test_what_has_only_one_way_to_go_on_is_decided_without_the_model() -> None:
    steering = steer(GenerationParams(tools=TOOLS[:1], tool_choice="any"), FORM, small_vocabulary())
    assert steering is not None
    asked: list[int] = []
    written = []
    for room in range(100, 0, -1):
        steering.look_ahead(room)
        if not steering.decided:
            break
        written.append(steering.next(lambda flags: asked.append(1) or 0, room))
    assert asked == []
    text = b"".join(small_vocabulary().tokens[i] for i in written).decode()
    assert text.startswith(CALL + '{"name": "weather", "arguments": {"city": ')


def test_a_token_that_may_not_come_is_an_error() -> None:
    """As from a picker that looks at no flags."""
    steering = steer(GenerationParams(schema=an_object()), FORM, small_vocabulary())
    assert steering is not None
    with pytest.raises(ModelError, match="cannot be held to its grammar"):
        steering.next(lambda flags: token_ids("x")[0], 10)


# As it is written


def test_json_is_written_as_python_writes_it() -> None:
    params = GenerationParams(tools=TOOLS, tool_choice="any", max_tokens=200)
    for seed in SEEDS:
        for call in walk(params, seed).calls:
            read = json.loads(call)
            if "." in call or "e" in call.replace("weather", ""):
                continue  # numbers may be written in several ways
            assert json.dumps(read, ensure_ascii=False) == call


@pytest.mark.parametrize("seed", SEEDS)
def test_strings_hold_no_halves_of_characters(seed: int) -> None:
    found = walk(GenerationParams(schema=an_object("a", a=TEXT), max_tokens=150), seed)
    json.loads(found.written)["a"].encode()


def test_a_name_may_have_any_sign_that_is_printed() -> None:
    tools = (Tool('say "hé"', "", an_object()), Tool("back\\slash", "", an_object()))
    params = GenerationParams(tools=tools, tool_choice="any", max_tokens=60)
    names = {json.loads(call)["name"] for seed in SEEDS for call in walk(params, seed).calls}
    assert names == {tool.name for tool in tools}


def test_properties_that_no_one_named_are_not_made_up() -> None:
    for seed in SEEDS:
        found = walk(GenerationParams(schema=an_object(a=TEXT), max_tokens=60), seed)
        assert set(json.loads(found.written)) <= {"a"}


class Stop(BaseModel):
    """A stop of a journey."""

    place: str = Field(max_length=20)
    nights: int = Field(ge=1, le=9)
    arrival: datetime
    kind: Literal["hotel", "hostel"] = "hotel"
    mates: dict[str, int] = {}


class Journey(BaseModel):
    """A journey."""

    begins: date
    stops: list[Stop] = Field(min_length=1)
    budget: float | None = None
    back: Journey | None = None


@pytest.mark.parametrize("seed", SEEDS)
def test_what_pydantic_asks_for_pydantic_reads(seed: int) -> None:
    found = walk(GenerationParams(schema=Journey.model_json_schema(), max_tokens=400), seed)
    journey = Journey.model_validate_json(found.written)
    assert journey.stops


# Models that have no mark for calls


@pytest.mark.parametrize("choice", ["auto", "any"])
def test_calls_as_bare_json_are_told_by_their_first_letter(choice: str) -> None:
    params = GenerationParams(tools=TOOLS, tool_choice=choice, max_tokens=150)
    for seed in SEEDS:
        found = walk(params, seed, BARE, first="{")
        assert found.whole
        for line in found.written.split("\n"):
            check_call(line)
        found = walk(params, seed, BARE)
        assert CALL not in found.written
        assert found.written.startswith("{") or choice == "auto"


def test_bare_calls_and_a_schema_cannot_be_told_apart() -> None:
    params = GenerationParams(tools=TOOLS, schema=an_object())
    with pytest.raises(InvalidInputError, match="bare JSON"):
        steer(params, BARE, small_vocabulary())


# Too little room


def test_too_few_tokens_for_any_answer_are_refused_with_how_many_it_takes() -> None:
    params = GenerationParams(tools=TOOLS, tool_choice="any")
    needed = shortest(params)
    with pytest.raises(InvalidInputError, match=f"max_tokens=3 is too few.* takes {needed}"):
        steer(replace(params, max_tokens=3), FORM, small_vocabulary())
    assert walk(replace(params, max_tokens=needed), 0).whole
