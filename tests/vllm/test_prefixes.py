"""vLLM's prefix cache: what of a memory is read again, and by whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.on_vllm import Recording, context_of, endless, said
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.arguments import CPU_BLOCK
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.types import GenerationParams

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def recording(vllm_engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch) -> Recording:
    recording = Recording(vllm_engine.transport)
    monkeypatch.setattr(vllm_engine, "transport", recording)
    return recording


def whole_blocks(tokens: int) -> int:
    return tokens // CPU_BLOCK * CPU_BLOCK


def test_a_fold_reads_the_memory_before_it_from_the_cache(
    reference: TorchEngine, vllm_engine: VLLMEngine, recording: Recording
) -> None:
    from tests.vllm.metrics import more_prefix_hits, prefix_hits

    before = prefix_hits(recording.inner)
    context = context_of(reference, 12, salt="fold", full=True)
    with endless(vllm_engine):
        answer = said(vllm_engine, context, GenerationParams(max_tokens=90))
    assert answer.folded
    base = recording.lengths[0] - len(vllm_engine.processor.tokenizer.encode(context.tail))
    assert recording.cached[0] == 0
    assert all((hit or 0) >= whole_blocks(base) > 0 for hit in recording.cached[1:])
    found = sum(hit or 0 for hit in recording.cached)
    assert more_prefix_hits(recording.inner, before, found) == found


def test_the_next_turn_reads_the_memory_from_the_cache(
    reference: TorchEngine, vllm_engine: VLLMEngine, recording: Recording
) -> None:
    context = context_of(reference, 12, salt="turn")
    said(vllm_engine, context, GenerationParams(max_tokens=4))
    later = replace(context, tail=" Much later he asked whether")
    said(vllm_engine, later, GenerationParams(max_tokens=4))
    base = recording.lengths[1] - len(vllm_engine.processor.tokenizer.encode(later.tail))
    assert recording.cached == [0, whole_blocks(base)]


def test_two_salts_share_nothing_and_say_the_same(
    reference: TorchEngine, vllm_engine: VLLMEngine, recording: Recording
) -> None:
    params = GenerationParams(max_tokens=8)
    one, again, other = (
        said(vllm_engine, context_of(reference, 12, salt=salt), params)
        for salt in ("tenant-1", "tenant-1", "tenant-2")
    )
    assert one.text == again.text == other.text
    assert recording.cached[0] == recording.cached[2] == 0
    assert (recording.cached[1] or 0) > 0


def test_a_memory_of_the_same_length_is_another_one(
    reference: TorchEngine, vllm_engine: VLLMEngine, recording: Recording
) -> None:
    params = GenerationParams(max_tokens=4)
    said(vllm_engine, context_of(reference, 12, salt="x"), params)
    said(vllm_engine, context_of(reference, 12, salt="x", first=50), params)
    assert recording.cached == [0, 0]


def test_what_is_forgotten_is_found_by_nobody(
    reference: TorchEngine, vllm_engine: VLLMEngine, recording: Recording
) -> None:
    context, params = context_of(reference, 12, salt="gone"), GenerationParams(max_tokens=4)
    said(vllm_engine, replace(context, owner="a"), params)
    said(vllm_engine, replace(context, owner="b"), params)
    vllm_engine.forget("a")
    answers = [said(vllm_engine, replace(context, owner="b"), params).text for _ in range(2)]
    assert recording.cached[0] == recording.cached[2] == 0
    assert (recording.cached[1] or 0) > 0
    assert (recording.cached[3] or 0) > 0
    assert answers[0] == answers[1]
