"""The functions of LangChain's standard tests for chat models, asked with other values.

Nothing like them is trained on (``synthetic.functions.EXCLUDED``), so they tell how a model does on
functions that somebody else thought of. The values are drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vist2_memory.training.synthetic.functions_values import foreign
from vist2_memory.training.synthetic.values import Draw
from vist2_memory.types import Tool


@dataclass(frozen=True)
class Standard:
    """A function of the tests: a question, and the arguments that it names, from values."""

    tool: Tool
    question: str
    draw: Callable[[Draw], Mapping[str, Any]]


def _tool(name: str, said: str, **types: str) -> Tool:
    fields = {name: {"type": kind} for name, kind in types.items()}
    return Tool(name, said, {"type": "object", "properties": fields, "required": list(types)})


def _integer(draw: Draw) -> int:
    return int(draw.digits(1, 3))


STANDARD: tuple[Standard, ...] = (
    Standard(
        _tool("magic_function", "Apply a magic function to an input.", input="integer"),
        "What is the value of magic_function({input})? Use the tool.",
        lambda draw: {"input": _integer(draw)},
    ),
    Standard(
        _tool("magic_function_no_args", "Calculate a magic function."),
        "What is the value of magic_function_no_args()? Use the tool.",
        lambda draw: {},
    ),
    Standard(
        _tool("get_weather", "Get the weather at a location.", location="string"),
        "What is the weather in {location}?",
        lambda draw: {"location": draw.town()},
    ),
    Standard(
        _tool("my_adder_tool", "Tool that adds two integers.", a="integer", b="integer"),
        "What is {a} + {b}",
        lambda draw: {"a": _integer(draw), "b": _integer(draw)},
    ),
    Standard(
        _tool(
            "greeting_generator",
            "Generate a greeting in a particular style of speaking.",
            answer_style="string",
        ),
        "Using the tool, generate a {answer_style} greeting.",
        lambda draw: {"answer_style": draw.mixed("jobs").capitalize()},
    ),
    Standard(
        _tool(
            "unicode_customer",
            "Tool for creating a customer with Unicode name.",
            customer_name="string",
            description="string",
        ),
        "Create a customer named '{customer_name}' - a technology company",
        lambda draw: {"customer_name": foreign(draw.rng)},
    ),
)
"""What is not in the arguments (a description in one's own words) may be anything."""


def standard_cases(draw: Draw, count: int) -> Iterator[tuple[Tool, str, Mapping[str, Any]]]:
    """``count`` of them in turn: the tool, a question, and the arguments that it names."""
    for place in range(count):
        standard = STANDARD[place % len(STANDARD)]
        given = standard.draw(draw)
        yield standard.tool, standard.question.format(**given), given
