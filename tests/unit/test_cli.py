"""The command line: what it prints where, and with which exit code it ends."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from vist2_memory import Message, VisualMemory, __version__
from vist2_memory.cli import app
from vist2_memory.cli.files import read_documents

Run = Callable[..., Any]  # gives a Result of typer's CliRunner


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of this test alone, which the command line finds in its environment."""
    url = f"sqlite:///{tmp_path}/memory.db"
    monkeypatch.setenv("VIST2_STORE", url)
    return url


@pytest.fixture
def vist2(url: str) -> Run:
    """Run the command line in this process."""

    def run(*args: object, given: str | None = None) -> Any:
        return CliRunner().invoke(app, [str(arg) for arg in args], input=given)

    return run


@pytest.fixture
def said(url: str) -> list[Message]:
    """A session ``s`` with two messages, logged without a model."""
    messages = [
        Message("user", "My cat is called Miso.\nShe is \x1b[31mred\x1b[0m.", id="1", turn="t"),
        Message("assistant", "Schön! 🐈 [bold]Hello[/bold]", id="2", turn="t"),
    ]
    with VisualMemory.open(url) as memory:
        memory.store.append(memory.session("s").scope, messages)
    return messages


def json_of(result: Any) -> Any:
    assert (result.exit_code, result.exception) == (0, None), result.output
    return json.loads(result.stdout)


# Bad use and broken things


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def no_weights(folder: Path) -> Path:
    model = folder / "model"
    model.mkdir()
    for part in ("config.json", "tokenizer.json"):
        (model / part).write_text("{}")
    return model


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


