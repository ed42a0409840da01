"""Answers in a given form: ``llm.with_structured_output(schema)``.

Whatever the method, the model is told of the schema and held to it as it writes, so that what comes
is valid.

====================  ============================================================================
``json_schema``       the answer is JSON of this schema
``json_mode``         the same; without a schema any object
``function_calling``  the answer is a call of a function that takes the schema's fields
====================  ============================================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from operator import itemgetter
from typing import Any, Literal, TypeAlias, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableMap,
    RunnablePassthrough,
)
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_vist2.chat.tooling import Schema, ToolLike, as_openai, schema_of
from langchain_vist2.errors import InvalidInputError
from vist2_memory.memory.openai_form import ANY_JSON

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]

_UNNAMED = "answer"
"""What a schema without a title is called."""


def structured(
    model: BaseChatModel,
    schema: Schema | None,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    tools: Sequence[ToolLike],
    options: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """``model`` with a parser after it; see ``ChatVIST2.with_structured_output``."""
    if method not in get_args(Method):
        allowed = ", ".join(get_args(Method))
        raise InvalidInputError(f"method={method!r} is not allowed: give one of {allowed}")
    if schema is None and method != "json_mode":
        raise InvalidInputError(f"method={method!r} needs a schema: only 'json_mode' goes without")
    named = _named(schema)
    if named is not None:
        options["ls_structured_output_format"] = {
            "kwargs": {"method": method, "strict": strict},
            "schema": named,
        }
    if method == "function_calling":
        name = as_openai(_given(named))["function"]["name"]
        options = {"tool_choice": name, "parallel_tool_calls": False, **options}
        bound = model.bind_tools([_given(named), *tools], **options)
    else:
        wanted = ANY_JSON if named is None else schema_of(named)
        options["response_format"] = (
            {"type": "json_object", "schema": wanted}
            if method == "json_mode"
            else {"type": "json_schema", "json_schema": {"schema": wanted, "strict": strict}}
        )
        bound = model.bind_tools(tools, **options) if tools else model.bind(**options)
    parser: Runnable[Any, Any] = RunnableGenerator(_whole, _awhole) | _parser(named, method)
    return _with_raw(bound, parser) if include_raw else bound | parser


def _given(schema: Schema | None) -> Schema:
    assert schema is not None  # refused above
    return schema


def _named(schema: Schema | None) -> Schema | None:
    """``schema``, with a name if it is a JSON schema that has none."""
    if isinstance(schema, dict) and not schema.keys() & {"title", "name", "function", "toolSpec"}:
        return {**schema, "title": _UNNAMED}
    return schema


def _parser(schema: Any, method: Method) -> Runnable[Any, Any]:
    is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    if method != "function_calling":
        return PydanticOutputParser(pydantic_object=schema) if is_pydantic else JsonOutputParser()
    if is_pydantic:
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    name = as_openai(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _with_raw(
    model: Runnable[LanguageModelInput, AIMessage], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    """The message, what was parsed of it, and the error if it could not be."""
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    with_fallback = parsed.with_fallbacks([unparsed], exception_key="parsing_error")
    return RunnableMap(raw=model) | with_fallback


def _whole(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    """``messages`` as they come; one that was cut off is an error, which parsers overlook."""
    for message in messages:
        _refuse_cut_off(message)
        yield message


async def _awhole(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    async for message in messages:
        _refuse_cut_off(message)
        yield message


def _refuse_cut_off(message: AIMessage) -> None:
    if message.response_metadata.get("finish_reason") == "length":
        raise OutputParserException(
            "the answer was cut off, so that what can be read of it is not all that was meant: "
            "allow more max_tokens",
            llm_output=message.text,
        )
