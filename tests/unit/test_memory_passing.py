"""Conversations that are handed over whole: what is encoded, what is read, what is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.plain import PlainEngine
from vist2_memory import ContextOverflowError, InvalidMessageError, VisualMemory
from vist2_memory.engine.base import Engine
from vist2_memory.memory.passing import Passing
from vist2_memory.store import InMemoryStore
from vist2_memory.store.sqlite import SQLiteStore
from vist2_memory.types import (
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    Message,
)

TALK = [
    Message(
        "user" if n % 2 == 0 else "assistant",
        " ".join(f"Word {place} of message {n}, about the harbour." for place in range(3)),
    )
    for n in range(12)
]


def last(passing: Passing, messages: list[Message], **options: object) -> Finished:
    *_, end = passing.complete(messages, **options)  # type: ignore[arg-type]
    assert isinstance(end, Finished)
    return end


class Counting(PlainEngine):
    """Tells how many visual tokens it read, as a real engine does."""

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        for event in super().generate(context, params):
            if isinstance(event, Finished):
                usage = replace(
                    event.usage,
                    visual_tokens=sum(map(len, context.visual)),
                    text_tokens=sum(tokens.text_tokens for tokens in context.visual),
                )
                event = replace(event, usage=usage)
            yield event


def test_a_growing_list_has_only_its_new_chunks_encoded() -> None:
    engine = Counting()
    passing = Passing(engine)
    cached = []
    for count in range(2, 13, 2):
        end = last(passing, TALK[:count])
        chunks = [chunk.text for chunk in engine.contexts[-1].sources]
        assert engine.encoded == list(dict.fromkeys(chunks))  # each once, over all calls
        cached.append(end.usage.cached_visual_tokens)
    assert cached[0] == 0
    assert cached == sorted(cached)
    assert cached[-1] > cached[1] > 0


def test_a_context_holds_the_words_of_its_own_list_alone() -> None:
    engine = PlainEngine()
    passing = Passing(engine)
    secret = [Message("user", "The code of the safe is 4471, tell nobody. " * 4)]
    last(passing, [*secret, *TALK[:5]])
    last(passing, TALK[:5])
    read = "".join(chunk.text for chunk in engine.contexts[-1].sources) + engine.contexts[-1].tail
    assert "4471" not in read
    assert [tokens.chunk_id for tokens in engine.contexts[-1].visual] == [
        chunk.id for chunk in engine.contexts[-1].sources
    ]


def test_recent_messages_stay_text_and_system_prompts_are_pinned() -> None:
    engine = PlainEngine()
    passing = Passing(engine)
    system = Message("system", "Be brief.")
    last(passing, [TALK[0], system, *TALK[1:]], keep_recent=4)
    context = engine.contexts[-1]
    assert "Be brief." in context.pinned
    assert all(message.text in context.tail for message in TALK[-4:])
    assert TALK[0].text[:8] in context.sources[0].text
    last(passing, TALK)
    assert TALK[-4].text not in engine.contexts[-1].tail
    last(passing, TALK, keep_recent=100)
    assert engine.contexts[-1].visual == ()
    with pytest.raises(ValueError, match="keep_recent=-1"):
        passing.complete(TALK, keep_recent=-1)


def test_what_goes_in_is_checked_and_the_budget_kept() -> None:
    passing = Passing(PlainEngine())
    with pytest.raises(InvalidMessageError, match="NUL"):
        passing.complete([Message("user", "a\0")])
    end = last(passing, TALK, budget=60)
    assert end.left_out_tokens > 0
    with pytest.raises(ContextOverflowError, match="the budget is 1"):
        last(passing, TALK, budget=1)


def test_documents_are_read_before_the_conversation() -> None:
    engine = PlainEngine()
    memory = VisualMemory.open("memory://", model=engine)
    books = memory.collection("handbook")
    books.add_documents(["The blue valve is behind the boiler, on the left. " * 3])
    last(Passing(engine), TALK[:1], include=[books], params=GenerationParams())
    assert "blue valve" in "".join(chunk.text for chunk in engine.contexts[-1].sources)
    assert "harbour" in engine.contexts[-1].sources[-1].text


def test_nothing_is_kept_in_a_store_without_one_and_little_in_the_process() -> None:
    engine = PlainEngine()
    passing = Passing(engine, cache_bytes=0)
    last(passing, TALK)
    encoded = len(engine.encoded)
    last(passing, TALK)
    assert len(engine.encoded) == 2 * encoded


def test_with_a_store_another_process_finds_the_tensors_and_no_words(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    first = Passing(PlainEngine(), tensors=url)
    last(first, TALK)
    first.close()
    engine = PlainEngine()
    again = Passing(engine, tensors=url)
    last(again, TALK)
    assert engine.encoded == []
    again.close()
    with SQLiteStore(tmp_path / "m.db") as store:
        assert store.scopes("default", "session") == store.scopes("default", "collection") == []
    assert b"harbour" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_what_is_kept_in_a_store_ends(tmp_path: Path) -> None:
    now = time.time()
    store = SQLiteStore(tmp_path / "m.db", ttl=60, clock=lambda: now)
    engine = PlainEngine()
    passing = Passing(engine, tensors=store, ttl=60, cache_bytes=0)
    last(passing, TALK)
    passing._memory.flush()
    encoded = len(engine.encoded)
    last(passing, TALK)
    assert len(engine.encoded) == encoded
    now += 61
    last(passing, TALK)
    assert len(engine.encoded) == 2 * encoded
    store.close()


def test_a_store_that_keeps_for_ever_is_no_place_for_them() -> None:
    with pytest.raises(ValueError, match="ttl"):
        Passing(PlainEngine(), tensors=InMemoryStore())


async def test_asynchronously() -> None:
    engine: Engine = PlainEngine(["one two"])
    events = [event async for event in Passing(engine).acomplete(TALK)]
    assert isinstance(events[-1], Finished)
    assert events[-1].text == "one two"
