"""Conversations of LangChain into sessions, from values and from what it writes as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_to_dict,
)

from langchain_vist2.messages import from_message, import_messages, to_entries
from tests.support.memories import plain, said
from vist2_memory.errors import ConflictError, InvalidMessageError
from vist2_memory.memory.entries import Entry

CALL = {"name": "find", "args": {"q": "Miso"}, "id": "c1", "type": "tool_call"}
BROKEN = {"name": "find", "args": "{q", "id": "c2", "error": "no JSON", "type": "invalid_tool_call"}
MESSAGES: list[BaseMessage] = [
    SystemMessage("Be kind."),
    HumanMessage([{"type": "text", "text": "Where is "}, "Miso?"], name="Anna"),
    AIMessage("Let me look.", tool_calls=[CALL], invalid_tool_calls=[BROKEN]),
    ToolMessage("On the roof.", tool_call_id="c1"),
    ToolMessage("", tool_call_id="c2", status="error"),
    AIMessage("On the roof."),
]


def test_a_conversation_is_taken_into_a_session_once() -> None:
    memory = plain()
    assert import_messages(memory, "a", MESSAGES[:3]) == 3
    assert import_messages(memory, "a", MESSAGES) == 3
    assert import_messages(memory, "a", MESSAGES) == 0
    session = memory.session("a")
    entries = to_entries(MESSAGES)
    assert said(session) == [(entry.role, entry.text) for entry in entries]
    assert list(map(Entry.of, session.messages())) == entries
    assert list(map(from_message, session.messages())) == MESSAGES
    with pytest.raises(ConflictError):
        import_messages(memory, "a", MESSAGES[1:])
    picture = HumanMessage([{"type": "image_url", "image_url": "x"}])
    with pytest.raises(InvalidMessageError, match="image_url"):
        import_messages(memory, "b", [*MESSAGES, picture])
    assert [info.scope.name for info in memory.sessions()] == ["a"]


@pytest.mark.parametrize("whole", [True, False])
def test_what_it_writes_as_json_becomes_the_same_messages(whole: bool, tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jsonl", plain()
    lines = [messages_to_dict(MESSAGES)] if whole else [message_to_dict(m) for m in MESSAGES]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    memory.import_histories(file, "a", form="langchain")
    import_messages(memory, "b", MESSAGES)
    found = [
        [(m.role, m.text, m.payload, m.id) for m in memory.session(name).messages()]
        for name in "ab"
    ]
    assert found[0] == found[1]
    assert list(map(from_message, memory.session("a").messages())) == MESSAGES