BAD: dict[str, tuple[Callable[[Path], list[Any]], int, str]] = {
    "unknown scheme": (lambda _: ["session", "list", "--store", "mysql://h/d"], 2, "'mysql'"),
    "no scheme": (lambda _: ["ask", "Hm?", "--store", "memory.db"], 2, "sqlite:///"),
    "unreachable redis": (
        lambda _: ["session", "list", "--store", f"redis://127.0.0.1:{closed_port()}/0"],
        1,
        "cannot be reached",
    ),
    "no database": (
        lambda tmp: ["session", "list", "--store", f"sqlite:///{written(tmp, 'a.db', 'x' * 999)}"],
        1,
        "a.db",
    ),
    "store in no folder": (
        lambda tmp: ["session", "list", "--store", f"sqlite:///{tmp}/none/a.db"],
        1,
        "none",
    ),
    "unknown model": (lambda _: ["ask", "Hm?", "--model", "vist3"], 2, "vist2-tiny"),
    "no weights": (lambda tmp: ["ask", "Hm?", "--model", no_weights(tmp)], 2, "no weights"),
    "empty question": (lambda _: ["ask", " \n"], 2, "empty question"),
    "NUL": (lambda _: ["ask", "a\0b"], 2, "NUL"),
    "lone surrogate": (lambda _: ["ask", "a\udc80b"], 2, "surrogate"),
    "empty session id": (lambda _: ["ask", "Hm?", "--session", ""], 2, "session name is empty"),
    "unknown collection": (lambda _: ["ask", "Hm?", "--include", "no"], 2, "no collection 'no'"),
    "unknown session": (lambda _: ["session", "show", "no"], 2, "no session 'no'"),
    "undo in no session": (lambda _: ["session", "undo", "no"], 2, "no session 'no'"),
    "edit of nothing": (lambda _: ["session", "edit", "s", "no", "Hm."], 2, "no message 'no'"),
    "edit to nothing": (lambda _: ["session", "edit", "s", "1", " "], 2, "empty message"),
    "branch at nothing": (lambda _: ["session", "branch", "s", "b", "--at", "no"], 2, "no message"),
    "branch that exists": (lambda _: ["session", "branch", "s", "s"], 1, "'s' exists already"),
    "search for nothing": (lambda _: ["session", "search", "s", " "], 2, "nothing to look for"),
    "export of nothing": (lambda tmp: ["session", "export", "no", tmp / "x"], 2, "no session"),
    "export into no folder": (lambda tmp: ["session", "export", "s", tmp / "no/x"], 1, "no/x"),
    "import of nothing": (lambda tmp: ["session", "import", tmp / "no"], 1, "cannot read"),
    "import of another file": (
        lambda tmp: ["session", "import", written(tmp, "x", "hello\n")],
        1,
        "no exported session",
    ),
    "another kind of file": (
        lambda tmp: ["ingest", "c", written(tmp, "a.pdf", "x")],
        2,
        ".jsonl",
    ),
    "no JSON": (
        lambda tmp: ["ingest", "c", written(tmp, "a.jsonl", '{"text": "a"}\nb\n')],
        2,
        "a.jsonl:2",
    ),
    "no text": (lambda tmp: ["ingest", "c", written(tmp, "a.jsonl", "[1]")], 2, "a.jsonl:1"),
    "empty file": (lambda tmp: ["ingest", "c", written(tmp, "a.md", "\n")], 2, "empty document"),
    "10 MB": (
        lambda tmp: ["ingest", "c", written(tmp, "a.txt", "x" * 10_000_000)],
        2,
        "10,000,000 characters",
    ),
    "picture into no folder": (
        lambda tmp: ["render", written(tmp, "a.txt", "x"), "-o", tmp / "no/a.png"],
        1,
        "no/a.png",
    ),
    "unknown recipe": (
        lambda tmp: ["train", "--recipe", "no", "--out", tmp, "--data", tmp],
        2,
        "no recipe 'no'",
    ),
    "demo without a store that stays": (lambda _: ["demo", "--store", "memory://"], 2, "memory://"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line_on_stderr(
    name: str, vist2: Run, said: list[Message], tmp_path: Path
) -> None:
    args, code, why = BAD[name]
    result = vist2(*args(tmp_path))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    *_, line = result.stderr.splitlines()
    assert line.startswith("vist2: error: ")
    assert why in line
    assert isinstance(result.exception, SystemExit)
    assert vist2("session", "show", "s").exit_code == 0  # nothing was lost
    assert json_of(vist2("session", "list", "--json"))[0]["messages"] == 2


@pytest.mark.parametrize("args", [["--no"], ["ask"], ["render", "none.txt", "-o", "a.png"]])
def test_bad_use_of_the_command_line_itself(args: list[str], vist2: Run) -> None:
    result = vist2(*args)
    assert (result.exit_code, result.stdout) == (2, "")


def test_version(vist2: Run) -> None:
    result = vist2("--version")
    assert (result.exit_code, result.stdout) == (0, f"vist2 {__version__}\n")


# Sessions


def test_a_session_leaves_and_comes_back(vist2: Run, said: list[Message], tmp_path: Path) -> None:
    (listed,) = json_of(vist2("session", "list", "--json"))
    assert (listed["id"], listed["messages"]) == ("s", 2)
    assert "s" in vist2("session", "list").stdout
    before = json_of(vist2("session", "show", "s", "--json"))
    assert [m["text"] for m in before["messages"]] == [message.text for message in said]

    file = tmp_path / "s.jsonl"
    assert vist2("session", "export", "s", file).exit_code == 0
    assert "2 messages" in vist2("session", "delete", "s").stdout
    assert json_of(vist2("session", "list", "--json")) == []
    assert vist2("session", "import", file).exit_code == 0
    assert json_of(vist2("session", "show", "s", "--json")) == before
    assert vist2("session", "import", file, "--session", "copy").exit_code == 0
    assert len(json_of(vist2("session", "list", "--json"))) == 2


def test_sessions_are_resealed_under_a_new_key(
    vist2: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ("A" * 43, "B" * 42 + "A")
    monkeypatch.setenv("VIST2_ENCRYPTION_KEYS", old)
    with VisualMemory.open(url) as memory:
        memory.session("s").add("user", "My cat is called Miso.")
        memory.collection("books").add_documents(["A page."])
    monkeypatch.setenv("VIST2_ENCRYPTION_KEYS", f"{new},{old}")
    told = vist2("session", "reseal").stdout
    assert "session 's': 1 messages resealed\ncollection 'books': 1 messages resealed\n" in told
    assert "session 's': 0 messages resealed" in vist2("session", "reseal", "s").stdout
    monkeypatch.setenv("VIST2_ENCRYPTION_KEYS", new)
    assert "Miso" in vist2("session", "show", "s").stdout
    monkeypatch.delenv("VIST2_ENCRYPTION_KEYS")
    refused = vist2("session", "show", "s")
    assert (refused.exit_code, "VIST2_ENCRYPTION_KEYS" in refused.stderr) == (1, True)
    assert "signed or encrypted" in vist2("session", "reseal", "s").stderr


def test_what_was_said_cannot_steer_the_terminal(vist2: Run, said: list[Message]) -> None:
    shown = vist2("session", "show", "s").stdout
    assert "\x1b" not in shown
    assert "My cat is called Miso.\nShe is \\x1b[31mred" in shown
    assert "assistant: Schön! 🐈 [bold]Hello[/bold]\n" in shown


def test_a_session_is_searched_branched_edited_and_taken_back(
    vist2: Run, said: list[Message]
) -> None:
    shown = vist2("session", "show", "s", "--long").stdout
    assert f"['1' {datetime.fromtimestamp(0).astimezone():%Y-%m-%d %H:%M}]\nuser: My" in shown
    hits = json_of(vist2("session", "search", "s", "SHE miso", "--json"))["found"]
    assert [(hit["message"]["id"], hit["spans"]) for hit in hits] == [("1", [[17, 21], [23, 26]])]
    assert "['2' " in vist2("session", "search", "s", "schön").stdout
    branched = vist2("session", "branch", "s", "b", "--at", "1", "--json")
    assert json_of(branched) == {"id": "b", "messages": 1}
    assert "begins with 2 messages" in vist2("session", "branch", "s", "c").stdout
    edited = json_of(vist2("session", "edit", "s", "1", "Changed.", "--json"))["message"]
    assert (edited["id"], edited["text"]) == ("1", "Changed.")
    assert vist2("session", "edit", "s", "2", "Hi!").stdout.endswith("assistant: Hi!\n")
    removed = json_of(vist2("session", "undo", "s", "--json"))["removed"]
    assert [message["text"] for message in removed] == ["Changed.", "Hi!"]
    assert "2 messages of session 'c' taken back" in vist2("session", "undo", "c").stdout
    assert [s["id"] for s in json_of(vist2("session", "list", "--json"))] == ["b"]


def test_namespaces_do_not_see_each_other(vist2: Run, said: list[Message]) -> None:
    assert json_of(vist2("session", "list", "--namespace", "other", "--json")) == []
    assert vist2("session", "show", "s", "--namespace", "other").exit_code == 2


# Documents and pictures


def test_files_become_documents(tmp_path: Path) -> None:
    text = written(tmp_path, "a.txt", "Once.\n")
    lines = written(
        tmp_path, "b.jsonl", '{"text": "One\\u2028two", "page": 3}\n\n{"text": "Three"}\n'
    )
    documents = read_documents(text) + read_documents(lines)
    assert [(d.text, d.metadata) for d in documents] == [
        ("Once.\n", {"source": "a.txt"}),
        ("One\u2028two", {"source": "b.jsonl", "page": 3}),
        ("Three", {"source": "b.jsonl"}),
    ]


def test_render_draws_all_chunks_without_torch(tmp_path: Path) -> None:
    file = written(tmp_path, "a.txt", "The quick brown fox jumps over the lazy dog. " * 40)
    code = (
        "import sys; from vist2_memory.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    arguments = ["render", str(file), "-o", str(tmp_path / "a.png"), "--scale", "2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    chunks = int(done.stdout.split(": ")[1].split()[0])
    assert chunks > 3
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image:
        image.load()
        assert image.width == 2 * (72 * 4 + 8)
        assert image.height > 2 * 8 * 2 * chunks
        dark = image.convert("L").point(lambda value: value < 128, "1").getbbox()
        assert dark is not None
        assert dark[3] > image.height * 0.9  # text down to the last chunk


# Answers, from whatever model is bundled


def test_a_memory_is_asked(vist2: Run, url: str, tmp_path: Path) -> None:
    ingested = [
        vist2("ingest", "book", written(tmp_path, "a.txt", "A long tale of cats. " * 40))
        for _ in range(2)
    ]
    assert [result.exit_code for result in ingested] == [0, 0], ingested[0].output
    assert [" 1 of them new" in result.stdout for result in ingested] == [True, False]

    asked = ("ask", "What is my cat called?", "--session", "s", "--max-tokens", 6)
    answer = json_of(vist2(*asked, "--include", "book", "--json"))
    usage = answer["usage"]
    assert answer["session"] == "s"
    assert usage["visual_tokens"] == usage["cached_visual_tokens"] > 0
    assert usage["new_tokens"] <= 6

    streamed = vist2(*asked)
    assert streamed.exit_code == 0
    messages = json_of(vist2("session", "show", "s", "--json"))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert messages[1]["text"] == answer["answer"]
    assert streamed.stdout.strip() == messages[3]["text"].strip()


def test_a_chat_goes_on_after_a_bad_line(vist2: Run) -> None:
    given = "Hello there.\n\nNo\0text\nMy cat is called Miso.\n/quit\nnever read\n"
    result = vist2("chat", "--session", "c", "--max-tokens", 4, given=given)
    assert result.exit_code == 0, result.output
    assert "NUL" in result.stderr
    messages = json_of(vist2("session", "show", "c", "--json"))["messages"]
    said = [m["text"] for m in messages if m["role"] == "user"]
    assert said == ["Hello there.", "My cat is called Miso."]


def test_doctor_says_what_is_broken(vist2: Run, url: str) -> None:
    good = json_of(vist2("doctor", "--json"))
    assert good["ok"]
    found = {check["name"]: check["detail"] for check in good["checks"]}
    assert found["store"] == url
    assert found["model vist2-tiny"].startswith("loads")

    broken = vist2("doctor", "--store", f"redis://127.0.0.1:{closed_port()}/0")
    assert broken.exit_code == 1
    assert [line for line in broken.stdout.splitlines() if "BROKEN" in line and "store" in line]


def test_doctor_tells_the_version_of_a_redis_server(vist2: Run, redis_url: str) -> None:
    checks = json_of(vist2("doctor", "--json", "--store", redis_url))["checks"]
    assert any(f"{redis_url}, redis-server " in check["detail"] for check in checks)


def test_doctor_leaves_no_file_behind(
    vist2: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIST2_STORE")
    monkeypatch.chdir(tmp_path)
    assert vist2("doctor").exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_readback_prints_one_object(vist2: Run, tmp_path: Path) -> None:
    text = " ".join(f"The {n}th traveller came over the hill at noon." for n in range(200))
    data = written(tmp_path, "prose.txt", text)
    figures = json_of(vist2("eval", "readback", "--data", data, "--chunks", 2, "--json"))
    assert {"character_accuracy", "compression_ratio", "characters"} <= figures.keys()


def test_recall_prints_one_object(vist2: Run) -> None:
    options = ("--conversations", 1, "--seed", 5, "--history", 200)
    figures = json_of(vist2("eval", "recall", *options, "--json"))
    assert {
        "exact_match",
        "exact_match_without_memory",
        "exact_match_truncated",
        "unanswerable_accuracy",
        "compression_ratio",
        "context_ratio",
        "characters_per_visual_token",
        "questions",
    } <= figures.keys()
