"""LangChain's messages as entries, and back: what a model reads, and that nothing is lost."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core import messages as langchain
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from langchain_vist2.messages import EMPTY, NO_OUTPUT, from_message, to_entry
from tests.support.langchain_messages import any_messages, messages
from vist2_memory.errors import InvalidMessageError
from vist2_memory.memory.entries import Entry
from vist2_memory.memory.histories import to_messages
from vist2_memory.memory.langchain_form import current, part_of
from vist2_memory.types import Message

CALL = {"name": "add", "args": {"a": 1}, "id": "c1"}
PICTURE = {"type": "image", "url": "https://example.org/cat.png", "mime_type": "image/png"}


def stored(entry: Entry, text: str | None = None) -> Message:
    """As a store gives it back."""
    payload = json.loads(json.dumps(entry.payload, allow_nan=False))
    return Message(entry.role, entry.text if text is None else text, "m", payload=payload)


def test_every_class_of_langchain_is_known() -> None:
    public = [getattr(langchain, name) for name in langchain.__all__]
    known = {kind for kind in public if isinstance(kind, type) and issubclass(kind, BaseMessage)}
    assert known - {BaseMessage, langchain.BaseMessageChunk} <= set(messages)


@pytest.mark.parametrize("kind", messages, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_it_comes_back_as_it_was(kind: type[BaseMessage], data: st.DataObject) -> None:
    message = data.draw(messages[kind])
    entry = to_entry(message, "keep")
    again = from_message(stored(entry))
    assert again == message
    assert type(again) is kind
    assert again.model_dump() == message.model_dump()
    assert to_entry(again, "keep").payload == entry.payload


@settings(max_examples=50)
@given(any_messages)
def test_what_is_given_back_shares_nothing_with_what_is_stored(message: BaseMessage) -> None:
    entry = to_entry(message, "keep")
    before = json.dumps(entry.payload)
    for one in (message, from_message(Message(entry.role, entry.text, payload=entry.payload))):
        one.additional_kwargs["more"] = 1
        if isinstance(one.content, list):
            one.content.append("more")
        if isinstance(one, AIMessage):
            one.tool_calls.clear()
    assert json.dumps(entry.payload) == before


@settings(max_examples=50)
@given(any_messages)
def test_a_text_that_was_edited_is_the_content(message: BaseMessage) -> None:
    edited = from_message(stored(to_entry(message, "keep"), "Something else."))
    assert edited.content == "Something else."
    assert type(edited) is type(message)
    assert edited.id == message.id
    if isinstance(message, AIMessage) and isinstance(edited, AIMessage):
        assert edited.tool_calls == message.tool_calls


@settings(max_examples=50)
@given(any_messages)
def test_what_langchain_writes_as_json_becomes_the_same(message: BaseMessage) -> None:
    [written] = messages_to_dict([message])
    try:
        [written] = json.loads(json.dumps([written], allow_nan=False))
    except (TypeError, ValueError):
        return  # it holds what JSON does not
    part = part_of(written["type"], current(written["type"], written["data"]))
    [kept] = to_messages([part])
    assert [from_message(kept)] == messages_from_dict([written])


PLAIN = [
    (SystemMessage("Be kind."), "system", "Be kind."),
    (HumanMessage("Hi."), "user", "Hi."),
    (AIMessage("Hello."), "assistant", "Hello."),
    (ToolMessage("4", tool_call_id="c1"), "tool", "4"),
]


@pytest.mark.parametrize(("message", "role", "text"), PLAIN)
def test_nothing_is_kept_twice(message: BaseMessage, role: str, text: str) -> None:
    entry = to_entry(message)
    assert (entry.role, entry.text) == (role, text)
    assert entry.payload == ({"tool_call_id": "c1"} if role == "tool" else {})


def test_calls_are_where_a_session_has_them() -> None:
    call = {"name": "add", "args": {"a": 1, "b": "é"}, "id": "c1"}
    broken = {"name": "add", "args": "{q", "id": None, "error": "no JSON"}
    entry = to_entry(AIMessage("", tool_calls=[call], invalid_tool_calls=[broken]))
    assert entry.text == ""
    assert entry.payload["calls"] == [
        {"id": "c1", "text": '{"name": "add", "arguments": {"a": 1, "b": "é"}}'},
        {"id": "call_1", "text": '{"name": "add", "arguments": {q}'},
    ]
    plain = to_entry(AIMessage("Wait.", tool_calls=[call]))
    assert plain.text == "Wait."
    assert plain.payload.keys() == {"calls"}


def test_entries_are_equal_when_role_text_and_calls_are() -> None:
    def calling(**args: Any) -> BaseMessage:
        return AIMessage("", tool_calls=[{"name": "add", "args": args, "id": "c1"}])

    assert to_entry(HumanMessage("Hi.", id="1")) == to_entry(HumanMessage("Hi.", name="Anna"))
    assert to_entry(HumanMessage("Hi.")) != to_entry(AIMessage("Hi."))
    assert to_entry(calling(a=1)) == to_entry(calling(a=1)) != to_entry(calling(a=2))
    generated = {"calls": [{"id": "c1", "text": '{"name":"add","arguments":{"a":1}}'}]}
    assert Entry("assistant", "", generated) == to_entry(calling(a=1))
    assert Entry("assistant", "") != to_entry(calling(a=1))
    assert to_entry(HumanMessage("Hi.")) != "Hi."


def test_what_a_model_generated_reads_as_langchains() -> None:
    calls = [{"id": "c1", "text": '{"name": "f", "arguments": {}}'}, {"id": "c2", "text": '{"na'}]
    message = from_message(Message("assistant", "", "m", payload={"calls": calls}))
    assert isinstance(message, AIMessage)
    assert (message.content, message.id) == ("", None)
    assert [call["name"] for call in message.tool_calls] == ["f"]
    assert [call["args"] for call in message.invalid_tool_calls] == ['{"na']
    assert to_entry(message) == Entry("assistant", "", {"calls": calls})


@pytest.mark.parametrize("content", ["", " \n", [], ["", {"type": "text", "text": ""}]])
def test_what_says_nothing_has_a_text_that_says_so(content: Any) -> None:
    for kind in (HumanMessage, SystemMessage, AIMessage):
        assert to_entry(kind(content)).text == EMPTY
        assert to_entry(kind(content)).silent
    assert to_entry(ToolMessage(content, tool_call_id="c1")).text == NO_OUTPUT


def test_media_are_refused_named_or_kept() -> None:
    message = HumanMessage([{"type": "text", "text": "Who is it? "}, PICTURE])
    with pytest.raises(InvalidMessageError, match=r"content block of type 'image'.*placeholder"):
        to_entry(message)
    with pytest.warns(UserWarning, match=r"'image'.*its name"):
        entry = to_entry(message, "placeholder")
    assert entry.text == "Who is it? [image: cat.png, image/png]"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_entry(message, "keep") == entry
    assert from_message(stored(entry)) == message
    with pytest.raises(ValueError, match="media='drop' is not allowed"):
        to_entry(message, "drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "image", "base64": "AAAA", "mime_type": "image/png"}, "[image: image/png]"),
        ({"type": "image_url", "image_url": {"url": "data:image/gif,A"}}, "[image: image/gif]"),
        ({"type": "image_url", "image_url": "https://u:p@example.org/"}, "[image: example.org]"),
        ({"type": "file", "file": {"filename": "a b.pdf", "file_data": "AA"}}, "[file: a b.pdf]"),
        ({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, "[audio: wav]"),
        ({"type": "file", "id": "f", "extras": {"name": "x\n" * 99}}, f"[file: {'x ' * 40}]"),
        ({"type": "video"}, "[video]"),
    ],
)  # fmt: skip
def test_what_stands_for_a_block(block: dict[str, Any], text: str) -> None:
    assert to_entry(HumanMessage([block]), "keep").text == text


def test_reasoning_is_kept_and_not_read() -> None:
    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Yes."}]
    assert to_entry(AIMessage(blocks)).text == "Yes."
    assert to_entry(AIMessage([blocks[0]])).text == EMPTY


class Narrated(HumanMessage):
    """Of a class that nobody else knows."""


UNKEPT: dict[str, tuple[BaseMessage, str]] = {
    "a class of one's own": (Narrated("Hi."), "Narrated cannot be stored.*HumanMessage"),
    "NUL": (HumanMessage("a\0"), "NUL character at 1"),
    "a lone surrogate": (HumanMessage("\ud800"), "lone surrogate"),
    "too long": (ToolMessage("x" * 1_000_001, tool_call_id="c"), "longer than 1,000,000"),
    "an object": (ToolMessage("4", tool_call_id="c", artifact=object()), "builtins.object"),
    "content without text": (HumanMessage([{"no": "type"}]), "neither text nor a block"),
    "a surrogate in a call": (AIMessage("", tool_calls=[{**CALL, "name": "\ud800"}]), "lone surr"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKEPT)
def test_what_cannot_be_kept_is_an_error_that_says_why(name: str) -> None:
    message, why = UNKEPT[name]
    with pytest.raises(InvalidMessageError, match=why):
        to_entry(message, "keep")


def test_what_is_nested_in_itself_is_an_error() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidMessageError, match="too deep"):
        to_entry(ToolMessage("4", tool_call_id="c", artifact=loop))


@pytest.mark.parametrize("message", [RemoveMessage(id="m1"), ChatMessage("Hm.", role="narrator")])
@pytest.mark.parametrize("media", ["error", "placeholder"])
def test_what_no_model_can_be_told_is_only_kept(message: BaseMessage, media: Any) -> None:
    with pytest.raises(InvalidMessageError, match="cannot be stored"):
        to_entry(message, media)


@pytest.mark.parametrize(
    "payload",
    [
        {"langchain": 5},
        {"langchain": {"type": "wizard"}},
        {"langchain": {"content": 5}},
        {"langchain": {"artifact": {"$": "eval", "value": "1"}}, "packed": ["artifact"]},
        {"langchain": {"artifact": {"$": "UUID", "value": "1"}}, "packed": ["artifact"]},
        {"langchain": {"artifact": {"$": "bytes"}}, "packed": ["artifact"]},
    ],
)
def test_a_payload_of_another_form_is_an_error(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError):
        from_message(Message("tool", "4", "m", payload=payload))


def test_a_document_is_no_message() -> None:
    with pytest.raises(InvalidMessageError, match="'document'"):
        from_message(Message("document", "Once.", "m"))


def test_tool_calls_of_old_dumps_are_found() -> None:
    raw = {"id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    bad = {"id": "c2", "function": {"name": "add", "arguments": "{q"}}
    data = {"content": "", "additional_kwargs": {"tool_calls": [raw, bad]}, "example": False}
    [kept] = to_messages([part_of("ai", current("ai", data))])
    assert [call.name for call in kept.calls] == ["add", ""]
    assert [from_message(kept)] == messages_from_dict([{"type": "ai", "data": data}])


def test_chunks_stay_chunks() -> None:
    chunk = AIMessageChunk("Hel", id="run-1") + AIMessageChunk("lo.", id="run-1")
    assert from_message(stored(to_entry(chunk))) == chunk
