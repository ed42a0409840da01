"""Batches of generations: each row gives what it gives alone."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.engines import CountingEngine, Script
from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine.batch import Batch
from vist2_memory.engine.batch_kv import Row, Rows
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import ContextOverflowError
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import (
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    Tool,
)

pytest_plugins = ("tests.support.fixtures",)

TEXTS = ["", "My cat is called Miso. " * 3, "Anna's brother keeps bees; " * 9, "It rained. " * 2]
TAILS = ["Who?", "And how old is she, did you say?", "Why?", "Tell me all of it."]


@pytest.fixture
def keeping(checkpoint: Path) -> CountingEngine:
    """An engine that keeps a chunk of text at each fold."""
    return CountingEngine(checkpoint, keep_recent_chunks=1)


def never_ending(engine: TorchEngine) -> None:
    """Answers of the random model go on until ``max_tokens``."""
    engine._never |= engine.stop_ids


def contexts_of(engine: TorchEngine) -> list[Context]:
    """Contexts of different lengths, one without memory, one with a system prompt."""
    found = []
    for number, (text, tail) in enumerate(zip(TEXTS, TAILS, strict=True)):
        visual = tuple(engine.encode(engine.chunker.cut_all(text))) if text else ()
        pinned = MARKS["system"] + "Be kind." if number == 2 else ""
        said = MARKS["user"] + tail + MARKS["assistant"]
        found.append(Context(pinned, visual, said))
    return found


def alone(
    engine: TorchEngine, contexts: Sequence[Context], params: Sequence[GenerationParams]
) -> list[list[GenerationEvent]]:
    pairs = zip(contexts, params, strict=True)
    return [list(engine.generate(context, own)) for context, own in pairs]


def together(batch: Batch, count: int) -> list[list[Any]]:
    events: list[list[Any]] = [[] for _ in range(count)]
    for row, event in batch:
        events[row].append(event)
    return events


def told(events: Sequence[Any]) -> list[Any]:
    """Events without what differs between two runs: times, ids of calls, what is read again."""
    said: list[Any] = []
    for event in events:
        match event:
            case TextDelta():
                said.append((event.text, [one.token for one in event.logprobs]))
            case ChunkFolded():
                said.append(("fold", event.chunk))
            case Finished():
                calls = [call.text for call in event.calls]
                usage = replace(event.usage, reused_tokens=0)
                said.append((event.text, event.reason, usage, calls))
            case _:
                said.append(getattr(event, "text", repr(event)))
    return said


@pytest.mark.parametrize("count", [1, 2, 4])
def test_greedy_answers_with_folds_are_those_of_each_alone(
    engine: CountingEngine, count: int
) -> None:
    never_ending(engine)
    contexts = contexts_of(engine)[:count]
    params = [GenerationParams(max_tokens=30 + 7 * row) for row in range(count)]
    expected = alone(engine, contexts, params)
    found = together(engine.generate_batch(contexts, params), count)
    assert [told(events) for events in found] == [told(events) for events in expected]
    assert all(events[-1].usage.folds >= 2 for events in found)


def test_text_that_is_kept_at_a_fold_is_read_again_in_its_row(keeping: CountingEngine) -> None:
    never_ending(keeping)
    contexts = contexts_of(keeping)
    params = [GenerationParams(max_tokens=40)] * 4
    expected = alone(keeping, contexts, params)
    found = together(keeping.generate_batch(contexts, params), 4)
    assert [told(events) for events in found] == [told(events) for events in expected]
    steps = [[type(e) is ChunkFolded for e in events].index(True) for events in found]
    assert len(set(steps)) > 1  # rows fold at different steps


def test_each_row_has_its_own_parameters(engine: CountingEngine) -> None:
    contexts = contexts_of(engine)
    params = [
        GenerationParams(max_tokens=9),
        GenerationParams(max_tokens=25, temperature=1.0, seed=5, top_p=0.9),
        GenerationParams(max_tokens=12, temperature=2.0, seed=6, top_k=5),
        GenerationParams(max_tokens=25, logprobs=2),
    ]
    expected = alone(engine, contexts, params)
    found = together(engine.generate_batch(contexts, params), 4)
    assert [told(events) for events in found] == [told(events) for events in expected]


def test_a_row_stops_at_its_own_string(engine: CountingEngine, script: Script) -> None:
    contexts = [contexts_of(engine)[0]] * 3
    script.say("One two three.", "One two three.", "One two three.")
    greedy = GenerationParams(max_tokens=50)
    params = [greedy, replace(greedy, stop=("two",)), replace(greedy, stop=("ee", "never"))]
    found = together(engine.generate_batch(contexts, params), 3)
    assert [events[-1].text for events in found] == ["One two three.", "One ", "One two thr"]


TOOL = Tool(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
)
SCHEMA = {"type": "object", "properties": {"old": {"type": "boolean"}}, "required": ["old"]}


def test_a_row_with_tools_and_one_with_a_schema_keep_to_their_grammars(
    engine: CountingEngine,
) -> None:
    contexts = contexts_of(engine)
    greedy = GenerationParams(max_tokens=60)
    params = [
        replace(greedy, tools=(TOOL,), tool_choice="any", parallel_tool_calls=False),
        replace(greedy, schema=SCHEMA),
        greedy,
        replace(greedy, tools=(TOOL,), tool_choice="weather", temperature=1.0, seed=1),
    ]
    expected = alone(engine, contexts, params)
    found = together(engine.generate_batch(contexts, params), 4)
    assert [told(events)[-1] for events in found] == [told(events)[-1] for events in expected]
    assert found[0][-1].calls[0].arguments["city"] in ("Oslo", "Rome")
    assert json.loads(found[1][-1].text)["old"] in (True, False)


def test_the_model_runs_once_for_all_rows_at_each_step(engine: CountingEngine) -> None:
    contexts = [contexts_of(engine)[1]] * 4
    params = [GenerationParams(max_tokens=5)] * 4
    shapes: list[tuple[int, ...]] = []
    hook = engine.model.language_model.model.layers[0].mlp.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape[:2]))
    )
    try:
        together(engine.generate_batch(contexts, params), 4)
    finally:
        hook.remove()
    assert shapes[0][0] == 4
    assert shapes[0][1] > 1
    assert [shape for shape in shapes[1:] if shape[1] == 1] == [(4, 1)] * (len(shapes) - 1)


def test_one_row_is_cancelled_and_the_others_go_on(engine: CountingEngine) -> None:
    never_ending(engine)
    contexts = contexts_of(engine)
    params = [GenerationParams(max_tokens=30)] * 4
    expected = alone(engine, contexts, params)
    batch = engine.generate_batch(contexts, params)
    events: list[list[Any]] = [[], [], [], []]
    for row, event in batch:
        events[row].append(event)
        if row == 0 and len(events[0]) == 3:
            batch.cancel(0)
    assert told(events[0]) == told(expected[0])[:3]
    assert [told(e) for e in events[1:]] == [told(e) for e in expected[1:]]


def test_a_row_that_cannot_be_read_gives_its_error_and_the_others_their_answers(
    engine: CountingEngine,
) -> None:
    contexts = contexts_of(engine)
    contexts[1] = Context(MARKS["system"] + "be kind " * 1000, (), MARKS["assistant"])
    params = [GenerationParams(max_tokens=10)] * 4
    found = together(engine.generate_batch(contexts, params), 4)
    assert [type(events[-1]) for events in found] == [
        Finished,
        ContextOverflowError,
        Finished,
        Finished,
    ]


def test_a_step_that_fails_ends_the_batch(
    engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = engine.generate_batch(contexts_of(engine), [GenerationParams()] * 4)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.model.language_model.model.layers[0].mlp, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(batch)
    assert list(batch) == []


def test_a_batch_needs_parameters_for_each_context(engine: CountingEngine) -> None:
    with pytest.raises(ValueError, match="zip"):
        engine.generate_batch(contexts_of(engine), [GenerationParams()])


def test_an_engine_without_batches_answers_one_after_the_other(engine: CountingEngine) -> None:
    contexts, params = contexts_of(engine), [GenerationParams(max_tokens=10)] * 4
    expected = alone(engine, contexts, params)
    order = []
    found: list[list[Any]] = [[], [], [], []]
    for row, event in super(TorchEngine, engine).generate_batch(contexts, params):
        order.append(row)
        found[row].append(event)
    assert order == sorted(order)
    assert [told(events) for events in found] == [told(events) for events in expected]


def rows_of(engine: TorchEngine, lengths: Sequence[int]) -> tuple[Rows, list[Row]]:
    rows = Rows(engine.model.language_model, engine.encoder.embed)
    made = []
    for length in lengths:
        row = rows.enter()
        row.read(None, small_tokenizer().encode("word " * length)[:length])
        made.append(row)
    rows.step()
    return rows, made


def test_buffers_shrink_as_rows_leave_and_are_gone_with_the_last(engine: CountingEngine) -> None:
    rows, made = rows_of(engine, [300, 4, 5, 6])
    full = rows.allocated
    token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, head size, float32
    assert full >= 4 * 306 * token
    rows.leave(made[1])
    rows.leave(made[0])
    assert [row.slot for row in rows._rows] == [0, 1]
    assert rows.allocated <= 2 * 128 * token
    for row in (made[2], made[3]):
        rows.leave(row)
    assert rows.allocated == 0


def test_what_moves_to_another_slot_goes_on_as_before(engine: CountingEngine) -> None:
    rows, made = rows_of(engine, [9, 4, 12])
    for row in made:
        row.read(None, (30,))
    rows.leave(made[0])
    rows.step()
    for row, length in ((made[1], 4), (made[2], 12)):
        own, [expected] = rows_of(engine, [length])
        expected.read(None, (30,))
        own.step()
        assert row.logits is not None
        torch.testing.assert_close(row.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_a_batch_that_is_dropped_frees_its_keys_and_values(engine: CountingEngine) -> None:
    batch = engine.generate_batch(contexts_of(engine), [GenerationParams(max_tokens=30)] * 4)
    next(batch)
    rows = batch._step.__self__  # type: ignore[union-attr]
    gone = weakref.ref(rows)
    assert rows.allocated > 0
    batch.close()
    assert rows.allocated == 0
    del batch, rows
    assert gone() is None
