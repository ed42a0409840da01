"""Functions that a model may call, and what is said about them: the terms of made-up tool use.

What the public test suites of chat models call is left out of everything that is made here, so that
passing them says something: see :data:`EXCLUDED`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vist2_memory.training.synthetic.values import Draw
from vist2_memory.types import Tool

EXCLUDED = re.compile(
    r"magic|weather|forecast|adder|greet|customer|joke|pirate|punchline|answer_?style"
    r"|what is the value of",
    re.IGNORECASE,
)
"""Words of the functions and questions of LangChain's standard tests for chat models, which occur
in no function, parameter, description, question or answer that is made."""
EXCLUDED_PARAMETERS = frozenset({"input", "location", "description", "setup", "a", "b"})
"""Names of parameters of those functions that are words of their own, too: none is called so."""


@dataclass(frozen=True, slots=True)
class Value:
    """An argument: its JSON, and how a question says it."""

    json: Any
    said: str


@dataclass(frozen=True)
class Kind:
    """What the values of a parameter are: their JSON schema, and how one is drawn."""

    schema: Mapping[str, Any]
    draw: Callable[[Draw], Value]


@dataclass(frozen=True)
class Parameter:
    """A parameter with the words by which questions speak of it."""

    name: str
    kind: Kind
    words: str
    """What it is called in a sentence: "start time"."""
    phrases: tuple[str, ...] = ()
    """How a request gives its value: "at {v}"; "" says it nowhere but in generic ways."""
    required: bool = True
    described: str = ""


@dataclass(frozen=True)
class Function:
    """A function, and what a person would call what it gives or does."""

    name: str
    family: str
    """"lookup", "action", "computation" or "reading"."""
    verb: str
    noun: str
    parameters: tuple[Parameter, ...] = ()
    described: str = ""
    joint: str = "of"
    """The preposition between what is looked up and the first argument."""

    @property
    def tool(self) -> Tool:
        """It as a model is told of it."""
        fields = {}
        for parameter in self.parameters:
            said = {"description": parameter.described} if parameter.described else {}
            fields[parameter.name] = {**parameter.kind.schema, **said}
        required = [parameter.name for parameter in self.parameters if parameter.required]
        schema = {"type": "object", "properties": fields, "required": required}
        return Tool(self.name, self.described, schema)


Arguments = Mapping[str, Value]
"""The arguments of a call by the names of the parameters."""


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as an assistant writes it."""
    return json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)


@dataclass(frozen=True)
class Exchange:
    """What a user says, the calls that it takes, what they give, and the answer."""

    question: str
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    """One for each call, or none where nobody has answered the calls yet."""
    answer: str = ""
    """After the results, or at once where there are no calls."""
    forced: bool = False
    """The calls were asked for by whoever set the question: not the model's own choice."""
    learned: bool = True
    """Whether the answer is one to learn, not only there to be read."""


@dataclass(frozen=True)
class Scene:
    """Functions that are offered (or the schema of every answer), and conversations."""

    tools: Sequence[Tool]
    talks: Sequence[Sequence[Exchange]]
    schema: Mapping[str, Any] | None = None


def allowed(*texts: str) -> bool:
    """Whether none of ``texts`` has what is left out."""
    return not any(EXCLUDED.search(text) for text in texts)


def may_name(parameter: str) -> bool:
    """Whether a parameter may be called so."""
    return parameter not in EXCLUDED_PARAMETERS and allowed(parameter)
