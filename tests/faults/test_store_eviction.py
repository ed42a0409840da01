"""Servers that evict keys while sessions are in use: tensors may go, an answer may not change."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from tests.support.plain import PlainEngine
from tests.support.redis_servers import RedisServer, started
from vist2_memory import StoreWarning, VisualMemory
from vist2_memory.errors import LogLostError, StoreUnavailableError
from vist2_memory.store import JoinedStore, Scope, open_store
from vist2_memory.types import Context, Finished, GenerationEvent, GenerationParams

SESSIONS, TURNS = 8, 12


class DigestEngine(PlainEngine):
    """Answers with a digest of all that it was given: another context is another answer."""

    def _values(self, text: str) -> np.ndarray:
        return np.tile(super()._values(text), (1, 256))  # 2 KB a visual token

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        digest = hashlib.blake2b(f"{context.pinned}\0{context.tail}".encode(), digest_size=8)
        for tokens in context.visual:
            digest.update(tokens.values.tobytes())
        yield Finished(digest.hexdigest(), "stop")


def question(number: int, turn: int) -> str:
    return f"What did Anna's brother say on day {turn} of session {number}, and why did he?"


def chat(memory: VisualMemory, number: int) -> list[str]:
    """The answers, until the session's log is lost, which ends them with the reason."""
    session, answers = memory.session(str(number)), []
    for turn in range(TURNS):
        try:
            answers.append(session.ask(question(number, turn)).text)
        except LogLostError as error:
            return [*answers, f"lost: {error}"]
        except StoreUnavailableError as error:  # all that is left to evict is in use
            return [*answers, f"refused: {error}"]
    return answers


def chat_at_once(memories: list[VisualMemory]) -> list[list[str]]:
    with ThreadPoolExecutor(SESSIONS) as pool:
        return list(pool.map(chat, memories, range(SESSIONS)))


@pytest.fixture(scope="module")
def expected() -> list[list[str]]:
    """The answers where nothing is ever lost."""
    with VisualMemory.open("memory://", model=DigestEngine()) as memory:
        answers = [chat(memory, number) for number in range(SESSIONS)]
    assert len({answer for of in answers for answer in of}) == SESSIONS * TURNS
    return answers


def limit(server: RedisServer, room: int, policy: str = "allkeys-random") -> Any:
    """Let the server hold about ``room`` bytes more than now; a client of it."""
    client: Any = redis.Redis.from_url(server.url)
    client.config_set("maxmemory-policy", policy)
    client.config_set("maxmemory", client.info("memory")["used_memory"] + room)
    return client


