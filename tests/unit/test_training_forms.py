"""Forms of memory that draw nothing: their vectors, and training with them."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import Qwen3ForCausalLM

from tests.support.checkpoints import save_small, small_config, small_model
from tests.support.tokenizers import PROSE, small_tokenizer
from tests.support.trainers import small_materials, small_trainer
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.training.arms import DESCRIPTION, WEIGHTS, is_arm, load_form, save_arm
from vist2_memory.training.batches import Block, Sample, collate
from vist2_memory.training.checkpoints import CheckpointError
from vist2_memory.training.forms import (
    MEMORIES,
    Convolution,
    MeanPooled,
    Sketches,
    Tokens,
    lay_windows,
    make_form,
)
from vist2_memory.training.run import _begin_from
from vist2_memory.training.stages import RECIPES, Stage
from vist2_memory.training.student import Student
from vist2_memory.training.tasks import TASKS

TOKENIZER = small_tokenizer()
PROCESSOR = Vist2Processor(small_config(), TOKENIZER)
RENDERER = PROCESSOR.renderer
TABLE = torch.randn(len(TOKENIZER), 32, generator=torch.Generator().manual_seed(0))
TEXTS = [*(chunk.text for chunk in PROCESSOR.chunker.cut(PROSE)), "7:45 723,9", "Hm."]
UNDRAWN = [name for name in MEMORIES if name != "visual"]


def vectors(form: Tokens, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return form(**form.inputs(texts), table=TABLE)


def embeds(text: str) -> torch.Tensor:
    return TABLE[torch.tensor(TOKENIZER.encode(text))]


def test_a_chunk_becomes_as_many_vectors_as_its_sketch_unless_it_has_fewer_tokens() -> None:
    drawn, written = Sketches(RENDERER), Tokens(RENDERER, TOKENIZER)
    for form in (MeanPooled(RENDERER, TOKENIZER), Convolution(RENDERER, TOKENIZER, 32)):
        for text in TEXTS:
            expected = min(drawn.length(text), written.length(text))
            assert form.length(text) == len(vectors(form, [text])) == expected
        assert len(vectors(form, TEXTS)) == sum(map(form.length, TEXTS))
    long = "The old harbour lay quiet in the grey morning, and nobody spoke."
    assert MeanPooled(RENDERER, TOKENIZER).length(long) == RENDERER.visual_tokens(long) == 16


def test_text_is_its_tokens() -> None:
    form = Tokens(RENDERER, TOKENIZER)
    torch.testing.assert_close(vectors(form, TEXTS), torch.cat(list(map(embeds, TEXTS))))


def test_pooled_vectors_are_the_means_of_equal_runs() -> None:
    form = MeanPooled(RENDERER, TOKENIZER)
    found = iter(vectors(form, TEXTS))
    for text in TEXTS:
        tokens, count = embeds(text), form.length(text)
        bounds = [i * len(tokens) // count for i in range(count + 1)]
        for start, end in pairwise(bounds):
            torch.testing.assert_close(next(found), tokens[start:end].mean(0))
    assert next(found, None) is None


def test_windows_are_those_of_a_strided_convolution_where_they_divide() -> None:
    """12 runs in strides of 3, a kernel of 5."""
    layer = torch.nn.Conv1d(8, 4, kernel_size=5, stride=3, padding=1)
    runs = torch.randn(12, 8)
    expected = layer(runs.T[None])[0].T  # (vectors, 4)
    windows = lay_windows(12, 4, 5, 0)
    gathered = torch.cat([runs, torch.zeros(1, 8)])[windows]  # (vectors, kernel, 8)
    flat = layer.weight.transpose(1, 2).reshape(4, -1)
    torch.testing.assert_close(F.linear(gathered.flatten(1), flat, layer.bias), expected)


@pytest.mark.parametrize(("runs", "count"), [(64, 13), (17, 4), (5, 5), (1, 1), (9, 1), (36, 4)])
def test_windows_leave_no_run_out_and_stay_inside_the_chunk(runs: int, count: int) -> None:
    kernel = 11
    windows = lay_windows(runs, count, kernel, 100)
    inside = windows[windows >= 0]
    assert windows.shape == (count, kernel)
    assert set(inside.tolist()) == set(range(100, 100 + runs))
    assert (windows == -1).sum() == count * kernel - len(inside)


def test_a_convolution_reads_every_token_of_its_own_chunk_only() -> None:
    form = Convolution(RENDERER, TOKENIZER, 32)
    texts = ["1234567890123456", "Anna's brother"]
    inputs = form.inputs(texts)
    table = TABLE.clone().requires_grad_()
    form(**inputs, table=table)[: form.length(texts[0])].sum().backward()
    assert table.grad is not None
    read = {i for i, row in enumerate(table.grad) if row.any()}
    assert read == set(TOKENIZER.encode(texts[0]))
    assert form.aligner.weight.shape == (32, form.kernel * 32)
    assert form.kernel > form.longest_stride >= 2


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'sounds'; there are: visual, text"):
        make_form("sounds", RENDERER, TOKENIZER, 32)


def test_the_twin_computes_what_an_ordinary_qwen3_does_over_the_same_tokens(tmp_path: Path) -> None:
    """A block after all chunks sees everything before it, so the mask is an ordinary one."""
    student = Student(small_model(), TOKENIZER, memory="text")
    pinned, ids = TOKENIZER.encode("Be kind. "), TOKENIZER.encode("Don't forget the tickets!")
    sample = Sample(TEXTS[:3], [Block(3, ids, [1.0] * len(ids))], pinned)
    config = student.model.config
    batch = collate([sample], student.form(student.renderer), config.visual_token_id, 9)
    with torch.no_grad():
        loss = student(batch, student.spelled())["text"]
    save_arm(student, TOKENIZER, tmp_path)
    tokens = [*pinned, *(t for text in TEXTS[:3] for t in TOKENIZER.encode(text)), *ids]
    assert batch.position_ids[0].tolist() == list(range(len(tokens)))
    twin = Qwen3ForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        logits = twin(input_ids=torch.tensor([tokens])).logits[0, -len(ids) : -1]
    expected = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.02)  # saved in bfloat16


STAGE = Stage("mixed", {"read": 1, "recite": 1}, 3, (1, 2), 1e-3, tokens=60)


@pytest.mark.parametrize("memory", UNDRAWN)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, memory: str) -> None:
    whole = small_trainer(tmp_path / "whole", memory=memory)
    start = {name: value.clone() for name, value in whole.student.named_parameters()}
    whole.run((STAGE,))
    assert all(not torch.equal(v, start[n]) for n, v in whole.student.named_parameters()
               if "embed_tokens" not in n)  # fmt: skip
    broken = small_trainer(tmp_path / "broken", memory=memory)
    broken.stage_name = "mixed"
    for _ in broken.steps(STAGE):
        if broken.step == 2:
            broken.save()
            break
    again = small_trainer(tmp_path / "broken", seed=99, memory=memory)
    again.run((STAGE,))
    expected = whole.student.state_dict()
    assert again.student.state_dict().keys() == expected.keys()
    for name, value in again.student.state_dict().items():
        assert torch.equal(value, expected[name]), name
    with pytest.raises(CheckpointError, match=f"--memory {memory}, this one has visual"):
        small_trainer(tmp_path / "broken").resume()


def test_every_form_is_trained_on_the_same_samples_from_the_same_language_model(
    tmp_path: Path,
) -> None:
    stage = Stage("mixed", {"read": 1, "recall": 1}, 1, (1, 3), 1e-3, tokens=200)
    targets, weights = [], []
    for memory in MEMORIES:
        trainer = small_trainer(tmp_path / memory, memory=memory)
        drawn = [batch for batches in trainer.drawer.draw(stage, 0).values() for batch in batches]
        targets.append(sorted(torch.cat([batch.targets for batch in drawn]).tolist()))
        weights.append(trainer.student.spelled().sum().item())
        chunks = sum(batch.chunks for batch in drawn)
    assert all(each == targets[0] for each in targets)
    assert all(each == weights[0] for each in weights)
    assert chunks > 1


def test_stages_without_anything_to_train_are_told_apart() -> None:
    trains = {
        memory: [Student(small_model(), TOKENIZER, memory=memory).trains(stage.parts)
                 for stage in RECIPES["paper"]]
        for memory in MEMORIES
    }  # fmt: skip
    assert trains["visual"] == trains["convolution"] == [True] * 4
    assert trains["text"] == trains["mean-pooled"] == [False, True, True, True]


@pytest.mark.parametrize("memory", UNDRAWN)
def test_an_arm_is_saved_and_its_form_comes_back(tmp_path: Path, memory: str) -> None:
    student = Student(small_model(), TOKENIZER, memory=memory)
    assert student.tokens is not None
    save_arm(student, TOKENIZER, tmp_path)
    assert is_arm(tmp_path)
    config, form = load_form(tmp_path, TOKENIZER)
    assert config.sketch_geometry == small_config().sketch_geometry
    assert form.name == memory
    torch.testing.assert_close(
        vectors(form, TEXTS), vectors(student.tokens, TEXTS), rtol=0.02, atol=0.02
    )
    sample = TASKS["recite"](small_materials(), random.Random(0), 2)
    assert sample.length(form) == sample.length(student.form(student.renderer))


def test_an_arm_is_a_start_for_itself_and_for_another_form(tmp_path: Path) -> None:
    student = Student(small_model(seed=4), TOKENIZER, memory="convolution")
    save_arm(student, TOKENIZER, tmp_path)
    model, _, form = _begin_from(tmp_path)
    assert form is not None
    torch.testing.assert_close(form.state_dict(), student.tokens.state_dict(), rtol=0.01, atol=0.01)
    ids = torch.tensor([TOKENIZER.encode("My cat is called Miso.")])
    expected = Qwen3ForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, expected(input_ids=ids).logits)
    assert Student(model, TOKENIZER, memory="visual").trains({"vision"})
    save_small(tmp_path / "visual")
    assert _begin_from(tmp_path / "visual")[2] is None


def test_what_is_no_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no memory\.json"):
        load_form(tmp_path, TOKENIZER)
    save_arm(Student(small_model(), TOKENIZER, memory="convolution"), TOKENIZER, tmp_path)
    described = (tmp_path / DESCRIPTION).read_text()
    (tmp_path / DESCRIPTION).write_text(described.replace("convolution", "sounds"))
    with pytest.raises(ModelError, match="'sounds'"):
        load_form(tmp_path, TOKENIZER)
    (tmp_path / DESCRIPTION).write_text(described.replace('"convolution"', '"visual"'))
    with pytest.raises(ModelError, match="visual model"):
        load_form(tmp_path, TOKENIZER)
    (tmp_path / DESCRIPTION).write_text(described)
    (tmp_path / WEIGHTS).write_bytes(b"half of a file")
    with pytest.raises(ModelError, match="does not fit"):
        load_form(tmp_path, TOKENIZER)
