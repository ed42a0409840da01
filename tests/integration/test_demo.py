"""The main job, with a short conversation: two processes and a store between them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vist2_memory import demo
from vist2_memory.cli import app
from vist2_memory.demo import Question, Script, is_right, read_script

KEYS = [
    "questions",
    "right",
    "text_tokens",
    "visual_tokens",
    "compression_ratio",
    "characters_per_visual_token",
    "kv_bytes",
    "kv_bytes_text",
    "ttft_cached_s",
    "ttft_uncached_s",
]


def question(accept: str, *, stale: str = "", kind: str = "pet") -> Question:
    return Question("Which?", accept, (accept,), (stale,) if stale else (), kind, day="Monday")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A conversation that fills a few chunks, in place of the committed one."""
    talk = (("user", "My cat is called Brunko. " * 6), ("assistant", "What a nice name! " * 8))
    script = Script("short", talk * 3, (question("Brunko"), question("Haldermoor")))
    monkeypatch.setattr(demo, "read_script", lambda: script)
    return script


def test_the_demo_prints_its_figures_and_nothing_else(short: Script, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    demo.play(url, None, short)  # of an earlier demo nothing is left
    run = CliRunner().invoke(app, ["demo", "--json", "--store", url])
    assert (run.exit_code, run.exception) == (0, None), run.output
    result = json.loads(run.stdout)
    assert list(result)[: len(KEYS)] == KEYS
    assert result["questions"] == len(result["answers"]) == 2
    assert result["right"] == sum(answer["right"] for answer in result["answers"])
    assert result["messages"] == 6
    assert result["cached_visual_tokens"] == result["visual_tokens"] > 0
    assert result["compression_ratio"] == result["text_tokens"] / result["visual_tokens"]
    assert result["kv_bytes"] < result["kv_bytes_text"]
    assert min(result["ttft_cached_s"], result["ttft_uncached_s"]) > 0
    assert all(answer["cached_visual_tokens"] > 0 for answer in result["answers"])


def test_the_demo_is_shown_as_it_happens(short: Script) -> None:
    run = CliRunner().invoke(app, ["demo"])
    assert (run.exit_code, run.exception) == (0, None), run.output
    for words in ("6 messages", "1. Which?", "expected: Brunko", "of 2", "compression ratio"):
        assert words in run.stdout


def test_the_committed_conversation() -> None:
    script = read_script()
    assert len(script.questions) >= 12
    days = {q.day for q in script.questions}
    assert len(days) >= 3
    assert {role for role, _ in script.messages} == {"user", "assistant"}
    said = " ".join(text for _, text in script.messages)
    for q in script.questions:
        assert is_right(q, f"It is {q.expected}." if q.day else f"{q.expected}.")
        if q.day:
            assert any(value in said for value in q.accept)
            assert all(value in said for value in q.stale)


@pytest.mark.parametrize(
    ("asked", "answer", "right"),
    [
        (question("Brunko"), "Your cat is called brunko.", True),
        (question("Brunko"), "Your cat is called Brunkos.", False),
        (question("Copper Finch"), "I said the Copper\nFinch.", True),
        (question("64"), "It cost 64 euros.", True),
        (question("64"), "It cost 640 euros.", False),
        (question("64"), "It cost 64.50 euros.", False),
        (question("9:40"), "At 9:40.", True),
        (question("9:40"), "At 19:40.", False),
        (question("371", stale="214"), "It was 214, and is 371 now.", False),
        (question("Brunko"), "Brunko " * 41, False),
        (question("don't know", kind="unanswerable"), "I don\u2019t know that.", True),
        (question("don't know", kind="unanswerable"), "I do not know.", True),
        (question("don't know", kind="unanswerable"), "His name is Peter.", False),
        (question("Brunko"), "", False),
    ],
)
def test_what_counts_as_right(asked: Question, answer: str, right: bool) -> None:
    assert is_right(asked, answer) is right


def test_a_process_that_ends_early_is_no_result(
    short: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = dataclasses.replace(short, messages=(), questions=short.questions[:1])
    monkeypatch.setattr(demo, "read_script", lambda: broken)
    monkeypatch.setattr(demo.sys, "executable", "/bin/false")
    run = CliRunner().invoke(app, ["demo", "--json", "--store", f"sqlite:///{tmp_path}/a.db"])
    assert (run.exit_code, run.stdout) == (1, "")
    assert "0 answers" in run.stderr
