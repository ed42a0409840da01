"""How a stock model is told of tools, and how it writes calls.

Families that have tokens for it write a call as Qwen's do, between ``<tool_call>`` and
``</tool_call>``; the others answer with a line of JSON and nothing else. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vist2_memory.engine.grammar import CallForm
from vist2_memory.engine.vlm.tokenizer import ChatTokenizer
from vist2_memory.text.tools import write_schema, write_tools
from vist2_memory.text.transcript import write_message
from vist2_memory.types import GenerationParams, Tool

OPENS, CLOSES = "<tool_call>", "</tool_call>"

HOW = 'To call one, answer with a line of JSON: {"name": ..., "arguments": {...}}'
"""Told to a model whose template does not tell it."""


def find_form(tokenizer: ChatTokenizer) -> CallForm:
    """How a model with such a tokenizer writes calls."""
    ids = [tokenizer.backend.token_to_id(token) for token in (OPENS, CLOSES)]
    if set(ids) <= tokenizer.controls:
        return CallForm(ids[0], ids[1], inside="\n", between="\n")
    return CallForm(None, between="\n")


def as_functions(tools: Sequence[Tool]) -> list[dict[Any, Any] | Callable[..., Any]]:
    """``tools`` as chat templates take them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": {"type": "object", "properties": {}, **tool.parameters},
            },
        }
        for tool in tools
    ]


def told(params: GenerationParams, template_tells: bool) -> str:
    """What is pinned of the tools and the schema; of tools only what the template does not tell."""
    tools = "" if template_tells else write_tools(params.tools)
    said = (tools and f"{tools}\n{HOW}", write_schema(params.schema))
    return "".join(write_message("system", text) for text in said if text)
