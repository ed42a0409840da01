"""One suite for every engine: what `vist2_memory.engine.base` promises.

A new engine is added to `ENGINES`: how to make it with so many recent chunks kept. ``script`` says
what it answers, token by token, so that an engine must take its choices from there to be tested.
"""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.checkpoints import save_small, small_config
from tests.support.engines import CountingEngine, Script, embed
from tests.support.serving import remote_engine
from tests.support.tokenizers import PROSE, byte_ids, small_tokenizer, token_ids
from vist2_memory.engine.base import Engine
from vist2_memory.engine.remote.engine import RemoteEngine
from vist2_memory.errors import ContextOverflowError
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import END, MARKS, RESERVED
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
)

pytest_plugins = ("tests.support.fixtures",)

ENGINES: dict[str, Callable[[Path, int], Engine]] = {
    "torch": CountingEngine,
    "remote": remote_engine,
}
ANSWER = "Your cat is called Miso, you told me so. They don't like rain, and it rained for 23 days."
TAIL = f"{MARKS['user']}Who?{MARKS['assistant']}"
GREEDY = GenerationParams(max_tokens=200)


@pytest.fixture(params=itertools.product(ENGINES, [0, 1]), ids=lambda p: f"{p[0]}-keep{p[1]}")
def engine(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Engine]:
    name, keep = request.param
    engine = ENGINES[name](checkpoint, keep)
    yield engine
    engine.close()


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(chunk_id(text), text, len(token_ids(text))) for text in texts]


