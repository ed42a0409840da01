"""Sessions whose model calls tools, with the in-process engine: folds, refusals, calls cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.engines import CountingEngine, Script
from tests.support.memories import said, whole
from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import CALL, MARKS, RESERVED, written
from vist2_memory.types import (
    Context,
    Finished,
    GenerationParams,
    Tool,
    ToolCall,
)

pytest_plugins = ("tests.support.fixtures",)

WEATHER = Tool(
    "weather",
    "Tells the weather.",
    {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["place"],
    },
)
PARAMS = GenerationParams(max_tokens=200, tools=(WEATHER,))
CALLS = [
    '{"name": "weather", "arguments": {"place": "the old harbour of Lisbon", "days": 14}}',
    '{"name": "weather", "arguments": {"place": "Züge, 猫 and \\"bees\\"\\n"}}',
]
IMPOSSIBLE = Tool("find", "", {"type": "object", "properties": {"x": {"not": {}}}})


@pytest.mark.parametrize("text", ["", "Let me look. "])
@pytest.mark.parametrize("keep", [0, 1, 2])
def test_an_answer_that_folds_within_its_calls_is_cut_as_if_it_were_cut_afresh(
    checkpoint: Path, script: Script, url: str, keep: int, text: str
) -> None:
    engine = CountingEngine(checkpoint, keep)
    script.say(text + "".join(CALL + call for call in CALLS))
    with VisualMemory.open(url, model=engine) as memory:
        session = memory.session("a")
        end = session.ask("How is the weather?", params=PARAMS)
        assert (end.text, end.reason) == (text, "tool_calls")
        assert [call.text for call in end.calls] == CALLS
        assert end.usage.folds >= 4
        transcript = "".join(map(written, session.messages()))
        assert whole(session) == transcript
        chunks = session.chunks()
        assert chunks == list(engine.chunker.cut(transcript))[: len(chunks)]
        assert engine.chunker.count(session.tail()) < engine.spec.tail_limit
    with VisualMemory.open(url, model=CountingEngine(checkpoint, keep)) as memory:
        again = memory.session("a")
        assert again.chunks() == chunks
        assert again.messages()[-1].calls == end.calls


def test_the_result_of_a_call_is_added_and_answered(engine: CountingEngine, script: Script) -> None:
    script.say(CALL + CALLS[0], "It rains.")
    with VisualMemory.open("memory://", model=engine) as memory:
        session = memory.session("a")
        [call] = session.ask("How is the weather?", params=PARAMS, turn="t").calls
        assert call.arguments == {"place": "the old harbour of Lisbon", "days": 14}
        session.add("tool", "rain", payload={"tool_call_id": call.id}, turn="t")
        assert session.resume(params=PARAMS, turn="t").text == "It rains."
        assert [role for role, _ in said(session)] == ["user", "assistant", "tool", "assistant"]
        for context in engine.contexts:
            assert "weather(" not in context.pinned  # tools are told, and pinned nowhere


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (GenerationParams(tools=(IMPOSSIBLE,)), "the tool 'find' cannot be kept to"),
        (GenerationParams(tools=(WEATHER,), tool_choice="any", max_tokens=5), "is too few"),
        (GenerationParams(schema={"type": "wish"}), "the schema of the answer"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_the_question_is_logged(
    engine: CountingEngine, params: GenerationParams, reason: str
) -> None:
    with VisualMemory.open("memory://", model=engine) as memory:
        session = memory.session("a")
        with pytest.raises(InvalidInputError, match=reason):
            session.ask("How is the weather?", params=params)
        assert session.messages() == []
        session.ask("How is the weather?", params=GenerationParams(max_tokens=2))
        for refused in (session.regenerate_stream, session.resume_stream, session.complete):
            with pytest.raises(InvalidInputError, match=reason):
                refused(params=params)
        assert len(session.messages()) == 2
        assert len(engine.contexts) == 1


def test_a_call_is_cut_off_where_the_model_can_read_no_further(checkpoint: Path) -> None:
    """The only way that one may be: it is told as what it is, and not as a call."""
    engine = CountingEngine(checkpoint, keep_recent_chunks=100)
    params = GenerationParams(tools=(WEATHER,), tool_choice="any", temperature=1.0, seed=0)
    tail = f"{MARKS['user']}Who?{MARKS['assistant']}"
    engine._positions = engine.text_tokens("", tail, params) + 30
    *_, end = engine.generate(Context("", (), tail), params)
    assert isinstance(end, Finished)
    assert end.reason == "length"
    [call] = end.calls
    assert call.text.startswith('{"name": "weather", "arguments": ')
    assert call.arguments is None
    assert end.usage.new_tokens == 30


def test_a_call_holds_no_mark_that_its_bytes_spell(engine: CountingEngine, script: Script) -> None:
    spelled = CALLS[0].replace("harbour", "harb\ue003ur")
    byte_by_byte = [engine.processor.tokenizer.id(CALL)]
    single = {engine.processor.tokenizer.bytes_of(i): i for i in range(16, 400)}
    byte_by_byte += [single[bytes([byte])] for byte in spelled.encode()]
    script.say([*byte_by_byte, RESERVED.index(MARKS["user"])])
    events = list(engine.generate(Context("", (), MARKS["assistant"]), PARAMS))
    end = events[-1]
    assert isinstance(end, Finished)
    [call] = end.calls
    assert call == ToolCall(call.id, spelled.replace("\ue003", "\ufffd"))
    assert call.arguments is not None
