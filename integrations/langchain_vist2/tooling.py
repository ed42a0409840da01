"""Tools and formats of answers, as LangChain and OpenAI write them, for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel

from langchain_vist2.errors import InvalidInputError
from vist2_memory.types import Tool

ToolLike: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool
Schema: TypeAlias = dict[str, Any] | type

ANY_JSON: dict[str, Any] = {"type": "object"}
"""What an answer in JSON mode without a schema must match."""

_KINDS = {"required": "any", "any": "any", "auto": "auto", "none": "none"}


def as_openai(tool: ToolLike) -> dict[str, Any]:
    """``tool`` as OpenAI's dict of a function; raises ``InvalidInputError`` for another kind."""
    try:
        found = convert_to_openai_tool(tool)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{tool!r:.80} is no tool: {error}") from error
    if found.get("type") != "function" or "name" not in found.get("function", {}):
        raise InvalidInputError(
            f"a tool of type {found.get('type')!r} is one of a provider's own: ChatVIST2 calls "
            "functions only"
        )
    return found


def to_tool(tool: Mapping[str, Any]) -> Tool:
    """OpenAI's dict of a function as the engine's tool."""
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], function.get("description", ""), parameters)


def chosen(choice: Any, names: Sequence[str]) -> str:
    """Which of the tools ``names`` is to be called, by any ``tool_choice`` that LangChain allows.

    The answer is ``"auto"``, ``"any"``, ``"none"`` or a name; a tool's name comes first, where it
    is one of these. Raises ``InvalidInputError`` for a name that is none.
    """
    if isinstance(choice, Mapping):
        named = choice.get("function", choice)
        choice = named.get("name", choice.get("type"))
    if choice is None or choice is False:
        return "auto"
    if choice is True:
        return "any"
    if choice in names:
        return str(choice)
    if isinstance(choice, str) and choice in _KINDS:
        return _KINDS[choice]
    raise InvalidInputError(
        f"tool_choice={choice!r} is not allowed: give 'auto', 'any', 'required', 'none', a bool, "
        f"or the name of a tool ({', '.join(names) or 'there are none'})"
    )


def schema_of(schema: Schema) -> dict[str, Any]:
    """The JSON schema of a pydantic class, a TypedDict, a tool or a JSON schema."""
    if isinstance(schema, dict) and not _is_tool(schema):
        return schema
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()  # may refer to itself, which a tool's may not
    try:
        return convert_to_json_schema(schema)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{schema!r:.80} is no schema of an answer: {error}") from error


def _is_tool(schema: Mapping[str, Any]) -> bool:
    """Whether a dict is a function or a tool, as any provider writes it, and no JSON schema."""
    return schema.get("type") == "function" or bool(schema.keys() & {"name", "toolSpec"})


def schema_asked_for(response_format: Any) -> dict[str, Any] | None:
    """The JSON schema in a ``response_format``: OpenAI's forms, or a schema itself; None for text.

    Raises ``InvalidInputError`` for one of another form.
    """
    if response_format is None:
        return None
    if not isinstance(response_format, Mapping):
        return schema_of(response_format)
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return dict(response_format.get("schema", ANY_JSON))
    if kind != "json_schema":
        return schema_of(dict(response_format))
    try:
        return schema_of(response_format["json_schema"]["schema"])
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            f"response_format={response_format!r:.80} has no ['json_schema']['schema']"
        ) from error
