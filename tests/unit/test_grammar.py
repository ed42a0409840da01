"""What is asked of an answer, as a grammar: what is refused, and what is narrowed."""

from __future__ import annotations

from typing import Any

import pytest

from vist2_memory.engine.grammar import CallForm, grammar_of
from vist2_memory.errors import InvalidInputError
from vist2_memory.types import GenerationParams, Tool

FORM = CallForm(7)


def grammar(**params: Any) -> str:
    found = grammar_of(GenerationParams(**params), FORM)
    assert found is not None
    return found.text


def tool(name: str = "find", **parameters: Any) -> Tool:
    return Tool(name, "", parameters)


@pytest.mark.parametrize(
    "params", [{}, {"tools": (tool(),), "tool_choice": "none"}], ids=["nothing", "tools unused"]
)
def test_where_nothing_is_asked_there_is_no_grammar(params: dict[str, Any]) -> None:
    assert grammar_of(GenerationParams(**params), FORM) is None


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"properties": {"x": {"type": "pigeon"}}}, "pigeon"),
        ({"properties": {"x": {"not": {"type": "string"}}}}, "not"),
        ({"properties": {"x": {"type": "array", "uniqueItems": True}}}, "uniqueItems"),
        ({"properties": {"x": {"$ref": "#/$defs/nowhere"}}}, "nowhere"),
        ({"properties": {"x": {"$ref": "https://example.com/schema"}}}, "example.com"),
        ({"properties": {"x": {"type": "string", "pattern": "(?=a)b"}}}, "regex"),
        ({"type": "array"}, "of type 'array'"),
        ({"properties": {"x": {"const": "\ue003"}}}, r"between U\+E000 and U\+E00F"),
    ],
)
def test_what_an_answer_cannot_be_held_to_is_refused_by_the_tools_name(
    parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"tool 'find'.*{reason}"):
        grammar(tools=(tool("good"), tool(**parameters)))


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_cannot_be_written_as_json_is_no_tool_and_no_schema(value: object) -> None:
    with pytest.raises(ValueError, match="tool 'find': parameters cannot be written as JSON"):
        tool(properties={"x": {"const": value}})
    with pytest.raises(ValueError, match="schema cannot be written as JSON"):
        GenerationParams(schema={"const": value})


def test_a_schema_that_is_its_own_part_cannot_be_written() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"x": schema}
    with pytest.raises(ValueError, match="schema cannot be written as JSON"):
        GenerationParams(schema=schema)


@pytest.mark.parametrize("name", ["a\ue003", "a\nb", "\x00"])
def test_a_name_that_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="its name has characters"):
        grammar(tools=(tool(name),))


def test_a_schema_named_as_its_keywords_is_no_other_than_any() -> None:
    """Names of properties are no keywords."""
    names = ["format", "enum", "const", "properties", "allOf", "$ref", "type", "default"]
    properties = {name: {"type": "string", "format": "date"} for name in names}
    text = grammar(schema={"type": "object", "properties": properties, "required": names})
    assert text.count('"pattern"') == len(names)


def test_formats_that_only_describe_are_left_out() -> None:
    text = grammar(schema={"type": "string", "format": "path", "description": "Where?"})
    assert "path" not in text
    assert '"format": "uuid"' in grammar(schema={"type": "string", "format": "uuid"})


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        ({"type": "object", "properties": {"a": {}}}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {}}, False),
        ({"type": "object"}, False),
        ({"allOf": [{"type": "object", "properties": {"a": {}}}, {"required": ["b"]}]}, False),
        ({"properties": {"a": {}}, "anyOf": [{"required": ["b"]}, {"required": ["c"]}]}, False),
        ({"anyOf": [{"type": "object", "properties": {"a": {}}}, {"type": "null"}]}, True),
    ],
)
def test_objects_have_no_properties_beyond_those_named_unless_they_are_joined(
    schema: dict[str, Any], closed: bool
) -> None:
    assert ('"additionalProperties": false' in grammar(schema=schema)) == closed


def test_numbers_get_limits_where_they_have_none() -> None:
    text = grammar(schema={"type": ["integer", "null"], "exclusiveMinimum": 3})
    assert '"maximum": 4611686018427387904' in text
    assert '"minimum"' not in text
