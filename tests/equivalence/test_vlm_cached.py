"""Cached visual tokens against page images: each family's own processor and forward decide.

What a memory feeds to the model came out of a real Redis, written by one memory and read by
another; the reference sees the same pages as images. Both are rounded as the store rounds, then
compared to float tolerance; without that rounding, to what bfloat16 leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
import torch

from tests.support.vlm import Recorder, Reference, SmallVLM, after_fold, rounded
from tests.support.vlm_families import SAMPLES
from vist2_memory import VisualMemory
from vist2_memory.engine.decoding import AnswerText
from vist2_memory.types import ChunkFolded, Context, Finished, GenerationParams

pytest_plugins = ("tests.support.vlm_fixtures",)
# Where the reference's own code meets numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FAMILIES = sorted(SAMPLES)
ONE = GenerationParams(max_tokens=1)
SAID = [
    "My cat is called Miso, chip 900-118-4432.",
    "Yes, I see: they don't like rain.",
    "We leave for Lisbon on the 14th of March.",
    "Do not forget the tickets!",
]
QUESTION = "What is my cat called?"


def remembered(engine: SmallVLM, url: str, messages: int) -> Context:
    """What the engine was asked by a memory that read all visual tokens from the store."""
    namespace = uuid4().hex
    with VisualMemory.open(url, model=engine, namespace=namespace) as memory:
        session = memory.session("talk")
        session.add("system", "Be kind.")
        for number, text in enumerate(SAID[:messages]):
            session.add("user" if number % 2 == 0 else "assistant", text)
        session.add("user", QUESTION, turn="last")
    engine.encoded.clear()
    with VisualMemory.open(url, model=engine, namespace=namespace) as memory:
        answer = memory.session("talk").ask(QUESTION, params=ONE, turn="last")
    assert engine.encoded == []
    assert answer.usage.cached_visual_tokens == answer.usage.visual_tokens > 0
    return engine.contexts[-1]


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("messages", [1, 4])
def test_logits_from_stored_tokens_equal_those_from_page_images(
    vlm: Callable[[str], SmallVLM], redis_url: str, kind: str, messages: int
) -> None:
    engine = vlm(kind)
    context = remembered(engine, redis_url, messages)
    assert len(context.visual) == messages
    found = engine.logits(context)
    reference = Reference(engine)
    with rounded(reference.model):
        torch.testing.assert_close(found, reference.logits(context)[0], atol=2e-5, rtol=1e-5)
    exact = reference.logits(context)[0]
    assert float((found - exact).abs().max()) < 0.05 * float(exact.std())


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_batch_of_contexts_is_read_as_the_family_reads_it(
    vlm: Callable[[str], SmallVLM], redis_url: str, kind: str
) -> None:
    """Contexts of different length: the family pads them on the left, the engine never pads."""
    engine = vlm(kind)
    contexts = [remembered(engine, redis_url, messages) for messages in (1, 3, 4)]
    reference = Reference(engine)
    with rounded(reference.model):
        batch = reference.logits(*contexts)
    for context, expected in zip(contexts, batch, strict=True):
        torch.testing.assert_close(engine.logits(context), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_fold_leaves_what_the_family_reads_of_one_page_more(
    vlm: Callable[[str], SmallVLM],
    redis_url: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = vlm(kind)
    context = remembered(engine, redis_url, 3)
    said = "Your cat is called Miso, you told me so. They don't like rain. It rained for 23 days."
    ids = engine.tokenizer.encode(said)
    recorder = Recorder(ids)
    monkeypatch.setattr("vist2_memory.engine.vlm.engine.Picker", recorder)
    events = list(engine.generate(context, GenerationParams(max_tokens=len(ids))))
    folds = [event for event in events if isinstance(event, ChunkFolded)]
    assert len(folds) >= 2
    reference = Reference(engine)
    recent, unwritten = engine.chunker.count(context.tail), b""
    for token, chosen_from in zip(ids, recorder.logits[1:], strict=False):
        recent, unwritten = recent + 1, unwritten + engine.tokenizer.bytes_of(token)
        if recent >= engine.spec.tail_limit:
            fold = folds.pop(0)
            context = after_fold(context, fold.chunk, fold.visual, unwritten.decode())
            recent, unwritten = engine.chunker.count(context.tail), b""
            with rounded(reference.model):
                expected = reference.logits(context)[0]
            torch.testing.assert_close(chosen_from, expected, atol=1e-4, rtol=1e-4)
    assert not folds


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_greedy_answer_is_the_one_that_generate_gives(
    vlm: Callable[[str], SmallVLM], redis_url: str, kind: str
) -> None:
    engine = vlm(kind)
    context = remembered(engine, redis_url, 4)
    *_, last = engine.generate(context, GenerationParams(max_tokens=12))
    assert isinstance(last, Finished)
    reference = Reference(engine)
    with rounded(reference.model):
        ids = reference.generate(context, 12, engine._never.tolist())
    text = AnswerText(engine.tokenizer)
    for token in ids:
        if token not in engine._stop_ids:
            text.push(token)
    text.flush()
    assert last.text == text.text
    assert last.usage.folds == 0
