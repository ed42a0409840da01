"""A session's bookkeeping: what is cut when, and that reading again never cuts anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.memory.transcript import Transcript
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import MARKS, write
from vist2_memory.types import Message

RENDERER = SketchRenderer(SketchGeometry(columns=36, max_lines=2))
WORDS = st.lists(st.sampled_from([*PROSE.split(), "🐈", "猫が", "\ue000"]), min_size=1, max_size=30)
SAID = st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), WORDS.map(" ".join))
TALK = st.lists(SAID.map(lambda said: Message(said[0], said[1])), max_size=8)  # type: ignore[arg-type]


class NeverCut(Chunker):
    """A chunker that must not be asked to cut."""

    def first(self, text: str, start: int = 0) -> None:
        raise AssertionError("a stored cut was made anew")


def empty(limit: int = 16, layout: str = "A", chunker: type[Chunker] = Chunker) -> Transcript:
    return Transcript(chunker(small_tokenizer(), 8, RENDERER.fits), layout, limit)


def log(talk: Sequence[Message], transcript: Transcript) -> list[Message]:
    """The messages as a session stores them: each with the cuts made when it was written."""
    logged = []
    for message in talk:
        cuts = transcript.cuts_after(message)
        logged.append(replace(message, cuts=cuts, layout=transcript.layout))
        transcript.take(logged[-1:])
    return logged


def reread(logged: Sequence[Message], transcript: Transcript) -> Transcript:
    transcript.take(logged)
    return transcript


@given(TALK, st.sampled_from([8, 16, 24]))
def test_chunks_and_tail_are_the_transcript_and_system_messages_stand_apart(
    talk: list[Message], limit: int
) -> None:
    transcript = empty(limit)
    log(talk, transcript)
    flow = write((m.role, m.text) for m in talk if m.role != "system")
    pinned = write((m.role, m.text) for m in talk if m.role == "system")
    assert "".join(c.text for c in transcript.chunks) + transcript.tail == flow
    assert transcript.pinned == pinned
    assert transcript.chunker.count(transcript.tail) < limit
    assert transcript.prompt() == transcript.tail + MARKS["assistant"]
    for chunk in transcript.chunks:
        assert flow[chunk.start :].startswith(chunk.text)
        assert RENDERER.fits(chunk.text)


@given(TALK)
def test_reading_the_log_again_gives_the_same_chunks_and_cuts_nothing(talk: list[Message]) -> None:
    written = empty()
    logged = log(talk, written)
    again = reread(logged, empty(chunker=NeverCut))
    assert again.chunks == written.chunks
    assert again.tail == written.tail


@given(TALK, st.integers(0, 8))
def test_reading_in_two_steps_is_reading_at_once(talk: list[Message], place: int) -> None:
    logged = log(talk, empty())
    steps, once = reread(logged[place:], reread(logged[:place], empty())), reread(logged, empty())
    assert (steps.chunks, steps.tail, steps.pinned) == (once.chunks, once.tail, once.pinned)
    assert steps.messages == logged


@given(TALK)
def test_another_layout_cuts_afresh_and_the_same_way_each_time(talk: list[Message]) -> None:
    logged = log(talk, empty(layout="A"))
    other = reread(logged, empty(layout="B"))
    assert other.chunks == reread(logged, empty(layout="B")).chunks
    assert "".join(c.text for c in other.chunks) + other.tail == other.text


@given(TALK, TALK)
def test_messages_of_two_layouts_in_one_log_read_back_under_both(
    first: list[Message], second: list[Message]
) -> None:
    logged = log(first, empty(layout="A"))
    later = reread(logged, empty(layout="B"))
    logged += log(second, later)
    assert reread(logged, empty(layout="B")).chunks == later.chunks
    back = reread(logged, empty(layout="A"))
    assert "".join(c.text for c in back.chunks) + back.tail == back.text
    assert all(RENDERER.fits(chunk.text) for chunk in back.chunks)


@settings(max_examples=30)
@given(TALK, TALK)
def test_a_log_continued_with_fewer_recent_chunks_kept_reads_back_with_more(
    first: list[Message], second: list[Message]
) -> None:
    """What is kept as text is the engine's choice, and no part of the layout."""
    logged = log(first, empty(limit=40))
    logged += log(second, reread(logged, empty(limit=8)))
    back = reread(logged, empty(limit=40))
    assert "".join(c.text for c in back.chunks) + back.tail == back.text
    assert all(RENDERER.fits(chunk.text) for chunk in back.chunks)


@given(TALK, WORDS.map(" ".join), st.lists(st.integers(1, 60), max_size=4))
def test_cuts_made_while_answering_are_stored_and_kept(
    talk: list[Message], answer: str, steps: list[int]
) -> None:
    transcript = empty()
    logged = log(talk, transcript)
    longer = len(transcript.text) + len(write([("assistant", answer)]))
    ends, end = [], transcript.tail_start
    for step in steps:
        end += step
        ends.append(end)
    message = Message("assistant", answer)
    cuts = transcript.cuts_after(message, ends)
    possible = [end for end in ends if end <= longer]
    assert list(cuts[: len(possible)]) == possible
    before = list(transcript.chunks)
    logged.append(replace(message, cuts=cuts, layout="A"))
    again = reread(logged, empty(chunker=NeverCut))
    assert again.chunks[: len(before)] == before
    assert tuple(c.start + len(c.text) for c in again.chunks[len(before) :]) == cuts


def test_asking_for_cuts_changes_nothing() -> None:
    transcript = empty()
    transcript.take([Message("user", PROSE)])
    before = (transcript.text, list(transcript.chunks), list(transcript.messages))
    assert transcript.cuts_after(Message("assistant", PROSE))
    assert (transcript.text, transcript.chunks, transcript.messages) == before


@pytest.mark.timeout(20)
def test_cutting_a_long_message_takes_time_in_proportion_to_its_length() -> None:
    """A message may have a million characters."""

    def seconds(times: int) -> float:
        start = time.process_time()
        empty().take([Message("user", PROSE * times)])
        return time.process_time() - start

    seconds(1)
    short, long = seconds(10), seconds(80)
    assert long < 24 * short, f"8 times the text took {long / short:.0f} times as long"
