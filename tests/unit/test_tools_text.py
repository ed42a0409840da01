"""Tools and answer formats as a model reads them."""

from __future__ import annotations

from typing import Any

import pytest

from vist2_memory.text.tools import write_schema, write_tools
from vist2_memory.types import Tool


def signature(**properties: Any) -> str:
    schema = {"type": "object", "properties": properties, "required": ["a"]}
    return write_tools([Tool("f", parameters=schema)]).partition("\n")[2]


def test_tools_are_lines_under_a_heading() -> None:
    tools = [Tool("stop", "Ends it."), Tool("go")]
    assert write_tools(tools) == "You can call these functions:\nstop(): Ends it.\ngo()"
    assert write_tools([]) == ""


@pytest.mark.parametrize(
    ("schema", "type"),
    [
        ({"type": "string"}, "string"),
        ({"enum": ["x", "ü", 3]}, '"x" or "ü" or 3'),
        ({"const": "x"}, '"x"'),
        ({"type": ["string", "null"]}, "string or null"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"type": "number"}}, "number[]"),
        ({"type": "array", "items": {"enum": ["x", "y"]}}, '("x" or "y")[]'),
        ({"type": "array"}, "any[]"),
        ({"type": "object"}, "object"),
        ({"properties": {"b": {"type": "boolean"}}}, "{b?: boolean}"),
        ({}, "any"),
    ],
)
def test_a_schema_is_a_type(schema: dict[str, Any], type: str) -> None:
    assert signature(a=schema) == f"f(a: {type})"


def test_optional_parameters_and_what_is_said_of_them() -> None:
    spoken = signature(a={"type": "string", "description": "the\n  city"}, b={"type": "number"})
    assert spoken == "f(a: string, b?: number): a: the city"


def test_references_are_followed_and_need_not_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"$defs": {"Node": node}, "properties": {"a": {"$ref": "#/$defs/Node"}}}
    text = write_schema(schema)
    assert text.startswith("Answer in JSON: {a?: {next?: {next?: ")
    assert text.endswith("any" + "}" * (text.count("{")))
    assert write_schema({"properties": {"a": {"$ref": "#/nowhere"}}}).endswith("{a?: any}")


def test_an_answer_format_is_one_line() -> None:
    schema = {
        "title": "Joke",
        "description": "To laugh.",
        "properties": {"setup": {"type": "string", "description": "first"}},
        "required": ["setup"],
    }
    assert write_schema(schema) == (
        "Answer in JSON (Joke: To laugh.): {setup: string}. setup: first"
    )
    assert write_schema(None) == ""
