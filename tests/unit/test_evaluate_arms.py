"""The text twin and the direct methods, evaluated as they were trained."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.support.arms import save_small_arm
from tests.support.checkpoints import small_config
from tests.support.tokenizers import PROSE, small_tokenizer, token_ids
from vist2_memory.engine.loading import load_language_model
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.model.masks import additive
from vist2_memory.training.arms import load_form
from vist2_memory.training.batches import Block, Sample, collate
from vist2_memory.training.evaluate import (
    evaluate_perplexity,
    evaluate_recall,
    recall,
    text_model,
)
from vist2_memory.training.evaluate.recall import History
from vist2_memory.training.evaluate.text_model import ARMS, TextModel, load_arms
from vist2_memory.training.synthetic import generate

pytest_plugins = ("tests.support.fixtures",)


@pytest.fixture
def reader(checkpoint: Path) -> TorchEngine:
    return TorchEngine(checkpoint, device="cpu")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A folder for each of ``ARMS``."""
    return {name: save_small_arm(tmp_path / name, memory) for name, (memory, _) in ARMS.items()}


@pytest.mark.parametrize("name", list(ARMS))
def test_perplexity_equals_one_training_pass(
    name: str, reader: TorchEngine, folders: dict[str, Path], tmp_path: Path
) -> None:
    """The same positions, the same vectors, the same scored tokens as in a training batch."""
    chunks = list(reader.chunker.cut(PROSE))[:4]
    texts = [chunk.text for chunk in chunks]
    (tmp_path / "a.txt").write_text("".join(texts))
    option = {"text_twin": "twin"}.get(name, name)
    figures = evaluate_perplexity(
        reader, tmp_path / "a.txt", history=24, passages=1, **{option: folders[name]}
    )

    model = load_language_model(folders[name], torch.device("cpu"), torch.float32)
    _, form = load_form(folders[name], small_tokenizer())
    ids = token_ids(texts[3])
    visual_id = small_config().visual_token_id
    batch = collate([Sample(texts[:3], [Block(3, ids, [1.0] * len(ids))])], form, visual_id, 9)
    with torch.no_grad():
        embeds = model.get_input_embeddings()(batch.input_ids)
        table = model.get_input_embeddings().weight
        memory = form(batch.chunk_ids, batch.runs, batch.windows, table)
        places = batch.input_ids == visual_id
        logits = model(
            inputs_embeds=embeds.masked_scatter(places[..., None], memory),
            attention_mask=additive(batch.allowed, torch.float32),
            position_ids=batch.position_ids,
        ).logits[0]
    expected = F.cross_entropy(logits[batch.queries], batch.targets)
    assert figures["nats_per_token"][name] == pytest.approx(expected.item(), rel=1e-4)
    assert figures["tokens"] == len(batch.targets)
    assert figures["arms"] == {name: name}


def test_perplexity_with_every_arm_and_recall_with_every_arm(
    reader: TorchEngine,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (recall, text_model):
        monkeypatch.setattr(module, "ANSWER_TOKENS", 3)
    (tmp_path / "a.txt").write_text(PROSE * 2)
    given = {"twin" if name == "text_twin" else name: folder for name, folder in folders.items()}
    figures = evaluate_perplexity(reader, tmp_path / "a.txt", history=40, passages=3, **given)
    alone = evaluate_perplexity(reader, tmp_path / "a.txt", history=40, passages=3)
    for name in ARMS:
        low, high = figures["intervals95"][name]
        assert 1 < low <= figures[name] <= high
    for name in ("visual", "truncated", "without_history"):
        assert figures[name] == alone[name]
    asked = evaluate_recall(reader, conversations=1, seed=1, history=120, **given)
    for name in ARMS:
        low, high = asked["intervals95"][f"{name}_exact_match"]
        assert 0 <= low <= asked[f"{name}_exact_match"] <= high <= 1
    assert not asked["not_measured"].keys() & {f"{name}_exact_match" for name in ARMS}
    json.dumps([figures, asked])
    bare = evaluate_recall(reader, conversations=1, seed=1, history=120, baselines=False)
    for name, (_, option) in ARMS.items():
        assert bare[f"{name}_exact_match"] is None
        assert f"{option} FOLDER" in bare["not_measured"][f"{name}_exact_match"]


def test_an_arm_is_asked_after_its_vectors_and_the_tail_as_text(
    checkpoint: Path, folders: dict[str, Path]
) -> None:
    engine = TorchEngine(checkpoint, device="cpu", keep_recent_chunks=1)
    past = History(engine, generate(random.Random(1), characters=400, split="heldout"))
    arms = load_arms(engine, **folders)
    tail = engine.chunker.count(past.transcript.tail)
    assert tail
    for name, arm in arms.items():
        memory = arm.prefill(past.transcript.tail, past.chunks)
        expected = past.tokens if name == "text_twin" else past.budget
        assert len(memory) == pytest.approx(expected, abs=2), name  # words cut at a chunk's end
        assert past.remembered_by(arm, past.chunks)("Who?") == arm.answer(memory, "Who?")


def test_an_arm_that_cannot_be_compared_is_refused(
    reader: TorchEngine, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="trained with --memory mean-pooled, convolution is asked"):
        TextModel.load(folders["mean_pooled"], reader, "convolution")
    with pytest.raises(ModelError, match="trained with --memory convolution, text is asked"):
        TextModel.load(folders["convolution"], reader)
    (folders["text_twin"] / "memory.json").unlink()
    assert TextModel.load(folders["text_twin"], reader).form.name == "text"
    with pytest.raises(ModelError, match=r"no memory\.json"):
        TextModel.load(folders["text_twin"], reader, "mean-pooled")
    other = save_small_arm(tmp_path / "other", "mean-pooled", small_config(chunk_tokens=9))
    with pytest.raises(ModelError, match="compared at the same ratio"):
        TextModel.load(other, reader, "mean-pooled")
    config = small_config(max_visual_tokens=32, text={"max_position_embeddings": 40})
    short = save_small_arm(tmp_path / "short", "mean-pooled", config)
    (tmp_path / "a.txt").write_text(PROSE * 9)
    with pytest.raises(InvalidInputError, match="has 40 positions"):
        evaluate_perplexity(reader, tmp_path / "a.txt", history=200, passages=1, mean_pooled=short)
    with pytest.raises(InvalidInputError, match="has 40 positions"):
        evaluate_recall(reader, conversations=1, history=900, mean_pooled=short)
