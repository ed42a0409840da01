"""What one call asks for: the chat model's fields, with what the call says instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from langchain_vist2.chat.tooling import as_openai, schema_asked_for
from langchain_vist2.errors import InvalidInputError
from langchain_vist2.reference import VisualContext
from vist2_memory import Collection, GenerationParams
from vist2_memory.memory.conversing import OnConflict
from vist2_memory.memory.openai_form import choice_of, tool_of
from vist2_memory.memory.reading import ReadingOptions

Shown: TypeAlias = Literal["error", "placeholder"]

PARAMS = ("max_tokens", "temperature", "top_p", "top_k", "seed", "exact_quotes")
"""Options that are parameters of generation under the same name."""
SETTINGS = ("n", "logprobs", "top_logprobs", "session_id", "on_conflict", "keep_recent", "media")
"""Other options that are fields too."""
ALONE = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "strict",
    "response_format",
    "include",
    "selection",
    "pins",
    "budget",
    "visual_context",
)
"""Options of calls alone."""
_LANGCHAINS = ("stream",)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call. ``stop`` and the like are in ``params``."""

    params: GenerationParams
    n: int = 1
    session_id: str | None = None
    on_conflict: OnConflict = "raise"
    keep_recent: int | None = None
    media: Shown = "error"
    include: tuple[Collection | str, ...] = ()
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    """``selection``, ``pins`` and ``budget``, as far as they were given."""
    visual_context: VisualContext | None = None

    def __post_init__(self) -> None:
        checks = (
            ("n", self.n >= 1, "at least 1"),
            ("keep_recent", (self.keep_recent or 0) >= 0, "None, or 0 or more messages"),
            ("on_conflict", self.on_conflict in get_args(OnConflict), "'raise' or 'fork'"),
            ("media", self.media in get_args(Shown), "'error' or 'placeholder'"),
        )
        for name, good, allowed in checks:
            if not good:
                value = getattr(self, name)
                raise InvalidInputError(f"{name}={value!r} is not allowed: it must be {allowed}")
        if self.n > 1 and self.session_id is not None and self.visual_context is None:
            raise InvalidInputError(
                f"n={self.n} answers to one question cannot be asked for in a session "
                f"({self.session_id!r}), which holds one: leave out n or session_id"
            )


def asked(fields: Any, stop: Sequence[str] | None, call: Mapping[str, Any]) -> Asked:
    """What a call with the options ``call`` asks of a model with ``fields``.

    Raises ``TypeError`` for an option that is not known and ``ValueError`` for a value that is not
    allowed.
    """
    known = {*PARAMS, *SETTINGS, *ALONE, *_LANGCHAINS}
    if unknown := sorted(set(call) - known):
        raise TypeError(
            f"ChatVIST2 does not know the option {unknown[0]!r}: a call takes stop, "
            f"{', '.join([*PARAMS, *SETTINGS, *ALONE])}"
        )
    said = {name: value for name, value in call.items() if value is not None}
    of = {name: said.get(name, getattr(fields, name)) for name in (*PARAMS, *SETTINGS)}
    tools = [tool_of(as_openai(tool)) for tool in said.get("tools", ())]
    params = GenerationParams(
        stop=tuple(fields.stop if stop is None else stop),
        tools=tuple(tools),
        tool_choice=choice_of(said.get("tool_choice"), [tool.name for tool in tools]),
        parallel_tool_calls=said.get("parallel_tool_calls", True),
        schema=schema_asked_for(said.get("response_format")),
        logprobs=_logprobs(of.pop("logprobs"), of.pop("top_logprobs")),
        **{name: of.pop(name) for name in PARAMS},
    )
    include = said.get("include", ())
    if isinstance(include, (str, Collection)):
        include = (include,)
    given = {name: said[name] for name in ("selection", "pins", "budget") if name in said}
    read, context = cast(ReadingOptions, given), said.get("visual_context")
    return Asked(params, include=tuple(include), reading=read, visual_context=context, **of)


def _logprobs(wanted: bool | None, top: int | None) -> int | None:
    """OpenAI's two options as one: how many others are told beside each token; None tells none."""
    return top or 0 if wanted or (wanted is None and top) else None
