"""Messages of every class that LangChain has, made up at random."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from tests.support.memories import HOSTILE

Made = st.SearchStrategy[Any]

texts = st.sampled_from(["", " ", "\n", "(empty)", "(no output)", "Hello.", *HOSTILE]) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
ids = st.none() | st.sampled_from(["", "m1", "run--1-0"]) | st.text(max_size=5)
names = st.none() | st.sampled_from(["Anna", "add"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda of: st.lists(of, max_size=3) | st.dictionaries(texts, of, max_size=3),
    max_leaves=6,
)
more_values = (
    st.text(max_size=5)  # lone surrogates and NUL too
    | st.binary(max_size=5)
    | st.sampled_from([float("inf"), Decimal("1.10"), date(2026, 3, 14), timedelta(days=-1)])
    | st.datetimes(min_value=datetime(1990, 1, 1))
    | st.uuids()
    | st.builds(Document, texts, metadata=st.dictionaries(texts, json_values, max_size=2))
)
any_values = st.recursive(
    json_values | more_values,
    lambda of: (
        st.lists(of, max_size=3)
        | st.dictionaries(texts | st.integers() | st.just("$"), of, max_size=3)
        | st.tuples(of, of)
        | st.frozensets(st.integers() | texts, max_size=3)
    ),
    max_leaves=6,
)
"""All that can be kept beside a message."""

text_blocks = texts | st.builds(lambda text: {"type": "text", "text": text}, texts)
MEDIA: list[dict[str, Any]] = [
    {"type": "image", "url": "https://example.org/a/cat.png", "mime_type": "image/png"},
    {"type": "image", "base64": "AAAA", "mime_type": "image/png", "extras": {"name": "x.png"}},
    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
    {"type": "image_url", "image_url": "https://[broken"},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "text-plain", "mime_type": "text/plain", "text": "as written"},
    {"type": "non_standard", "value": {"type": "unheard of"}},
    {"type": "server_tool_call", "name": "search", "args": {}, "id": "s1"},
]
media_blocks = st.sampled_from(MEDIA)
assistant_blocks = st.sampled_from(
    [
        {"type": "reasoning", "reasoning": "Let me think."},
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
        {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 1}},
        {"type": "refusal", "refusal": "No."},
    ]
)


def contents(blocks: Made) -> Made:
    return texts | st.lists(blocks, max_size=3)


some_calls = st.lists(
    st.fixed_dictionaries(
        {"name": texts, "args": st.dictionaries(texts, json_values, max_size=3), "id": ids}
    ),
    max_size=3,
)
broken_calls = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | st.just("add"),
            "args": st.none() | st.sampled_from(["", "{q", "[1]", '{"a": 1}', '{"name": "x"}']),
            "id": ids,
            "error": st.none() | st.just("no JSON"),
        }
    ),
    max_size=2,
)
pieces = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | st.just("add"),
            "args": st.none() | st.sampled_from(["", '{"a": 1}', '{"a": 1', "1]"]),
            "id": st.none() | st.just("c1"),
            "index": st.none() | st.integers(0, 3),
        }
    ),
    max_size=2,
)
usages = st.none() | st.just(
    {
        "input_tokens": 3,
        "output_tokens": 4,
        "total_tokens": 7,
        "input_token_details": {"cache_read": 2},
    }
)
beside = st.dictionaries(texts, any_values, max_size=3)
common: dict[str, Made] = {
    "id": ids,
    "additional_kwargs": beside,
    "response_metadata": beside | st.just({"output_version": "v1"}),
}
anything = text_blocks | media_blocks
fields: dict[type[BaseMessage], dict[str, Made]] = {
    HumanMessage: {"content": contents(anything), "name": names, "example": st.booleans()},
    SystemMessage: {"content": contents(text_blocks), "name": names},
    AIMessage: {
        "content": contents(anything | assistant_blocks),
        "name": names,
        "tool_calls": some_calls,
        "invalid_tool_calls": broken_calls,
        "usage_metadata": usages,
    },
    AIMessageChunk: {
        "content": contents(anything | assistant_blocks),
        "tool_call_chunks": pieces,
        "usage_metadata": usages,
        "chunk_position": st.none() | st.just("last"),
    },
    ToolMessage: {
        "content": contents(anything),
        "name": names,
        "tool_call_id": st.sampled_from(["", "c1"]),
        "artifact": any_values,
        "status": st.sampled_from(["success", "error"]),
    },
    FunctionMessage: {"content": contents(anything), "name": st.just("add")},
    ChatMessage: {
        "content": contents(anything),
        "role": st.sampled_from(["human", "assistant", "system", "tool", "narrator", ""]),
    },
}
fields |= {
    HumanMessageChunk: fields[HumanMessage],
    SystemMessageChunk: fields[SystemMessage],
    ToolMessageChunk: fields[ToolMessage],
    FunctionMessageChunk: fields[FunctionMessage],
    ChatMessageChunk: fields[ChatMessage],
}


def _of(kind: type[BaseMessage]) -> Made:
    make: Callable[..., BaseMessage] = kind
    some = {name: of for name, of in (common | fields[kind]).items() if name != "content"}
    return st.builds(
        lambda content, more: make(content=content, **more),
        fields[kind]["content"],
        st.fixed_dictionaries(
            {name: some.pop(name) for name in ("tool_call_id", "role") if name in some}
            | ({"name": some.pop("name")} if issubclass(kind, FunctionMessage) else {}),
            optional=some,
        ),
    )


messages: dict[type[BaseMessage], Made] = {kind: _of(kind) for kind in fields}
"""By class."""
messages[RemoveMessage] = texts.map(lambda id: RemoveMessage(id=id))
any_messages = st.one_of(*messages.values())

CALL = {"name": "find", "args": {"q": "Miso", "n": 1.5}, "id": "c1"}
BROKEN = {"name": "find", "args": "{q", "id": None, "error": "no JSON"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
ONE_OF_EACH: list[BaseMessage] = [
    SystemMessage("Be kind.", id="s1"),
    HumanMessage(["Who is ", {"type": "text", "text": "it?"}, MEDIA[0]], name="Anna"),
    AIMessage(
        [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Let me look."}],
        tool_calls=[CALL],
        invalid_tool_calls=[BROKEN],
        usage_metadata=USAGE,
        response_metadata={"model_name": "m", "logprobs": None, "output_version": "v1"},
        id="run-1",
    ),
    ToolMessage(
        "On the roof.",
        tool_call_id="c1",
        artifact=[Document("On the roof.", metadata={"page": 1}), (b"\0", {1: float("inf")})],
    ),
    ToolMessage("", tool_call_id="c2", status="error", name="find"),
    AIMessage("It is Miso.", additional_kwargs={"function_call": None}),
    FunctionMessage("4", name="add"),
    ChatMessage("Meanwhile.", role="narrator"),
    HumanMessage("", example=True),
    AIMessage(""),
    RemoveMessage(id="gone"),
    AIMessageChunk("Hel", id="run-2", tool_call_chunks=[]) + AIMessageChunk("lo.", id="run-2"),
    HumanMessageChunk("Hi"),
    SystemMessageChunk("Be brief."),
    ToolMessageChunk("4", tool_call_id="c3"),
    FunctionMessageChunk("4", name="add"),
    ChatMessageChunk("Hm.", role="ai"),
]  # fmt: skip
"""A conversation with a message of every class."""
