"""Tools and formats of answers, as LangChain and OpenAI write them, for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel

from langchain_vist2.errors import InvalidInputError
from vist2_memory.memory.openai_form import ANY_JSON

ToolLike: TypeAlias = dict[str, Any] | type | Callable[..., Any] | BaseTool
Schema: TypeAlias = dict[str, Any] | type


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