def end_of(events: list[GenerationEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def folded_text(events: list[GenerationEvent]) -> str:
    return "".join(event.chunk.text for event in events if isinstance(event, ChunkFolded))


def shown_text(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def settled(count: Callable[[], int]) -> int:
    """What ``count`` gives once it has stopped changing."""
    known = -1
    while known != (known := count()):
        time.sleep(0.1)
    return known


# Encoding


def test_encoding_keeps_order_and_says_what_it_is(engine: Engine) -> None:
    chunks = chunks_of("My cat is called Miso.", "Bees", "My cat is called Miso.")
    first, second, third = engine.encode(chunks)
    for chunk, tokens in zip(chunks, (first, second, third), strict=True):
        assert tokens.chunk_id == chunk.id
        assert tokens.text_tokens == chunk.tokens
        assert tokens.fingerprint == engine.spec.fingerprint
        assert tokens.values.dtype == np.float32
        assert tokens.values.shape == (-(-len(chunk.text) // 4), 32)
    assert np.array_equal(first.values, third.values)
    assert engine.encode([]) == []


def test_values_are_rounded_to_what_a_store_keeps(engine: Engine) -> None:
    [tokens] = engine.encode(chunks_of("My cat is called Miso."))
    assert not (tokens.values.view(np.uint32) & 0xFFFF).any()
    assert np.isfinite(tokens.values).all()


@pytest.mark.parametrize("text", ["x", PROSE[:80], "猫が" * 4, "\U0010ffff", "🐈 and 猫", "7" * 40])
def test_the_cost_of_a_chunk_is_what_encoding_it_takes(engine: Engine, text: str) -> None:
    [chunk] = chunks_of(text)
    cost = engine.cost(chunk)
    assert cost == len(engine.encode([chunk])[0])


@pytest.mark.parametrize(("text", "drawn"), [(PROSE[:24], True), (" called", False)])
def test_the_picture_of_a_chunk_is_its_sketch_or_none_where_it_stays_text(
    engine: Engine, text: str, drawn: bool
) -> None:
    [chunk] = chunks_of(text)
    picture = engine.picture(chunk)
    if not drawn:
        assert picture is None
        return
    assert picture is not None
    geometry = small_config().sketch_geometry
    lines = geometry.lines(len(text))
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width == 3 * geometry.columns * geometry.cell_width
        assert image.height == 3 * lines * geometry.cell_height


def test_more_chunks_than_a_batch_are_encoded_as_each_alone(engine: Engine) -> None:
    chunks = chunks_of(*(f"Train {i} leaves." + "!" * (i % 5) for i in range(70)))
    together = engine.encode(chunks)
    assert [tokens.chunk_id for tokens in together] == [chunk.id for chunk in chunks]
    for number in (0, 63, 64, 69):
        [alone] = engine.encode([chunks[number]])
        np.testing.assert_allclose(together[number].values, alone.values, atol=0.01)


def test_a_chunk_that_no_sketch_holds_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="cut it shorter"):
        engine.encode(chunks_of("x" * 5000))


def test_a_chunk_dearer_drawn_than_written_stays_text(tmp_path: Path) -> None:
    """With a visual token for each cell: six for the picture of a sign, three for its bytes."""
    geometry = {"columns": 32, "max_lines": 12, "cells_per_patch": 1, "patches_per_strip": 1}
    config = small_config(geometry=geometry, vision={"num_channels": 2, "patch_size": 4})
    engine = CountingEngine(save_small(tmp_path / "dear", config))
    dear, cheap = chunks_of("猫猫", "12345")
    assert (dear.tokens, cheap.tokens) == (6, 5)
    written, drawn = engine.encode([dear, cheap])
    expected = embed(engine, token_ids(dear.text)).to(torch.bfloat16).float().numpy()
    assert np.array_equal(written.values, expected)
    assert len(drawn) == 5
    assert (engine.cost(dear), engine.cost(cheap)) == (6, 5)
    assert not np.array_equal(drawn.values, embed(engine, token_ids(cheap.text)).numpy())


def test_the_values_of_a_chunk_depend_on_its_text_alone(engine: Engine) -> None:
    """Not on how many tokens a model happened to write it with: the id says nothing of that."""
    text = "\U0010ffff\U0010fffe"
    few, many = engine.encode([Chunk(chunk_id(text), text, n) for n in (2, 8)])
    assert np.array_equal(few.values, many.values)


# Generating


def test_the_deltas_join_to_the_answer_and_finished_comes_last_and_once(
    engine: Engine, script: Script
) -> None:
    script.say(ANSWER)
    events = list(engine.generate(Context("", (), TAIL), GREEDY))
    assert shown_text(events) == end_of(events).text == ANSWER
    assert end_of(events).reason == "stop"
    assert [isinstance(event, Finished) for event in events].count(True) == 1


def test_folds_happen_in_the_middle_of_an_answer_between_its_words(
    engine: Engine, script: Script
) -> None:
    script.say(ANSWER)
    events = list(engine.generate(Context("", (), TAIL), GREEDY))
    kinds = [type(event) for event in events]
    first, last = kinds.index(ChunkFolded), len(kinds) - 1 - kinds[::-1].index(ChunkFolded)
    assert TextDelta in kinds[:first]
    assert TextDelta in kinds[last:]
    assert end_of(events).usage.folds == kinds.count(ChunkFolded) >= 2


def test_folded_chunks_join_to_the_tail_and_the_answer_up_to_what_is_still_tail(
    engine: Engine, script: Script
) -> None:
    script.say(ANSWER)
    events = list(engine.generate(Context("", (), TAIL), GREEDY))
    whole = TAIL + ANSWER
    folded = folded_text(events)
    assert whole.startswith(folded)
    assert engine.chunker.count(whole[len(folded) :]) < engine.spec.tail_limit
    for event in events:
        if isinstance(event, ChunkFolded):
            assert event.chunk.id == event.visual.chunk_id == chunk_id(event.chunk.text)
            assert event.chunk.tokens == engine.spec.chunk_tokens
            [again] = engine.encode([event.chunk])
            assert np.array_equal(again.values, event.visual.values)


@pytest.mark.timeout(180)  # a hundred short answers, each with threads of its own
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.sampled_from([b"\xf0\x9f\x90\x88", "猫".encode(), b"a", b"\xe2\x82", b"\x80", b"\xff"]),
        min_size=8,
        max_size=14,
    ).map(b"".join)
)
@example(data="🐈🐈🐈🐈".encode() + b"\xe2\x82" * 3 + "🐈".encode())
@example(data="🐈🐈🐈🐈".encode() + b"\xff\xe2\x82" * 3 + "🐈".encode())
def test_characters_in_pieces_and_broken_ones_join_across_folds_as_the_reader_saw_them(
    engine: Engine, script: Script, data: bytes
) -> None:
    """One token a byte: whole characters stay whole, broken ones are U+FFFD, in both alike."""
    script.answers.clear()
    script.say([*byte_ids(data), small_tokenizer().id(END)])
    events = list(engine.generate(Context("", (), TAIL), GREEDY))
    answer = data.decode("utf-8", "replace")
    assert end_of(events).text == shown_text(events) == answer
    folded, tail = folded_text(events), len(token_ids(TAIL))
    assert bool(folded) == (tail + len(byte_ids(data)) >= engine.spec.fold_at(tail))
    assert (TAIL + answer).startswith(folded)


def test_a_reserved_mark_spelled_byte_by_byte_does_not_reach_the_answer(
    engine: Engine, script: Script
) -> None:
    """The marks are no words: as text they would stand for a role, in the sketch too."""
    script.say([*token_ids("I am "), *byte_ids(MARKS["user"].encode()), *token_ids("you. " * 8)])
    events = list(engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=20)))
    assert not set(end_of(events).text) & set(RESERVED)
    assert not set(folded_text(events).removeprefix(TAIL)) & set(RESERVED)


