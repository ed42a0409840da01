"""Generating with folds against one training-style pass, and proof that old text is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.checkpoints import small_model
from tests.support.engines import CountingEngine, Script
from tests.support.tokenizers import token_ids
from vist2_memory.model.masks import (
    PINNED,
    Segment,
    additive,
    attention_allowed,
    lay_out,
    pad_layouts,
)
from vist2_memory.text.transcript import MARKS
from vist2_memory.training.batches import Block, Sample, collate
from vist2_memory.training.forms import Sketches
from vist2_memory.types import Chunk, ChunkFolded, Context, GenerationParams, VisualTokens

pytest_plugins = ("tests.support.fixtures",)

MEMORY = ["My cat is called Miso. ", "Anna's brother keeps bees; "]
ANSWER = "Your cat is called Miso, you told me so. They don't like rain, and it rained for 23 days."
PINS = ["", f"{MARKS['system']}Be kind."]


@dataclass
class Run:
    """What the engine did: its logits at each choice, and the layout that it went through."""

    logits: list[Tensor]
    folded: list[ChunkFolded]
    blocks: list[list[int]]
    """The text that stood in the cache after each fold."""
    choices: list[tuple[int, int]]
    """For each choice of a token: the block, and how many of its tokens were there."""


def run(engine: CountingEngine, script: Script, context: Context, answer: Sequence[int]) -> Run:
    script.say(answer)
    params = GenerationParams(max_tokens=len(answer))
    folded = [e for e in engine.generate(context, params) if isinstance(e, ChunkFolded)]
    recent = token_ids(context.tail)
    blocks, choices = [recent], [(0, len(recent))]
    for token in answer:
        recent = [*recent, token]
        blocks[-1] = recent
        if len(recent) >= engine.spec.tail_limit:
            recent = recent[engine.spec.chunk_tokens :]
            blocks.append(recent)
        choices.append((len(blocks) - 1, len(recent)))
    return Run(script.logits, folded, blocks, choices[: len(answer)])


def in_one_pass(
    engine: CountingEngine, context: Context, run: Run, memory: Sequence[str]
) -> list[Tensor]:
    """The logits at the same choices, from the layout that training uses."""
    visual = [*context.visual, *(event.visual for event in run.folded)]
    old = len(context.visual)
    sample = Sample(
        chunks=[*memory, *(event.chunk.text for event in run.folded)],
        blocks=[Block(old + i, ids, [0.0] * len(ids)) for i, ids in enumerate(run.blocks) if ids],
        pinned=token_ids(context.pinned),
    )
    sample.blocks[0].weights[1] = 1.0  # type: ignore[index]  # a batch without a target is none
    batch = collate(
        [sample], Sketches(engine.processor.renderer), engine.model.config.visual_token_id, 9
    )
    with torch.no_grad():
        out = engine.model(
            input_ids=batch.input_ids,
            visual_tokens=torch.cat([torch.from_numpy(v.values) for v in visual]),
            attention_mask=additive(batch.allowed, torch.float32),
            position_ids=batch.position_ids,
        ).logits[0]
    ends = [len(sample.pinned)]  # where the visual tokens of each chunk end, then each block begins
    for tokens in visual:
        ends.append(ends[-1] + len(tokens))
    starts = [ends[-1]]
    for ids in run.blocks:
        starts.append(starts[-1] + len(ids))
    return [
        out[starts[block] + there - 1] if there else out[ends[old + block] - 1]
        for block, there in run.choices
    ]


@pytest.mark.parametrize("pinned", PINS, ids=["nothing pinned", "pinned"])
@pytest.mark.parametrize("keep", [0, 1, 2])
def test_token_by_token_with_folds_equals_one_training_pass(
    checkpoint: Path, script: Script, keep: int, pinned: str
) -> None:
    engine = CountingEngine(checkpoint, keep_recent_chunks=keep)
    visual = engine.encode([Chunk(text, text, 8) for text in MEMORY])
    tail = f"{MARKS['user']}Who?{MARKS['assistant']}"
    context = Context(pinned, tuple(visual), tail)
    answer = token_ids(ANSWER + " " + ANSWER)
    ran = run(engine, script, context, answer)
    assert len(ran.folded) >= 5
    expected = in_one_pass(engine, context, ran, MEMORY)
    assert len(ran.logits) == len(expected) == len(answer)
    for step, (ours, one_pass) in enumerate(zip(ran.logits, expected, strict=True)):
        torch.testing.assert_close(ours, one_pass, rtol=1e-3, atol=1e-3, msg=f"at token {step}")
    assert min(float(logits.std()) for logits in expected) > 0.1


def test_without_any_memory_the_first_folds_equal_one_training_pass(
    checkpoint: Path, script: Script
) -> None:
    engine = CountingEngine(checkpoint)
    context = Context("", (), f"{MARKS['user']}Who?{MARKS['assistant']}")
    ran = run(engine, script, context, token_ids(ANSWER))
    for ours, expected in zip(ran.logits, in_one_pass(engine, context, ran, []), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


class Frozen(CountingEngine):
    """Every chunk has the same visual tokens, whatever it says."""

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        same = super().encode([Chunk("same", "same for all", 8)])[0].values
        return [VisualTokens(c.id, same, self.spec.fingerprint, c.tokens) for c in chunks]


@pytest.mark.parametrize("keep", [0, 1])
def test_once_folded_the_old_text_changes_no_later_logit_by_a_single_bit(
    checkpoint: Path, script: Script, keep: int
) -> None:
    engine = Frozen(checkpoint, keep_recent_chunks=keep)
    answers = [token_ids(ANSWER), token_ids(ANSWER)]
    answers[1][2] = token_ids("bees")[0]  # lies in the first chunk to be folded
    assert answers[0][2] != answers[1][2]
    runs = []
    for answer in answers:
        script.logits = []
        runs.append(run(engine, script, Context("", (), MARKS["assistant"]), answer))
    # The first choice after the fold that took the changed token away:
    gone = next(step for step, (block, _) in enumerate(runs[0].choices) if block == 1)
    same = [torch.equal(a, b) for a, b in zip(runs[0].logits, runs[1].logits, strict=True)]
    if keep == 0:
        assert same == [True] * 3 + [False] * (gone - 3) + [True] * (len(same) - gone)
    else:
        assert same[:3] == [True] * 3
        assert not any(same[3:gone])
        assert all(same[gone:])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_in_training_a_token_of_a_folded_chunk_changes_no_later_logit_by_a_single_bit(
    attention: str,
) -> None:
    model = small_model()
    model.set_attn_implementation(attention)
    segments = [
        Segment(PINNED, 3),
        Segment(0, 8),
        Segment(0, 4, visual=True),
        Segment(1, 8),
        Segment(1, 4, visual=True),
        Segment(2, 6),
    ]
    layout = pad_layouts([lay_out(segments)])
    mask = additive(attention_allowed(layout), torch.float32)
    torch.manual_seed(0)
    visual = torch.rand(8, 32) * 2 - 1
    ids = torch.randint(20, 390, layout.visual.shape)
    ids[layout.visual.bool()] = model.config.visual_token_id

    def logits(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return model(
                input_ids=ids,
                visual_tokens=visual,
                attention_mask=mask,
                position_ids=layout.position_ids,
            ).logits[0]

    before, changed = logits(ids), ids.clone()
    changed[0, 5] = (ids[0, 5] + 1 - 20) % 370 + 20  # the third token of the first chunk's text
    same = (logits(changed) == before).all(dim=-1).tolist()
    assert same == [True] * 5 + [False] * 6 + [True] * (len(same) - 11)
