"""Tools and answer formats as text that a model reads: signatures, not JSON schemas.

A schema in JSON costs several times the tokens of ``find_hotel(city: string, stars?: integer)``,
and pinned text is never compressed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vist2_memory.text.transcript import write_message
from vist2_memory.types import Tool

_DEEPEST = 8
"""Levels of a schema that are written out; schemas may refer to themselves."""


def write_tools(tools: Sequence[Tool]) -> str:
    """``tools`` as signatures with what their descriptions say, a line each; empty for none."""
    if not tools:
        return ""
    return "\n".join(["You can call these functions:", *map(_signature, tools)])


def write_schema(schema: Mapping[str, Any] | None) -> str:
    """What a JSON ``schema`` asks of an answer, in a line; empty for none."""
    if schema is None:
        return ""
    names = [schema[key] for key in ("title", "description") if isinstance(schema.get(key), str)]
    said = f" ({': '.join(names)})" if names else ""
    notes = _notes(schema, schema)
    return f"Answer in JSON{said}: {_type(schema, schema, 0)}{notes and '. ' + notes}"


def write_pinned(pinned: str, tools: Sequence[Tool], schema: Mapping[str, Any] | None) -> str:
    """``pinned``, and after it what is to be known of tools and schema, as system messages."""
    said = (write_tools(tools), write_schema(schema))
    return pinned + "".join(write_message("system", text) for text in said if text)


def _signature(tool: Tool) -> str:
    schema = tool.parameters
    parameters = ", ".join(_fields(schema, schema, 0))
    said = " ".join(part for part in (tool.description.strip(), _notes(schema, schema)) if part)
    return f"{tool.name}({parameters})" + (f": {said}" if said else "")


def _fields(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[str]:
    required = schema.get("required", ())
    return [
        f"{name}{'' if name in required else '?'}: {_type(field, root, depth + 1)}"
        for name, field in schema.get("properties", {}).items()
    ]


def _notes(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """The descriptions of the fields of ``schema``, by their names."""
    said = {
        name: _resolved(field, root).get("description")
        for name, field in schema.get("properties", {}).items()
    }
    return " ".join(f"{name}: {' '.join(text.split())}" for name, text in said.items() if text)


def _type(field: Any, root: Mapping[str, Any], depth: int) -> str:
    """A schema as a type: string, integer[], {a: string, b?: number}, "x" or "y", any."""
    schema = _resolved(field, root)
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return " or ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    if depth > _DEEPEST:
        return "any"
    either = schema.get("anyOf") or schema.get("oneOf")
    if either:
        return " or ".join(dict.fromkeys(_type(one, root, depth + 1) for one in either))
    kind = schema.get("type", "object" if "properties" in schema else "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        inner = _type(schema.get("items", {}), root, depth + 1)
        return f"({inner})[]" if " or " in inner else f"{inner}[]"
    if kind == "object" and schema.get("properties"):
        return "{" + ", ".join(_fields(schema, root, depth)) + "}"
    return str(kind)


def _resolved(field: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """``field``, or what its ``$ref`` into ``root`` names."""
    for _ in range(_DEEPEST):
        if not isinstance(field, Mapping):
            return {}
        place = field.get("$ref")
        if not isinstance(place, str) or not place.startswith("#"):
            return field
        found: Any = root
        for part in place.split("/")[1:]:
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        beside = {key: value for key, value in field.items() if key != "$ref"}
        field = {**found, **beside} if isinstance(found, Mapping) else beside
    return {}
