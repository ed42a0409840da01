"""Sessions as files, and deleting them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, HOSTILE, TALK, plain, said, tell
from vist2_memory import VisualMemory
from vist2_memory.errors import (
    ConflictError,
    InvalidMessageError,
    StoreFormatError,
    StoreUnavailableError,
)
from vist2_memory.store import Deleted

pytest_plugins = ("tests.support.fixtures",)


def test_an_exported_session_comes_back_the_same_in_every_message_and_chunk(
    tmp_path: Path, checkpoint: Path, script: Script
) -> None:
    script.say(ANSWER)
    file = tmp_path / "session.jsonl"
    with VisualMemory.open("memory://", model=CountingEngine(checkpoint)) as memory:
        session = memory.session("a")
        session.add("system", "Be kind.", payload={"who": "me"})
        session.ask("Who?")
        assert session.export(file) == 3
        messages, chunks = session.messages(), session.chunks()
    for name in (None, "another"):
        with VisualMemory.open("memory://", model=CountingEngine(checkpoint)) as memory:
            session = memory.import_session(file, name)
            assert session.id == (name or "a")
            assert session.messages() == messages
            assert session.chunks() == chunks


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
)
def test_any_message_survives_export_and_import(tmp_path: Path, text: str) -> None:
    if not text.strip() or "\0" in text:
        return
    file = tmp_path / "session.jsonl"
    session = tell(plain().session("a"), [("user", text)])
    session.export(file)
    assert plain().import_session(file).messages() == session.messages()


def test_importing_twice_changes_nothing_and_over_another_session_is_refused(
    tmp_path: Path,
) -> None:
    file, memory = tmp_path / "session.jsonl", plain()
    tell(plain().session("a")).export(file)
    session = memory.import_session(file)
    assert memory.import_session(file) is session
    assert said(session) == TALK
    memory.session("b").add("user", "I was here first.")
    with pytest.raises(ConflictError, match="'b' exists already with 1 messages"):
        memory.import_session(file, "b")
    assert said(memory.session("b")) == [("user", "I was here first.")]


GOOD_HEADER = '{"format": "vist2-session", "version": 1, "session": "a"}\n'
GOOD_LINE = '{"role": "user", "text": "Hi.", "id": "1", "turn": "", "time": 0, "payload": {}, '


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"hello\n",
        b'["format"]\n',
        GOOD_HEADER.replace("1", "99").encode(),
        b'{"format": "vist2-session", "version": 1}\n',
        (GOOD_HEADER + "{}\n").encode(),
        (GOOD_HEADER + "not json\n").encode(),
        (GOOD_HEADER + GOOD_LINE + '"cuts": [], "layout": "", "what": 1}\n').encode(),
        (GOOD_HEADER + GOOD_LINE + '"cuts": 5, "layout": ""}\n').encode(),
        (GOOD_HEADER + GOOD_LINE.replace('"user"', '"wizard"') + '"cuts": []}\n').encode(),
        (GOOD_HEADER + GOOD_LINE.replace('"Hi."', "7") + '"cuts": []}\n').encode(),
        (GOOD_HEADER + GOOD_LINE.replace("Hi.", "\\ud800") + '"cuts": []}\n').encode(),
        (GOOD_HEADER + (GOOD_LINE + '"cuts": []}\n') * 2).encode(),
    ],
    ids=["nothing", "not UTF-8", "no JSON", "no object", "other version", "no session",
         "no message", "broken line", "unknown field", "cuts no list", "unknown role",
         "text no string", "lone surrogate", "one id twice"],
)  # fmt: skip
def test_a_file_that_is_no_exported_session_is_refused_and_nothing_is_stored(
    tmp_path: Path, content: bytes
) -> None:
    file, memory = tmp_path / "bad.jsonl", plain()
    file.write_bytes(content)
    with pytest.raises((StoreFormatError, InvalidMessageError)):
        memory.import_session(file)
    assert memory.sessions() == []


def test_paths_that_cannot_be_read_or_written_are_told(tmp_path: Path) -> None:
    memory = plain()
    with pytest.raises(StoreUnavailableError, match="cannot read"):
        memory.import_session(tmp_path / "nowhere")
    with pytest.raises(StoreUnavailableError, match="cannot write"):
        tell(memory.session("a")).export(tmp_path / "no" / "folder")


def test_deleting_counts_what_it_takes_and_leaves_an_empty_session(url: str) -> None:
    with plain(store=url) as memory:
        session = tell(memory.session("a"))
        kept = tell(memory.session("b"))
        chunks = len({chunk.id for chunk in session.chunks()})
        assert session.delete() == Deleted(messages=3, chunks=chunks, tensors=chunks)
        assert session.messages() == session.chunks() == []
        assert session.tail() == ""
        assert session.delete() == Deleted()
        assert said(kept) == TALK
        session.add("user", "Hello again.")
        assert said(session) == [("user", "Hello again.")]
