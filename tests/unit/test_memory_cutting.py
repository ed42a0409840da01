"""A transcript is cut into chunks once, by whoever writes it, also in the middle of an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, TALK, said, tell, whole
from tests.support.tokenizers import byte_ids
from vist2_memory import VisualMemory
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import write
from vist2_memory.types import ChunkFolded, GenerationParams, TextDelta

pytest_plugins = ("tests.support.fixtures",)


def test_cuts_are_stored_and_reopening_neither_cuts_nor_encodes(
    url: str, checkpoint: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        session = tell(memory.session("a"))
        written, tail = session.chunks(), session.tail()
        ends = [end for message in session.messages() for end in message.cuts]
    assert len(written) > 4
    assert ends == [chunk.start + len(chunk.text) for chunk in written]
    engine = CountingEngine(checkpoint)
    with VisualMemory.open(url, model=engine) as memory:
        session = memory.session("a")
        with monkeypatch.context() as patch:
            patch.setattr(Chunker, "first", None)  # nothing may cut
            assert session.chunks() == written
        assert session.tail() == tail
        script.say("Yes.")
        end = session.ask("So?")
    assert not set(engine.encoded) & {chunk.text for chunk in written}
    [context] = engine.contexts
    assert [t.chunk_id for t in context.visual[: len(written)]] == [c.id for c in written]
    assert end.usage.cached_visual_tokens == sum(map(len, context.visual))
    assert end.degraded == ()


def test_adding_encodes_each_chunk_once_as_soon_as_it_is_full(
    memory: VisualMemory, engine: CountingEngine
) -> None:
    session = memory.session("a")
    for number, (role, text) in enumerate(TALK):
        session.add(role, text)
        assert engine.encoded == [chunk.text for chunk in session.chunks()], f"message {number}"


def test_a_fold_in_the_middle_of_a_long_answer_is_stored_and_read_back(
    url: str, checkpoint: Path, script: Script
) -> None:
    engine = CountingEngine(checkpoint)
    script.say(ANSWER)
    with VisualMemory.open(url, model=engine) as memory:
        session = memory.session("a")
        events = list(session.stream("What is my cat called?"))
        folded = [event for event in events if isinstance(event, ChunkFolded)]
        chunks, answer = session.chunks(), session.messages()[-1]
    assert len(folded) >= 3
    assert isinstance(events[events.index(folded[0]) + 1], TextDelta), "the answer went on"
    assert [chunk.id for chunk in chunks[-len(folded) :]] == [event.chunk.id for event in folded]
    assert answer.text == ANSWER
    assert len(answer.cuts) == len(folded)

    engine = CountingEngine(checkpoint)
    with VisualMemory.open(url, model=engine) as memory:
        session = memory.session("a")
        assert session.chunks() == chunks
        script.say("Miso.")
        end = session.ask("Say it again.")
        assert not set(engine.encoded) & {chunk.text for chunk in chunks}
    context = engine.contexts[0]
    seen = {tokens.chunk_id: tokens for tokens in context.visual}
    for event in folded:  # what was cached is what the generation itself went on from
        assert np.array_equal(seen[event.chunk.id].values, event.visual.values)
    in_folded_chunks = "".join(event.chunk.text for event in folded)
    assert "Your cat is called Miso" in in_folded_chunks
    assert end.usage.cached_visual_tokens > 0


def test_a_stop_string_that_takes_back_folded_words_leaves_a_whole_transcript(
    url: str, checkpoint: Path, script: Script
) -> None:
    """Held-back words may lie in a folded chunk already when they turn out to be the end."""
    stop = "Miso, you told me so. They"
    params = GenerationParams(stop=(stop,))
    script.say(ANSWER)
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        session = memory.session("a")
        events = list(session.stream("Who?", params=params))
        assert any(isinstance(e, ChunkFolded) and "Miso" in e.chunk.text for e in events)
        assert said(session)[-1] == ("assistant", ANSWER[: ANSWER.index(stop)])
        assert whole(session) == write(said(session))  # type: ignore[arg-type]
        chunks = session.chunks()
        script.say("Yes.")
        assert session.ask("Really?").degraded == ()
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        assert memory.session("a").chunks()[: len(chunks)] == chunks


def test_an_answer_written_with_other_tokens_than_a_tokenizer_would_use_reads_back(
    url: str, checkpoint: Path
) -> None:
    """A random model spells its words in its own way; counts are those of the text all the same."""
    folded: list[ChunkFolded] = []
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        session = memory.session("a")
        for seed in range(8):
            params = GenerationParams(max_tokens=40, temperature=2.0, seed=seed)
            events = session.stream("Who?", params=params)
            folded += [event for event in events if isinstance(event, ChunkFolded)]
        chunks = session.chunks()
        assert whole(session) == write(said(session))  # type: ignore[arg-type]
    assert len(folded) > 10
    counts = {chunk.id: chunk.tokens for chunk in chunks}
    assert {event.chunk.id for event in folded} <= set(counts)
    assert any(counts[event.chunk.id] != 8 for event in folded), (
        "the model wrote as the tokenizer does; the test proves nothing"
    )
    told = {event.chunk.text: event.visual.text_tokens for event in folded}
    assert told == {event.chunk.text: counts[event.chunk.id] for event in folded}


def test_cuts_are_where_the_model_folded_and_not_where_a_tokenizer_would_cut(
    url: str, checkpoint: Path, script: Script
) -> None:
    """The model may spell its words letter by letter: its chunks of eight tokens are short."""
    script.say(byte_ids(ANSWER.encode()))
    params = GenerationParams(max_tokens=len(ANSWER))
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        events = list(memory.session("a").stream("Who?", params=params))
    folded = [event.chunk.id for event in events if isinstance(event, ChunkFolded)]
    engine = CountingEngine(checkpoint)
    with VisualMemory.open(url, model=engine) as memory:
        chunks = memory.session("a").chunks()
    assert len(folded) >= len(ANSWER) // 8 - 1
    assert [chunk.id for chunk in chunks[: len(folded)]] == folded
