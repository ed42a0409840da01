"""``--engine`` and ``--engine-option``: what runs the model, and how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vist2_memory.errors import InvalidInputError

EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="What runs the model: torch, vllm, vllm+http://host:8000 (a vLLM server), or "
        "http://host:8000 (vist2 serve). [default: $VIST2_ENGINE, or torch]",
    ),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="NAME=VALUE",
        help="How it is run, once for each: kv_dtype=int8, vllm.max_model_len=8192, ... A value is "
        "JSON, or else text.",
    ),
]


def read_options(given: Sequence[str] | None) -> dict[str, Any] | None:
    """Options as :meth:`VisualMemory.open` takes them; a dot leads into an object.

    Raises ``InvalidInputError`` for what is no ``NAME=VALUE``, or is said twice.
    """
    options: dict[str, Any] = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        *path, last = name.split(".")
        if not equals or not all((*path, last)):
            raise InvalidInputError(
                f"--engine-option {one!r} is none: give NAME=VALUE, as kv_dtype=int8"
            )
        inner = options
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InvalidInputError(f"--engine-option {one!r}: {part} has a value already")
        if last in inner:
            raise InvalidInputError(f"--engine-option {name} is given twice")
        inner[last] = _read(value)
    return options or None


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