@pytest.mark.parametrize("mark", [END, *MARKS.values()])
def test_a_mark_of_a_role_or_of_the_end_ends_the_answer(
    engine: Engine, script: Script, mark: str
) -> None:
    script.say([*token_ids("Yes."), small_tokenizer().id(mark), *token_ids("never")])
    end = end_of(list(engine.generate(Context("", (), TAIL), GREEDY)))
    assert (end.text, end.reason, end.usage.new_tokens) == ("Yes.", "stop", len(token_ids("Yes.")))


def test_reserved_marks_are_never_generated_even_when_sampled_hot(engine: Engine) -> None:
    """The random model would pick one in twenty-five tokens otherwise."""
    said = ""
    for seed in range(6):
        params = GenerationParams(max_tokens=60, temperature=3.0, seed=seed)
        said += end_of(list(engine.generate(Context("", (), TAIL), params))).text
    assert len(said) > 60
    assert not set(said) & set(RESERVED)


@pytest.mark.parametrize("limit", [1, 5, 16, 17])
def test_an_answer_ends_after_max_tokens(engine: Engine, script: Script, limit: int) -> None:
    script.say(ANSWER)
    events = list(engine.generate(Context("", (), TAIL), GenerationParams(max_tokens=limit)))
    end = end_of(events)
    assert (end.reason, end.usage.new_tokens) == ("length", limit)
    assert end.text == small_tokenizer().decode(token_ids(ANSWER)[:limit]).replace("\ufffd", "")


def test_a_stop_string_across_tokens_is_held_back_and_never_shown(
    engine: Engine, script: Script
) -> None:
    stop = "told me so"
    assert len(token_ids(stop)) > 2
    script.say(ANSWER)
    params = GenerationParams(max_tokens=200, stop=(stop,))
    events = list(engine.generate(Context("", (), TAIL), params))
    assert shown_text(events) == end_of(events).text == ANSWER[: ANSWER.index(stop)]
    assert end_of(events).reason == "stop"


