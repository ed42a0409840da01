"""Perplexity with visual history equals what one training-style pass and a plain pass give."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.support.checkpoints import small_model
from tests.support.tokenizers import PROSE, token_ids
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.masks import additive
from vist2_memory.training.batches import Block, Sample, collate
from vist2_memory.training.evaluate import evaluate_perplexity
from vist2_memory.training.evaluate.perplexity import losses
from vist2_memory.training.evaluate.text_model import TextModel
from vist2_memory.training.export import save_language_model
from vist2_memory.training.forms import Sketches

pytest_plugins = ("tests.support.fixtures",)


@pytest.fixture
def reader(checkpoint: Path) -> TorchEngine:
    return TorchEngine(checkpoint, device="cpu")


def test_losses_equal_a_plain_pass_over_the_tokens(reader: TorchEngine) -> None:
    model = TextModel.inside(reader)
    ids = token_ids(PROSE)
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([ids])).logits[0]
    expected = F.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    torch.testing.assert_close(losses(model.model, model.embed([]), ids), expected)
    after = losses(model.model, model.embed(ids[:10]), ids[10:])
    torch.testing.assert_close(after, expected[10:], rtol=1e-4, atol=1e-4)


def test_visual_perplexity_equals_one_training_pass(reader: TorchEngine, tmp_path: Path) -> None:
    chunks = list(reader.chunker.cut(PROSE))[:4]
    text = "".join(chunk.text for chunk in chunks)
    (tmp_path / "a.txt").write_text(text)
    figures = evaluate_perplexity(reader, tmp_path / "a.txt", history=24, passages=1)

    texts = [chunk.text for chunk in chunks]
    blocks = [Block(i, token_ids(texts[i]), [1.0] * chunks[i].tokens) for i in range(4)]
    sample = Sample(texts[:3], blocks)
    visual_id = reader.model.config.visual_token_id
    batch = collate([sample], Sketches(reader.processor.renderer), visual_id, 9)
    visual = reader.encode(chunks[:3])
    with torch.no_grad():
        logits = reader.model(
            input_ids=batch.input_ids,
            visual_tokens=torch.cat([torch.from_numpy(v.values) for v in visual]),
            attention_mask=additive(batch.allowed, torch.float32),
            position_ids=batch.position_ids,
        ).logits[0]
    every = F.cross_entropy(logits[batch.queries], batch.targets, reduction="none")
    nats = every[-(chunks[3].tokens - 1) :].mean().item()
    assert figures["nats_per_token"]["visual"] == pytest.approx(nats, rel=1e-4)
    assert figures["visual"] == pytest.approx(math.exp(nats), rel=1e-3)
    alone = every[: chunks[0].tokens - 1]  # the block before any memory, with another text
    expected = losses(
        reader.model.language_model, TextModel.inside(reader).embed([]), token_ids(texts[0])
    )
    torch.testing.assert_close(alone, expected, rtol=1e-3, atol=1e-3)
    assert figures["tokens"] == chunks[3].tokens - 1
    assert figures["history_text_tokens"] == sum(chunk.tokens for chunk in chunks[:3])


def test_truncated_history_is_the_newest_text_in_as_many_tokens(
    reader: TorchEngine, tmp_path: Path
) -> None:
    chunks = list(reader.chunker.cut(PROSE))[:4]
    (tmp_path / "a.txt").write_text("".join(chunk.text for chunk in chunks))
    figures = evaluate_perplexity(reader, tmp_path / "a.txt", history=24, passages=1)
    past = [token for chunk in chunks[:3] for token in token_ids(chunk.text)]
    kept = past[-sum(map(len, reader.encode(chunks[:3]))) :]
    ids = token_ids(chunks[3].text)
    with torch.no_grad():
        logits = reader.model.language_model(input_ids=torch.tensor([kept + ids])).logits[0]
    expected = F.cross_entropy(logits[len(kept) : -1], torch.tensor(ids[1:]))
    assert figures["nats_per_token"]["truncated"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_twin_reads_all_of_it_and_what_was_not_trained_is_none(
    reader: TorchEngine, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(PROSE * 2)
    save_language_model(small_model(seed=5), tmp_path / "twin")
    figures = evaluate_perplexity(
        reader, tmp_path / "a.txt", history=40, passages=3, twin=tmp_path / "twin"
    )
    for way in ("visual", "truncated", "without_history", "text_twin", "text_twin_truncated"):
        low, high = figures["intervals95"][way]
        assert 1 < low <= figures[way] <= high
        assert figures["bits_per_character"][way] > 0
    assert figures["text_twin"] != figures["text_twin_truncated"]
    for way in ("mean_pooled", "convolution"):
        assert figures[way] is None
        assert (
            f"trained by vist2 train --memory {way.replace('_', '-')}"
            in (figures["not_measured"][way])
        )
    json.dumps(figures)


def test_what_cannot_be_read_is_refused(reader: TorchEngine, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PROSE * 60)
    with pytest.raises(InvalidInputError, match="reads 1024: ask for a shorter"):
        evaluate_perplexity(reader, tmp_path / "a.txt", history=4000, passages=1)
    with pytest.raises(InvalidInputError, match="too short"):
        evaluate_perplexity(reader, tmp_path / "a.txt", history=90_000, passages=1)
