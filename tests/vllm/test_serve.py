"""``vist2 serve --engine vllm``: a real process, with a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.redis_servers import started
from tests.support.server_processes import ServerProcess
from vist2_memory import GenerationParams, VisualMemory
from vist2_memory.engine.torch import TorchEngine

pytestmark = pytest.mark.timeout(500)
SESSIONS = 8
QUESTION = "What is my cat called?"
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 600}


def facts(number: int) -> str:
    return (
        f"My cat number {number} is called Miso, sleeps on the piano and eats {number} fish. " * 4
    )


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    redis = started(tmp_path_factory.mktemp("redis"))
    options = ("--engine", "vllm", "--engine-option", f"kv_cache_bytes={2**27}")
    process = ServerProcess(tmp_path_factory.mktemp("server"), redis.url, *options)
    try:
        process.start(within_s=360)
        yield process
    finally:
        process.stop()
        redis.stop()


def streamed(server: ServerProcess, number: int) -> str:
    """An answer of a session of its own, as it streams."""
    with server.client() as client:
        session = f"/v1/sessions/s{number}"
        said = {"messages": [{"role": "user", "content": facts(number)}]}
        client.post(f"{session}/messages", json=said).raise_for_status()
        body = {
            "messages": [{"role": "user", "content": QUESTION}],
            "session_id": f"s{number}",
            "stream": True,
            "max_tokens": 48,
            "temperature": 0,
        }
        text = ""
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line.removeprefix("data: "))["choices"]
                    text += "".join(one["delta"].get("content") or "" for one in choices)
        return text


def told_here(engine: TorchEngine, number: int) -> str:
    with VisualMemory.open("memory://", model=engine) as memory:
        session = memory.session(f"s{number}")
        session.add("user", facts(number))
        return session.ask(QUESTION, params=GenerationParams(max_tokens=48)).text


def processes_below(parent: int) -> set[int]:
    """The processes that ``parent`` started, and those that they started."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found |= {int(folder.name), *processes_below(int(folder.name))}
    return found


def running(server: ServerProcess) -> int:
    """Answers that are generated now."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vist2_running"))


def begun(lines: Iterator[str]) -> str:
    """Text of an answer, once there is some."""
    seen = []
    for line in lines:
        seen.append(line)
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: ")).get("choices") or ():
                if text := choice["delta"].get("content"):
                    return str(text)
    raise AssertionError(f"no text came: {seen}")


def test_many_stream_at_once_one_goes_away_and_the_server_ends(
    server: ServerProcess, reference: TorchEngine
) -> None:
    """One test, since a server takes long to start."""
    with ThreadPoolExecutor(SESSIONS) as pool:
        together = list(pool.map(lambda number: streamed(server, number), range(SESSIONS)))
    assert together == [told_here(reference, number) for number in range(SESSIONS)]
    assert len(set(together)) > 1

    body = {
        "messages": [{"role": "user", "content": "Count."}],
        "session_id": "left",
        "stream": True,
        "max_tokens": 4000,
        "response_format": {"type": "json_schema", "json_schema": {"schema": ENDLESS}},
    }
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.iter_lines()  # which hang up when they are dropped
        assert begun(lines)
        assert running(server) == 1
    deadline = time.monotonic() + 30
    while running(server) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running(server) == 0

    assert server.process is not None
    below = processes_below(server.process.pid)
    assert len(below) >= 2
    server.tell_to_end()
    assert server.process.wait(60) == 0
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [pid for pid in below if Path(f"/proc/{pid}").exists()] == []
    assert "Traceback" not in server.log