@pytest.mark.parametrize("kind", ["one memory", "one for each"])
def test_evicted_tensors_are_misses_and_no_answer_is_wrong(
    kind: str, redis_server: RedisServer, tmp_path: Path, expected: list[list[str]]
) -> None:
    evicting = started(tmp_path / "evicting")
    client = limit(evicting, 600_000)
    many = SESSIONS if kind == "one for each" else 1
    memories = [
        VisualMemory.open(
            f"{redis_server.url}?deadline=30",
            tensors=f"{evicting.url}?deadline=30",
            model=DigestEngine(),
            cache_bytes=0,
        )
        for _ in range(many)
    ]
    answers = chat_at_once(memories * (SESSIONS // many))
    assert answers == expected
    for memory in memories:
        memory.flush()
    assert client.info("stats")["evicted_keys"] > 20
    encoded = [text for memory in memories for text in memory.engine.encoded]  # type: ignore[attr-defined]
    assert len(encoded) > len(set(encoded))  # misses: some were encoded again
    scopes = [memories[0].session(str(number)).scope for number in range(SESSIONS)]
    gone = [memories[0].session(scope.name).delete() for scope in scopes]
    assert [deleted.messages for deleted in gone] == [2 * TURNS] * SESSIONS
    assert [key for key in client.scan_iter(count=1000) if b":t:" in key] == []
    for memory in memories:
        memory.close()
    evicting.stop()


def test_with_the_log_on_a_server_that_evicts_a_loss_is_told_and_never_a_fresh_start(
    redis_server: RedisServer, expected: list[list[str]]
) -> None:
    client = limit(redis_server, 1_500_000)
    with pytest.warns(StoreWarning, match=r"may evict logs .* \(maxmemory-policy allkeys-random\)"):
        memory = VisualMemory.open(
            f"{redis_server.url}?deadline=30", model=DigestEngine(), cache_bytes=0
        )
    answers = chat_at_once([memory] * SESSIONS)
    assert client.info("stats")["evicted_keys"] > 20
    lost = [of for of in answers if of[-1].startswith("lost: ")]
    told = [of for of in answers if of[-1].startswith(("lost: ", "refused: "))]
    assert lost
    for found, right in zip(answers, expected, strict=True):
        said = found[:-1] if found in told else found
        assert said == right[: len(said)]
        assert len(said) == TURNS or found in told
    memory.close()


def test_a_log_that_went_with_the_index_is_told_to_whoever_saw_it(
    redis_server: RedisServer,
) -> None:
    client = limit(redis_server, 10_000_000)
    with pytest.warns(StoreWarning):
        memory = VisualMemory.open(redis_server.url, model=DigestEngine())
    session = memory.session("a")
    session.ask("Who?")
    client.delete(*client.scan_iter())
    with pytest.raises(LogLostError, match=r"held 2 messages and is empty now.*evicted"):
        session.ask("Who?")
    assert session.ask("Who is it?").text
    memory.close()


@pytest.mark.parametrize(
    ("policy", "maxmemory", "ttl", "told"),
    [
        ("noeviction", 10**8, 60, False),
        ("allkeys-lru", 10**8, None, True),
        ("allkeys-lru", 0, None, False),
        ("volatile-ttl", 10**8, None, False),
        ("volatile-ttl", 10**8, 60, True),
    ],
)
def test_only_a_server_that_can_evict_a_log_is_warned_of(
    policy: str, maxmemory: int, ttl: int | None, told: bool, redis_server: RedisServer
) -> None:
    client: Any = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory", maxmemory)
    client.config_set("maxmemory-policy", policy)
    with open_store(redis_server.url, ttl=ttl) as store:
        assert (store.eviction() is not None) is told


def test_a_provider_that_forbids_asking_is_not_asked_again(redis_server: RedisServer) -> None:
    client: Any = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory", 10**8)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.acl_setuser("anna", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
    url = redis_server.url.replace("redis://", "redis://anna:x@")
    with open_store(url) as store:
        assert "may evict logs" in str(store.eviction())
        client.acl_setuser("anna", commands=["-info"])
        assert store.eviction() is None
        store.put_many(Scope("n", "session", "s"), "f", {"c": b"1"})
        assert store.delete(Scope("n", "session", "s")).tensors == 1


def test_deleting_finds_tensors_whose_list_was_evicted(redis_server: RedisServer) -> None:
    client = limit(redis_server, 10_000_000)
    scope, other = Scope("n", "session", "s"), Scope("n", "session", "s2")
    with open_store(redis_server.url) as store:
        for each in (scope, other):
            store.put_many(each, "f", {"a": b"1", "b": b"2"})
            store.put_many(each, "g", {"a": b"3"})
        client.delete("vist2:{n/session/s}:tensors")
        store.put_many(scope, "f", {"c": b"4"})
        gone = store.delete(scope)
        assert (gone.chunks, gone.tensors) == (3, 4)
        assert store.delete(scope).tensors == 0
        assert store.delete(other).tensors == 3
    assert client.dbsize() == 0


@pytest.fixture
def tensors(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for tensors alone."""
    server = started(tmp_path / "tensors")
    yield server
    server.stop()


def test_tensors_that_are_away_are_misses_and_a_log_that_is_away_is_an_error(
    redis_server: RedisServer, tensors: RedisServer
) -> None:
    url, other = (f"{server.url}?deadline=0.3" for server in (redis_server, tensors))
    tensors.stop()
    with pytest.warns(StoreWarning, match="cannot be reached"):
        memory = VisualMemory.open(url, tensors=other, model=DigestEngine(), cache_bytes=0)
    assert isinstance(memory.store, JoinedStore)
    assert memory.store.describe().startswith(f"{redis_server.url}, tensors in {tensors.url}")
    session = memory.session("a")
    first = session.ask(question(0, 0))
    memory.flush()
    second = session.ask(question(0, 1))
    assert (first.text, second.text) != ("", "")
    assert any("not read and are encoded again" in note for note in second.degraded)
    assert any("were not cached" in note for note in second.degraded)
    redis_server.stop()
    with pytest.raises(Exception, match="cannot be reached"):
        session.ask(question(0, 2))
    memory.close()


def test_tensors_are_stored_when_their_server_is_back(
    redis_server: RedisServer, tensors: RedisServer
) -> None:
    url, other = f"{redis_server.url}?deadline=30", f"{tensors.url}?deadline=0.3"
    with VisualMemory.open(url, tensors=other, model=DigestEngine()) as memory:
        tensors.kill()
        session = memory.session("a")
        for turn in range(2):
            session.ask(question(0, turn))
        memory.flush()
        encoded = {chunk.text for chunk in session.chunks()}
        assert encoded
        tensors.start()
        end = time.monotonic() + 30
        while session.ask("Who?").degraded:  # the breaker is open for a while
            assert time.monotonic() < end
            memory.flush()
            time.sleep(0.1)
    engine = DigestEngine()
    with VisualMemory.open(url, tensors=other, model=engine) as again:
        again.session("a").ask("Who?")
    assert encoded.isdisjoint(engine.encoded)
