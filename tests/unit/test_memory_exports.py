"""Exported sessions with their tensors, and what is read of them."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.memories import TALK, engine_of, plain, said, tell
from tests.support.plain import PlainEngine
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import CodecError, StoreFormatError, StoreUnavailableError
from vist2_memory.memory.exports import read_export


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A session with its tensors, exported."""
    file = tmp_path / "a.jsonl"
    assert tell(plain().session("a")).export(file, tensors=True) == 3
    return file


def tensors(session: Session, memory: VisualMemory) -> dict[str, list[str]]:
    return memory.store.tensor_ids(session.scope)


@pytest.mark.parametrize("name", ["a", "another"])
def test_tensors_come_back_under_the_same_and_under_another_name(file: Path, name: str) -> None:
    memory = plain()
    session = memory.import_session(file, name)
    assert said(session) == TALK
    engine_of(memory).encoded.clear()
    assert tensors(session, memory) == {"plain-1": sorted({c.id for c in session.chunks()})}
    assert session.ask("Who?").degraded == ()
    assert engine_of(memory).encoded == []


def test_tensors_of_another_model_or_not_wanted_stay_where_they_are(file: Path) -> None:
    engine = PlainEngine()
    engine.spec = replace(engine.spec, fingerprint="plain-2")
    for memory, wanted in ((VisualMemory.open("memory://", model=engine), True), (plain(), False)):
        session = memory.import_session(file, tensors=wanted)
        assert said(session) == TALK
        assert tensors(session, memory) == {}


def test_without_tensors_the_file_is_what_earlier_releases_read(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    tell(plain().session("a")).export(file)
    header = json.loads(file.read_text().splitlines()[0])
    assert header == {"format": "vist2-session", "version": 1, "session": "a"}
    assert list(tmp_path.iterdir()) == [file]


def test_a_damaged_tensor_is_not_taken(file: Path) -> None:
    beside = file.with_suffix(".safetensors")
    data = bytearray(beside.read_bytes())
    data[-1] ^= 1
    beside.write_bytes(data)
    memory = plain()
    session = memory.import_session(file)
    there = len(tensors(session, memory)["plain-1"])
    assert there == len({c.id for c in session.chunks()}) - 1
    assert session.ask("Who?").degraded == ()


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("content", [None, b"", b"no tensors", pickle.dumps(Evil())])
def test_a_file_of_tensors_that_is_none_is_refused_and_nothing_is_stored(
    file: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    beside = file.with_suffix(".safetensors")
    beside.unlink()
    if content is not None:
        beside.write_bytes(content)
    memory = plain()
    with pytest.raises((StoreUnavailableError, CodecError), match=r"a\.safetensors"):
        memory.import_session(file)
    assert memory.sessions() == []
    assert not (tmp_path / "evil").exists()
    assert said(memory.import_session(file, tensors=False)) == TALK


@pytest.mark.parametrize(
    "changed",
    [
        {"file": "../a.safetensors"},
        {"file": "/etc/passwd"},
        {"file": ".."},
        {"file": ""},
        {"file": 5},
        {"fingerprint": None},
        {"scope": "no scope"},
        {"scope": 5},
    ],
    ids=str,
)
def test_a_header_that_names_something_else_is_refused(file: Path, changed: dict[str, Any]) -> None:
    first, *rest = file.read_text().splitlines()
    header = json.loads(first)
    header["tensors"].update(changed)
    file.write_text("\n".join([json.dumps(header), *rest]))
    with pytest.raises(StoreFormatError, match=r"a\.jsonl:1 names its tensors wrongly"):
        plain().import_session(file)


def test_importing_again_adds_what_was_said_since(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jsonl", plain()
    source = tell(plain().session("a"))
    source.export(file)
    session = memory.import_session(file)
    source.add("user", "More.")
    source.export(file)
    assert said(memory.import_session(file)) == [*TALK, ("user", "More.")]
    session.add("user", "And here.")
    assert len(said(memory.import_session(file))) == 5


def test_messages_and_tensors_are_not_written_to_one_file(tmp_path: Path) -> None:
    session = tell(plain().session("a"))
    with pytest.raises(StoreUnavailableError, match=r"its tensors would go there"):
        session.export(tmp_path / "a.safetensors", tensors=True)
    with pytest.raises(StoreUnavailableError, match="cannot write"):
        session.export(tmp_path / "no" / "a.jsonl", tensors=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_is_read_and_no_more(file: Path) -> None:
    export = read_export(file)
    assert export.tensors is not None
    assert export.tensors.read(["none"]) == {}
