"""Histories that other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.memories import TALK, plain, said
from vist2_memory.errors import ConflictError, InvalidInputError, StoreFormatError
from vist2_memory.memory.content import EMPTY, NO_OUTPUT
from vist2_memory.memory.histories import read_histories
from vist2_memory.types import ToolCall

CHAT: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in TALK]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": "é"}'}}
FULL: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be kind."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Where "}, {"type": "text", "text": "?"}],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": ""},
    {"role": "assistant", "content": "There.", "name": "bot", "id": "m9", "created_at": 17.5},
    {"role": "assistant", "content": ""},
]


def written(folder: Path, *lines: object) -> Path:
    file = folder / "talk.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def langchain(entry: dict[str, Any]) -> dict[str, Any]:
    kind = {"user": "human", "assistant": "ai"}.get(entry["role"], entry["role"])
    return {"type": kind, "data": {"type": kind, "content": entry["content"]}}


SHAPES: dict[str, tuple[list[Any], list[str]]] = {
    "a message a line": (CHAT, ["talk"]),
    "a session a line": ([{"messages": CHAT}, {"messages": CHAT}], ["talk-1", "talk-2"]),
    "a name": ([{"id": "x", "messages": CHAT}], ["x"]),
    "a number": ([{"session_id": 7, "messages": CHAT}], ["7"]),
    "lists": ([CHAT, CHAT[:1]], ["talk-1", "talk-2"]),
    "langchain messages": ([langchain(entry) for entry in CHAT], ["talk"]),
    "langchain lists": ([[langchain(entry) for entry in CHAT]], ["talk-1"]),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_taken_and_nothing_twice(shape: str, tmp_path: Path) -> None:
    lines, names = SHAPES[shape]
    file, memory = written(tmp_path, *lines), plain()
    seen: list[tuple[str, int]] = []
    found = memory.import_histories(file, progress=lambda *given: seen.append(given))
    assert [name for name, _ in seen] == names
    assert found.sessions == len(names)
    assert found.messages == found.new == sum(new for _, new in seen)
    assert {info.scope.name for info in memory.sessions()} == set(names)
    assert said(memory.session(names[0])) == TALK
    again = memory.import_histories(file)
    assert (again.messages, again.new) == (found.messages, 0)
    memory.session(names[0]).ask("Who?")
    assert memory.import_histories(file).new == 0
    assert memory.session(names[0]).chunks()


def test_tools_names_and_blocks_are_kept(tmp_path: Path) -> None:
    memory = plain()
    memory.import_histories(written(tmp_path, {"id": "s", "messages": FULL}))
    messages = memory.session("s").messages()
    assert [(m.role, m.text) for m in messages] == [
        ("system", "Be kind."),
        ("user", "Where ?"),
        ("assistant", ""),
        ("tool", NO_OUTPUT),
        ("assistant", "There."),
        ("assistant", EMPTY),
    ]
    [call] = messages[2].calls
    assert call == ToolCall("c1", '{"name": "find", "arguments": {"q": "é"}}')
    assert messages[3].payload == {"tool_call_id": "c1", "langchain": {"content": ""}}
    assert (messages[4].id, messages[4].time, messages[4].payload) == ("m9", 17.5, {"name": "bot"})
    turns = [message.turn for message in messages]
    assert turns == ["", *[messages[1].id] * 5]


def test_content_that_is_no_text_is_named_and_told_or_refused(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    shown = {"role": "user", "content": [{"type": "text", "text": "See: "}, picture]}
    file, memory = written(tmp_path, CHAT[0], shown), plain()
    with pytest.raises(StoreFormatError, match=r"talk\.jsonl:2 .*'image_url'"):
        memory.import_histories(file, blocks="refuse")
    assert memory.sessions() == []
    found = memory.import_histories(file)
    assert said(memory.session("talk"))[1] == ("user", "See: [image: cat.png]")
    assert memory.session("talk").messages()[1].payload["langchain"]["content"] == shown["content"]
    [told] = found.warnings
    assert told.startswith(f"{file}:2: a content block of type 'image_url'")


BAD: dict[str, object] = {
    "no object": 5,
    "no role": {"content": "x"},
    "unknown role": {"role": "wizard", "content": "x"},
    "role no text": {"role": ["user"], "content": "x"},
    "no content": {"role": "user"},
    "content a number": {"role": "user", "content": 5},
    "NUL": {"role": "user", "content": "a\0"},
    "a surrogate": {"role": "user", "content": "\ud800"},
    "a broken call": {"role": "assistant", "tool_calls": [{"id": "1"}]},
    "calls no list": {"role": "assistant", "tool_calls": 5},
    "a session among messages": {"messages": []},
    "messages no list": {"messages": 5},
    "langchain without content": {"type": "human", "data": {}},
    "langchain of unknown type": {"type": "wizard", "data": {"content": "x"}},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_nothing_of_its_session_is_stored(
    name: str, tmp_path: Path
) -> None:
    memory = plain()
    for lines in ([*CHAT, BAD[name], *CHAT], [{"messages": [*CHAT, BAD[name]]}]):
        file = written(tmp_path, *lines)
        with pytest.raises(StoreFormatError, match=rf"talk\.jsonl:{len(lines) // 2 + 1} "):
            memory.import_histories(file)
        assert memory.sessions() == []


@pytest.mark.parametrize("content", [b"\xff", b"not json\n", b"[" * 100_000])
def test_what_is_no_json_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "talk.jsonl").write_bytes(content)
    with pytest.raises(StoreFormatError, match=r"talk\.jsonl"):
        plain().import_histories(tmp_path / "talk.jsonl")


def test_sessions_before_a_bad_line_are_stored_and_the_rest_comes_later(tmp_path: Path) -> None:
    memory = plain()
    file = written(tmp_path, {"messages": CHAT}, {"messages": 5}, {"messages": CHAT})
    with pytest.raises(StoreFormatError, match=":2 "):
        memory.import_histories(file)
    assert [info.scope.name for info in memory.sessions()] == ["talk-1"]
    file = written(tmp_path, {"messages": CHAT}, {"messages": CHAT}, {"messages": CHAT})
    assert memory.import_histories(file).new == 6


def test_a_history_that_grew_is_taken_on_and_another_is_refused(tmp_path: Path) -> None:
    memory = plain()
    memory.import_histories(written(tmp_path, *CHAT[:2]))
    assert memory.import_histories(written(tmp_path, *CHAT)).new == 1
    memory.session("talk").add("user", "More.")
    with pytest.raises(ConflictError, match="'talk' exists already with 4 messages"):
        memory.import_histories(written(tmp_path, *CHAT, *CHAT))
    assert len(said(memory.session("talk"))) == 4
    assert memory.import_histories(written(tmp_path, *CHAT), "other").new == 3


def test_a_form_that_was_named_must_be_it(tmp_path: Path) -> None:
    file, memory = written(tmp_path, *CHAT), plain()
    with pytest.raises(StoreFormatError, match=r":1 .*not of the form langchain"):
        memory.import_histories(file, form="langchain")
    with pytest.raises(StoreFormatError, match="no exported session"):
        memory.import_histories(file, form="vist2")
    with pytest.raises(ValueError, match="form="):
        list(read_histories(file, "xml"))  # type: ignore[arg-type]
    many = written(tmp_path, {"messages": CHAT}, {"messages": CHAT})
    with pytest.raises(InvalidInputError, match="2 sessions"):
        memory.import_histories(many, "one")
    assert memory.sessions() == []


def test_an_exported_session_is_known_by_its_first_line(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jsonl", plain()
    source = plain()
    source.import_histories(written(tmp_path, *CHAT), "a")
    source.session("a").export(file)
    found = memory.import_histories(file)
    assert (found.sessions, found.messages, found.new) == (1, 3, 3)
    assert memory.session("a").messages() == source.session("a").messages()
    assert memory.import_histories(file).new == 0
