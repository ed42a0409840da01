"""``vist2 session``: carrying sessions elsewhere, and keeping a namespace in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.memories import TALK
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.cli import app, common

Run = Callable[..., Any]  # gives a Result of typer's CliRunner
CHAT = [{"role": role, "content": text} for role, text in TALK]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of this test alone, which the command line finds in its environment."""
    url = f"sqlite:///{tmp_path}/memory.db"
    monkeypatch.setenv("VIST2_STORE", url)
    return url


@pytest.fixture
def vist2(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, with an engine that has no model."""

    class Plain(VisualMemory):
        @classmethod
        def open(cls, *given: Any, **options: Any) -> VisualMemory:
            return VisualMemory.open(*given, **{**options, "model": PlainEngine(), "ratio": None})

    monkeypatch.setattr(common, "VisualMemory", Plain)

    def run(*args: object, code: int = 0) -> Any:
        result = CliRunner().invoke(app, ["session", *(str(arg) for arg in args)])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in args else result

    return run


def histories(folder: Path, *names: str) -> Path:
    file = folder / "talk.jsonl"
    lines = (json.dumps({"id": name, "messages": CHAT}) for name in names)
    file.write_text("\n".join(lines))
    return file


def test_histories_are_taken_in_and_counted(vist2: Run, tmp_path: Path) -> None:
    file = histories(tmp_path, "a", "b")
    taken = vist2("import", file, "--format", "openai", "--json")
    assert [(one["session"], one["new"], one["messages"]) for one in taken] == [
        ("a", 3, 3),
        ("b", 3, 3),
    ]
    assert "'a' holds 3 messages, 0 of them new" in vist2("import", file).stdout
    usage = vist2("usage", "--json")
    assert (usage["messages"], usage["sessions"], usage["collections"]) == (6, 2, 0)
    assert usage["bytes"] > 500
    assert "6 messages" in vist2("usage").stdout
    assert vist2("usage", "--namespace", "other", "--json")["messages"] == 0


def test_what_is_left_out_is_told_and_a_bad_line_named(vist2: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"role": "user", "content": [{"type": "audio"}]}\n')
    assert "bad.jsonl:1: a content block of type 'audio'" in vist2("import", file).stderr
    refused = vist2("import", file, "--other-content", "refuse", code=1)
    assert "bad.jsonl:1" in refused.stderr
    file.write_text('{"role": "user"}\n')
    assert "bad.jsonl:1 holds no message" in vist2("import", file, code=1).stderr
    two = histories(tmp_path, "a", "b")
    assert "2 sessions" in vist2("import", two, "--session", "x", code=2).stderr
    assert "one file" in vist2("import", two, two, "--session", "x", code=2).stderr


def test_tensors_go_with_an_export(vist2: Run, url: str, tmp_path: Path) -> None:
    vist2("import", histories(tmp_path, "a"))
    assert vist2("reencode", "a", "--json")["encoded"] > 0
    out = tmp_path / "out.jsonl"
    assert "out.safetensors" in vist2("export", "a", out, "--tensors").stdout
    assert vist2("import", out, "--session", "copy").exit_code == 0
    assert vist2("import", out, "--session", "bare", "--no-tensors").exit_code == 0
    with VisualMemory.open(url, model=PlainEngine()) as memory:
        kept = {n: memory.store.tensor_ids(memory.session(n).scope) for n in ("a", "copy", "bare")}
    assert kept["copy"] == kept["a"] != {}
    assert kept["bare"] == {}


def test_sessions_are_moved(vist2: Run, tmp_path: Path) -> None:
    vist2("import", histories(tmp_path, "a", "b", "c"))
    target = f"sqlite:///{tmp_path}/to.db"
    moved = vist2("move", "a", "--to", target, "--json")
    assert (moved["sessions"], moved["messages"]) == (1, 3)
    assert "2 sessions and 0 collections moved" in vist2("move", "--all", "--to", target).stdout
    assert vist2("list", "--json") == []
    assert len(vist2("list", "--store", target, "--json")) == 3
    for wrong in (["a", "--all", "--to", target], ["--to", target], ["a"], ["no", "--to", target]):
        assert vist2("move", *wrong, code=2).stdout == ""


def test_garbage_is_collected(vist2: Run, url: str, tmp_path: Path) -> None:
    vist2("import", histories(tmp_path, "a", "b"))
    made = vist2("reencode", "--all", "--json")["encoded"]
    with VisualMemory.open(url, model=PlainEngine()) as memory:
        memory.store.put_many(memory.session("a").scope, "old", {"c": b"1"})
        memory.store.put_many(memory.session("a").scope, "plain-1", {"c": b"1"})
    found = vist2("gc", "--all", "--json")
    assert found == {"scopes": 2, "kept": made, "old": 1, "unused": 1, "dropped": 2}
    assert "0 tensors dropped in 1 sessions" in vist2("gc", "a").stdout
    assert "0 of " in vist2("reencode", "a", "b").stdout
    for command in ("gc", "reencode"):
        assert "no session 'no'" in vist2(command, "no", code=2).stderr
        assert "--all" in vist2(command, code=2).stderr
        assert "--all" in vist2(command, "a", "--all", code=2).stderr