def test_a_temperature_may_be_a_whole_number(engine: Engine) -> None:
    params = GenerationParams(max_tokens=3, temperature=1, top_p=1, seed=1)
    same = GenerationParams(max_tokens=3, temperature=1.0, seed=1)
    answers = [end_of(list(engine.generate(Context("", (), TAIL), p))).text for p in (params, same)]
    assert answers[0] == answers[1]


def test_the_same_seed_says_the_same_and_another_seed_something_else(engine: Engine) -> None:
    context = Context("", tuple(engine.encode(chunks_of("My cat is called Miso."))), TAIL)
    params = GenerationParams(max_tokens=30, temperature=1.0, seed=5)
    first, again = (end_of(list(engine.generate(context, params))) for _ in range(2))
    other = end_of(list(engine.generate(context, replace(params, seed=6))))
    assert first.text == again.text != other.text


def test_what_is_remembered_changes_what_is_said(engine: Engine, script: Script) -> None:
    texts = ["My cat is called Miso.", "My cat is called Bees.", None]
    firsts = []
    for text in texts:
        script.say(ANSWER)
        visual = tuple(engine.encode(chunks_of(text))) if text else ()
        script.logits = []
        list(engine.generate(Context("", visual, TAIL), GREEDY))
        firsts.append(script.logits[0])
    assert not torch.allclose(firsts[0], firsts[1], atol=1e-3)
    assert not torch.allclose(firsts[0], firsts[2], atol=1e-3)


def test_an_iterator_closed_early_stops_and_the_engine_goes_on_working(
    engine: Engine, script: Script
) -> None:
    script.say(token_ids("x" * GREEDY.max_tokens), "Yes.")
    events = engine.generate(Context("", (), TAIL), GREEDY)
    assert isinstance(next(events), TextDelta)
    events.close()  # type: ignore[attr-defined]
    # A server is ahead by what is on its way, and hears of the end later.
    ahead = GREEDY.max_tokens - 1 if isinstance(engine, RemoteEngine) else 2
    assert settled(lambda: len(script.logits)) <= ahead
    assert end_of(list(engine.generate(Context("", (), TAIL), GREEDY))).text == "Yes."


def test_text_that_the_model_cannot_hold_is_refused_before_a_token_is_made(
    engine: Engine, script: Script
) -> None:
    script.say("never")
    context = Context(MARKS["system"] + "be kind " * 1000, (), TAIL)
    with pytest.raises(ContextOverflowError, match="the model reads 1024"):
        next(engine.generate(context, GREEDY))
    assert script.logits == []


def test_usage_counts_what_was_read_and_what_it_stands_for(engine: Engine, script: Script) -> None:
    script.say(ANSWER)
    chunks = chunks_of("My cat is called Miso.", "Anna's brother keeps bees;")
    visual = tuple(engine.encode(chunks))
    pinned = MARKS["system"] + "Be kind."
    usage = end_of(list(engine.generate(Context(pinned, visual, TAIL), GREEDY))).usage
    text = sum(chunk.tokens for chunk in chunks)
    prompt = len(token_ids(pinned)) + len(token_ids(TAIL))
    assert usage.text_tokens == text
    assert usage.visual_tokens == sum(map(len, visual))
    assert usage.prompt_text_tokens == prompt
    assert usage.full_prompt_tokens == text + prompt
    assert usage.new_tokens == len(token_ids(ANSWER))
    assert usage.compression_ratio == text / usage.visual_tokens
    assert usage.context_ratio == (text + prompt) / (usage.visual_tokens + prompt)


def test_several_threads_get_the_answers_that_one_gets(engine: Engine) -> None:
    texts = ["My cat is called Miso.", "We leave for Lisbon", "it rained for 23 days."]
    contexts = [Context("", tuple(engine.encode(chunks_of(text))), TAIL) for text in texts]

    def answer(context: Context) -> str:
        return end_of(list(engine.generate(context, GenerationParams(max_tokens=12)))).text

    alone = [answer(context) for context in contexts]
    assert len(set(alone)) > 1
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(answer, contexts)) == alone
