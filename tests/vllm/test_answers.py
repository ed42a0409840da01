"""What vLLM says against what the in-process engine says: tokens, probabilities, grammars."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import jsonschema
import pytest

from tests.support.on_vllm import Recording, context_of, endless, said
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import write
from vist2_memory.training.synthetic import generate
from vist2_memory.types import Context, GenerationParams, TextDelta, Tool

pytestmark = pytest.mark.timeout(300)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "friends": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["name", "age", "friends"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "Tells the weather.", {"properties": {"town": {"type": "string"}}})


def test_the_spec_is_that_of_the_in_process_engine(
    reference: TorchEngine, vllm_engine: VLLMEngine
) -> None:
    assert vllm_engine.spec == reference.spec


def test_greedy_tokens_over_many_folds(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    context, params = context_of(reference, full=True), GenerationParams(max_tokens=400)
    with endless(reference, vllm_engine):
        ours, theirs = said(vllm_engine, context, params), said(reference, context, params)
    assert ours.text == theirs.text
    assert ours.folded == theirs.folded
    assert len(ours.folded) >= 6
    assert replace(ours.finished.usage, reused_tokens=0) == replace(
        theirs.finished.usage, reused_tokens=0
    )


def test_quotes_are_held_to_the_text(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    conversation = generate(random.Random(5), characters=1500, split="heldout")
    chunks = list(reference.chunker.cut(write(conversation.messages)))  # type: ignore[arg-type]
    visual, quoted = tuple(reference.encode(chunks)), 0
    for question in conversation.questions:
        tail = write([("user", question.text), ("assistant", "")])
        context = Context("", visual, tail, tuple(chunks))
        params = GenerationParams(max_tokens=40)
        ours, theirs = said(vllm_engine, context, params), said(reference, context, params)
        assert ours.text == theirs.text
        quoted += '"' in ours.text
    assert quoted


def test_each_request_asks_for_what_fits_until_the_next_fold(
    reference: TorchEngine, vllm_engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(vllm_engine.transport)
    monkeypatch.setattr(vllm_engine, "transport", recording)
    with endless(vllm_engine):
        context = context_of(reference, full=True)
        answer = said(vllm_engine, context, GenerationParams(max_tokens=100))
    assert len(recording.requests) == len(answer.folded) + 1 > 2
    assert sum(request.max_tokens for request in recording.requests) == 100


def test_logprobs(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    context, params = context_of(reference, full=True), GenerationParams(max_tokens=80, logprobs=4)
    with endless(reference, vllm_engine):
        ours, theirs = said(vllm_engine, context, params), said(reference, context, params)
    assert len(ours.logprobs) == len(theirs.logprobs) == 80
    for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
        assert one.bytes == other.bytes
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert [top.logprob for top in one.top] == pytest.approx(
            [top.logprob for top in other.top], abs=1e-3
        )


def test_a_seed_says_the_same_again_over_folds_and_another_says_otherwise(
    reference: TorchEngine, vllm_engine: VLLMEngine
) -> None:
    context = context_of(reference, full=True)

    def sampled(seed: int) -> str:
        params = GenerationParams(max_tokens=80, temperature=1.0, top_p=0.95, top_k=50, seed=seed)
        answer = said(vllm_engine, context, params)
        assert answer.folded
        return answer.text

    with endless(vllm_engine):
        assert sampled(7) == sampled(7)
        assert sampled(7) != sampled(8)


def test_what_is_never_said_is_not_sampled_either(
    reference: TorchEngine, vllm_engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the vocabulary, at the highest temperature."""
    never = frozenset(range(0, 4096, 2)) | vllm_engine.stop_ids
    monkeypatch.setattr(vllm_engine, "_never", never)
    params = GenerationParams(max_tokens=60, temperature=2.0, seed=1, logprobs=0)
    answer = said(vllm_engine, context_of(reference), params)
    tokenizer = vllm_engine.processor.tokenizer
    said_bytes = {one.bytes for one in answer.logprobs}
    allowed = {tokenizer.bytes_of(i) for i in range(4096) if i not in never}
    assert len(answer.logprobs) == 60
    assert said_bytes <= allowed


def test_a_temperature_that_vllm_does_not_know(
    reference: TorchEngine, vllm_engine: VLLMEngine
) -> None:
    with pytest.raises(InvalidInputError, match="temperature=3 is more than vLLM takes"):
        said(vllm_engine, context_of(reference), GenerationParams(temperature=3))


def test_stop_strings_end_the_answer(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    context = context_of(reference)
    with endless(reference, vllm_engine):
        whole = said(reference, context, GenerationParams(max_tokens=120)).text
        stop = whole[40:46]
        ours = said(vllm_engine, context, GenerationParams(max_tokens=120, stop=(stop,)))
    assert ours.finished.reason == "stop"
    assert ours.text == whole[: whole.index(stop)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("max_tokens", [30, 90])
def test_json_matches_its_schema_and_is_whole(
    reference: TorchEngine, vllm_engine: VLLMEngine, temperature: float, max_tokens: int
) -> None:
    for seed in range(3):
        params = GenerationParams(
            max_tokens=max_tokens, temperature=temperature, seed=seed, schema=PERSON
        )
        answer = said(vllm_engine, context_of(reference), params)
        jsonschema.validate(json.loads(answer.text), PERSON)
        assert answer.finished.reason == "stop"


def test_json_that_is_folded_in_its_middle(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    schema = {"type": "array", "items": {"type": "string", "minLength": 12}, "minItems": 4}
    params, context = (
        GenerationParams(max_tokens=120, schema=schema),
        context_of(reference, full=True),
    )
    ours, theirs = said(vllm_engine, context, params), said(reference, context, params)
    assert ours.folded
    assert ours.text == theirs.text
    jsonschema.validate(json.loads(ours.text), schema)


@pytest.mark.parametrize("logprobs", [None, 2])
def test_calls_are_those_of_the_in_process_engine(
    reference: TorchEngine, vllm_engine: VLLMEngine, logprobs: int | None
) -> None:
    params = GenerationParams(
        max_tokens=120, tools=(WEATHER,), tool_choice="any", logprobs=logprobs
    )
    ours = said(vllm_engine, context_of(reference), params)
    theirs = said(reference, context_of(reference), params)
    calls = [json.loads(call.text) for call in ours.finished.calls]
    assert calls == [json.loads(call.text) for call in theirs.finished.calls]
    assert calls[0]["name"] == "weather"
    assert ours.finished.reason == theirs.finished.reason


def test_an_answer_that_is_left_is_aborted(reference: TorchEngine, vllm_engine: VLLMEngine) -> None:
    from tests.vllm.metrics import waits_until_idle

    with endless(vllm_engine):
        events = vllm_engine.generate(context_of(reference), GenerationParams(max_tokens=100))
        for event in events:
            if isinstance(event, TextDelta):
                break
        events.close()  # type: ignore[attr-defined]
    assert waits_until_idle(vllm_engine)
