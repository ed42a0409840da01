"""OpenAI's chat API as the engine takes it, and what the engine tells as OpenAI has it.

Messages are read in ``histories``; here are tools, choices, forms of answers and log probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.types import TokenLogprob, Tool

ANY_JSON: dict[str, Any] = {"type": "object"}
"""What an answer in JSON mode without a schema must match."""

_KINDS = {"required": "any", "any": "any", "auto": "auto", "none": "none"}


def tool_of(tool: Mapping[str, Any]) -> Tool:
    """A tool; raises ``InvalidInputError`` for one that is no function."""
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        raise InvalidInputError(
            f"a tool of type {tool.get('type')!r} is one of a provider's own: the model calls "
            "functions only"
        )
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"the function {str(function)[:60]} has no name")
    empty = {"type": "object", "properties": {}}
    try:
        return Tool(name, function.get("description") or "", parameters or empty)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def choice_of(choice: Any, names: Sequence[str]) -> str:
    """Which of the tools ``names`` is to be called: ``"auto"``, ``"any"``, ``"none"`` or a name.

    A tool's name comes first, where it is one of these. Raises ``InvalidInputError`` for a name
    that is none.
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


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that answers must match; None for text.

    Raises ``InvalidInputError`` for a form that is not known.
    """
    kind = "text" if response_format is None else response_format.get("type")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return dict(response_format.get("schema") or ANY_JSON)
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, Mapping):
        raise InvalidInputError(
            f"response_format={str(response_format)[:80]} is not known: its type must be 'text', "
            "'json_object', or 'json_schema' with ['json_schema']['schema']"
        )
    return dict(schema)


def logprobs_of(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Log probabilities of tokens, and of the likeliest at their places."""
    return [
        {**_likely(one), "top_logprobs": [_likely(other) for other in one.top]} for one in logprobs
    ]


def _likely(one: TokenLogprob) -> dict[str, Any]:
    return {"token": one.token, "bytes": list(one.bytes), "logprob": one.logprob}
