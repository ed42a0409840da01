"""The values that pass between the rooms of the house, all frozen.

They know nothing of models, stores or LangChain. Arrays are numpy, so that a store or a renderer
need not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Role: TypeAlias = Literal["system", "user", "assistant", "tool", "document"]
ROLES: tuple[str, ...] = get_args(Role)
CHAT_ROLES = ("system", "user", "assistant", "tool")

FinishReason: TypeAlias = Literal["stop", "length", "cancelled", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for; ``parameters`` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what is no text, or no schema in JSON."""
        if not isinstance(self.name, str) or not isinstance(self.description, str):
            raise ValueError(f"tool {self.name!r}: name and description must be strings")
        _check_json(f"tool {self.name!r}", [self.name, self.description])
        _check_json(f"tool {self.name!r}: parameters", self.parameters)
        if not isinstance(self.parameters, Mapping):
            raise ValueError(f"tool {self.name!r}: parameters must be a JSON schema, an object")


def _check_json(what: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` can be written down as JSON in UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False, default=dict).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What an assistant asked a tool for, as it was written: ``{"name": ..., "arguments": ...}``.

    ``id`` joins it with the result. ``text`` is kept letter by letter, since chunks are cut in it.
    """

    id: str
    text: str

    @property
    def name(self) -> str:
        """The name of the tool; empty where ``text`` is no call."""
        return str(self._read().get("name", ""))

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The arguments; None where ``text`` is no call, as one that was cut off."""
        arguments = self._read().get("arguments")
        return arguments if isinstance(arguments, dict) else None

    def _read(self) -> dict[str, Any]:
        try:
            call = json.loads(self.text)
        except ValueError:
            return {}
        return call if isinstance(call, dict) else {}

    @classmethod
    def of(cls, id: str, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        """A call, written as an engine writes it."""
        said = {"name": name, "arguments": dict(arguments)}
        return cls(id, json.dumps(said, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class Message:
    """One message, verbatim.

    ``turn`` joins a question with its answer; ``id`` is unique in its session and makes writing
    idempotent; ``payload`` carries what is not text (names, tool calls); ``time`` is seconds since
    the epoch, told for the reader's sake and never used for ordering. An assistant's tool calls are
    ``payload["calls"]``, see :attr:`calls`. ``cuts`` are the places where
    chunks end that were cut when this message was written, as character offsets into the session's
    written-down transcript; they hold for the layout named by ``layout``.
    """

    role: Role
    text: str
    id: str = ""
    turn: str = ""
    time: float = 0.0
    payload: Mapping[str, Any] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()
    layout: str = ""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of an assistant's message, in order; they stand after its text."""
        if self.role != "assistant":
            return ()
        calls = self.payload.get("calls", ())
        return tuple(ToolCall(call["id"], call["text"]) for call in calls)


def calls_payload(calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    """``calls`` as the payload of an assistant's message has them; empty without any."""
    return {"calls": [{"id": c.id, "text": c.text} for c in calls]} if calls else {}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of transcript or document that is drawn as one sketch.

    ``id`` is a digest of the text, so that equal text has one id. ``tokens`` counts the text tokens
    that the chunk stands for, ``start`` is its character offset in its transcript or document.
    """

    id: str
    text: str
    tokens: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class VisualTokens:
    """What the model sees of one chunk.

    ``values`` has shape (visual tokens, hidden size), float32, rounded by the engine to the format
    that they are stored in, so that what was stored and what was just encoded are the same; what
    was stored as float32 is a view that cannot be written. ``fingerprint`` names the
    weights, geometry, font and codec that made them. ``text_tokens`` is what they stand for.
    """

    chunk_id: str
    values: npt.NDArray[np.float32]
    fingerprint: str
    text_tokens: int

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True, slots=True)
class Context:
    """All that an answer is generated from, in the order in which the model reads it.

    ``pinned`` is text that is never folded (system prompt, tool schemas), ``visual`` the memory,
    and ``tail`` the written-down transcript after the last fold, ending with the mark of the role
    whose turn it is to speak. ``sources`` are the chunks that ``visual`` stands for, in the same
    order, for engines that put a part of their text beside them. ``speaks`` says whose words
    ``tail`` begins with, where it begins inside a message. ``cache_salt``: what an engine keeps of
    this context, as its KV cache, is used again for contexts of equal salt alone; it is the
    memory's namespace, so that no tenant can find out by time what another one asks. ``owner``
    names the session, so that what was kept of it can be dropped with it.
    """

    pinned: str
    visual: tuple[VisualTokens, ...]
    tail: str
    sources: tuple[Chunk, ...] = ()
    speaks: Role = "assistant"
    cache_salt: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How to generate. ``temperature`` 0 is greedy; ``max_tokens`` counts new text tokens.

    ``tools`` are told to the model as pinned text. ``tool_choice``: whether it calls one is its
    own choice (``"auto"``), it must call one (``"any"``) or none (``"none"``), or must call the one
    that is named. A call always matches the tool's parameters. ``schema``: a JSON schema that the
    text of the answer must match; it is then never stopped by ``stop``, which is looked for in
    text alone. With tools, an answer is either. Within ``max_tokens`` calls and JSON are always
    ended; what cannot be is refused. ``logprobs``: tell the log probability of each token of text,
    and of so many of the likeliest at its place; None tells none. ``exact_quotes``: a model that
    answers by quoting quotes only what stands in the memory or the recent text; False leaves its
    quotes as it reads them.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    exact_quotes: bool = True

    def __post_init__(self) -> None:
        checks = (
            ("max_tokens", self.max_tokens, self.max_tokens >= 1, "at least 1"),
            ("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (off) or more"),
            ("logprobs", self.logprobs, (self.logprobs or 0) >= 0, "None (off), 0 or more"),
            ("tool_choice", self.tool_choice, self._may_choose(), self._choices()),
        )
        if isinstance(self.stop, str) or not all(isinstance(text, str) for text in self.stop):
            raise ValueError(f"stop={self.stop!r} is not allowed: it must be a tuple of strings")
        _check_json("schema", self.schema)
        for name, value, good, allowed in checks:
            if not good:
                raise ValueError(f"{name}={value!r} is not allowed: it must be {allowed}")

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the answer may call."""
        if self.tool_choice in ("auto", "any"):
            return self.tools
        return tuple(tool for tool in self.tools if tool.name == self.tool_choice)

    @property
    def must_call(self) -> bool:
        """Whether the answer has to call a tool."""
        return self.tool_choice not in ("auto", "none")

    def _may_choose(self) -> bool:
        return self.tool_choice in ("auto", "none") or bool(self.offered)

    def _choices(self) -> str:
        names = [repr(tool.name) for tool in self.tools]
        return ", ".join(["'auto'", "'none'", *(["'any'", *names] if names else [])])


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens.

    ``text_tokens``: text tokens that the visual tokens stand for. ``visual_tokens``: visual tokens
    read. ``cached_visual_tokens`` of them came from the store, the rest was encoded for this call.
    ``prompt_text_tokens``: tokens read as text (pinned, tail, question). ``full_prompt_tokens``:
    what a text model would have read. ``new_tokens``: text tokens generated. ``reused_tokens``: of
    the tokens read, visual and text, those of which the engine had kept keys and values.
    """

    text_tokens: int = 0
    visual_tokens: int = 0
    cached_visual_tokens: int = 0
    prompt_text_tokens: int = 0
    full_prompt_tokens: int = 0
    new_tokens: int = 0
    folds: int = 0
    reused_tokens: int = 0

    @property
    def compression_ratio(self) -> float:
        """Text tokens of what was folded over its visual tokens; 0.0 when nothing was folded."""
        return self.text_tokens / self.visual_tokens if self.visual_tokens else 0.0

    @property
    def context_ratio(self) -> float:
        """What a text model would have been sent over what this model was sent."""
        sent = self.visual_tokens + self.prompt_text_tokens
        return self.full_prompt_tokens / sent if sent else 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds spent in each stage of one answer."""

    load_s: float = 0.0
    encode_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token, and how likely it was; ``bytes`` are its own, ``top`` the likeliest."""

    token: str
    bytes: bytes
    logprob: float
    """Natural logarithm, before temperature and the like."""
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New text of the answer; ``logprobs`` of the tokens since the last one, if asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """New text of the tool call ``index`` of the answer; ``id`` is the same in all of a call."""

    index: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ChunkFolded:
    """The chunk in progress was full: its text left the KV cache, its visual tokens took its place.

    ``chunk.text`` may begin with transcript that was there before the answer.
    """

    chunk: Chunk
    visual: VisualTokens


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a session or a collection was not read, for want of room.

    ``ids`` are the messages or documents of which something was left out, in order; ``tokens``
    counts the text tokens that were.
    """

    kind: Literal["session", "collection"]
    name: str
    ids: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class ChunkUse:
    """A chunk that could have been read to answer: of what it is, its tokens, whether it was read.

    ``document``: the id of the document that it is of, in a collection. ``visual_tokens`` stand for
    ``tokens`` of text.
    """

    kind: Literal["session", "collection"]
    name: str
    document: str
    chunk_id: str
    tokens: int
    visual_tokens: int
    pinned: bool
    read: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a generation. ``text`` is the whole answer, ``calls`` what it asks tools for.

    ``chunks``: all chunks of the memory, in the order in which those that were read stood.
    """

    text: str
    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    degraded: tuple[str, ...] = ()
    left_out_tokens: int = 0
    calls: tuple[ToolCall, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    chunks: tuple[ChunkUse, ...] = ()


GenerationEvent: TypeAlias = TextDelta | ToolCallDelta | ChunkFolded | Finished
