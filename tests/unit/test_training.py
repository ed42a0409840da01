"""Training on a small random model: what is supervised, that a run goes on, that it learns."""

from __future__ import annotations

import json
import lzma
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Qwen3ForCausalLM

from tests.support.checkpoints import small_config, small_model
from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.text.transcript import MARKS, READ
from vist2_memory.training.batches import Batch, Block, Sample, collate, group
from vist2_memory.training.checkpoints import CheckpointError
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.training.dialogues import Dialogue
from vist2_memory.training.evaluate import distance, evaluate_readback, evaluate_recall
from vist2_memory.training.export import save_checkpoint, save_language_model
from vist2_memory.training.forms import Sketches
from vist2_memory.training.materials import Materials
from vist2_memory.training.spelling import SpelledEmbedding
from vist2_memory.training.stages import RECIPES, Stage
from vist2_memory.training.tasks import TASKS
from vist2_memory.training.trainer import DivergedError, Student, Trainer

TOKENIZER = small_tokenizer()
TALK = Passages(["Shall we meet at noon?\nYes, at the station.\nBring the map, please.\n" * 9])


def materials() -> Materials:
    processor = Vist2Processor(small_config(), TOKENIZER)
    prose = Passages([PROSE * 6])
    turns = (("user", "A table at Cabalen for 6 pm."), ("assistant", "Their number is 650-588."))
    slots = {"restaurant_name": [(0, "Cabalen")], "phone_number": [(1, "650-588")]}
    talks = [Dialogue(turns, slots)]
    return Materials(prose, TALK, TOKENIZER, processor.chunker, processor.renderer.atlas, talks)


def trainer(folder: Path, seed: int = 3) -> Trainer:
    torch.manual_seed(seed)
    return Trainer(Student(small_model(), TOKENIZER), [materials()], folder, seed)


def as_batch(samples: list[Sample]) -> Batch:
    config = small_config()
    renderer = Vist2Processor(config, TOKENIZER).renderer
    pad = config.get_text_config().pad_token_id
    return collate(samples, Sketches(renderer), config.visual_token_id, pad)


def test_each_weighted_token_is_predicted_from_the_place_before_it() -> None:
    ids = TOKENIZER.encode("the cat is called Miso")
    blocks = [Block(1, ids, [0.0] * 2 + [1.0] * (len(ids) - 2)), Block(0, ids[:3], [1.0] * 3)]
    batch = as_batch([Sample(["Anna"], []), Sample(["the night"], blocks)])
    row = batch.input_ids[1].tolist()
    flat = batch.input_ids.reshape(-1)
    assert batch.targets.tolist() == [*ids[2:], *ids[1:3]]
    assert flat[batch.queries + 1].tolist() == batch.targets.tolist()
    assert flat[batch.queries].tolist() == [*ids[1:-1], *ids[:2]]
    assert row.count(small_config().visual_token_id) == int(batch.patch_mask[1].sum()) // 2


def test_a_block_never_predicts_its_first_token_from_what_stands_before_the_block() -> None:
    ids = TOKENIZER.encode("Don't forget")
    batch = as_batch([Sample(["Anna"], [Block(1, ids, [1.0] * len(ids))])])
    assert batch.targets.tolist() == ids[1:]


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("chunks", [1, 3])
def test_every_task_makes_samples_whose_chunks_fit_and_that_ask_for_something(
    task: str, chunks: int
) -> None:
    given = materials()
    for seed in range(5):
        sample = TASKS[task](given, random.Random(seed), chunks)
        assert sample.blocks
        assert all(given.chunker.fits(text) for text in sample.chunks)
        assert all(len(block.ids) == len(block.weights) for block in sample.blocks)
        assert any(weight for block in sample.blocks for weight in block.weights[1:])
        assert all(0 <= block.after <= len(sample.chunks) for block in sample.blocks)


def test_recall_supervises_answers_and_the_mark_that_ends_them() -> None:
    sample = TASKS["recall"](materials(), random.Random(1), 3)
    marks = {TOKENIZER.id(MARKS["user"]), TOKENIZER.id(MARKS["assistant"])}
    for block in sample.blocks:
        wanted = [i for i, weight in enumerate(block.weights) if weight]
        assert block.ids[-1] == TOKENIZER.id(MARKS["user"])
        assert wanted[-1] == len(block.ids) - 1
        begins = [i for i in wanted if i - 1 not in wanted]
        assert all(block.ids[i - 1] == TOKENIZER.id(MARKS["assistant"]) for i in begins)
        assert sum(block.ids[i] in marks for i in wanted) == len(begins)


def test_groups_hold_samples_of_like_length_and_lose_none() -> None:
    form = Sketches(Vist2Processor(small_config(), TOKENIZER).renderer)
    samples = [Sample([], [Block(0, [1] * n, [1.0] * n)]) for n in (50, 5, 48, 6, 200, 5)]
    groups = list(group(samples, 110, form))
    lengths = [[sample.length(form) for sample in some] for some in groups]
    assert lengths == [[5, 5, 6], [48, 50], [200]]


def test_without_dialogues_their_task_says_so() -> None:
    with pytest.raises(InvalidInputError, match="needs dialogues"):
        TASKS["recall_dialogues"](replace(materials(), talks=()), random.Random(1), 2)


def test_read_supervises_the_text_of_the_chunk() -> None:
    sample = TASKS["read"](materials(), random.Random(1), 1)
    (block,) = sample.blocks
    assert TOKENIZER.decode(block.ids[:-1]) == READ + sample.chunks[0]


def test_spelled_embeddings_take_over_a_table_and_explain_it_by_letters() -> None:
    spelled = SpelledEmbedding(["ab", "ac", "bc", "bb"], hidden_size=8)
    table = SpelledEmbedding(["ab", "ac", "bc", "bb"], hidden_size=8, std=1.0)()
    spelled.become(table)
    torch.testing.assert_close(spelled(), table, rtol=1e-5, atol=1e-5)
    assert spelled.free.square().sum() < table.square().sum()


def test_spelled_embeddings_add_up_and_tell_tokens_of_other_letters_apart() -> None:
    spelled = SpelledEmbedding(["ab", "ac", "ab"], hidden_size=8)
    with torch.no_grad():
        spelled.free.zero_()
        table = spelled()
    assert torch.equal(table[0], table[2])
    assert not torch.equal(table[0], table[1])


def test_the_finished_model_computes_what_the_student_computed(tmp_path: Path) -> None:
    student = Student(small_model(), TOKENIZER)
    ids = torch.tensor([TOKENIZER.encode("My cat is called Miso.")])
    with torch.no_grad():
        table = student.spelled()
        embeds = torch.nn.functional.embedding(ids, table)
        hidden = student.model.language_model.model(inputs_embeds=embeds).last_hidden_state
        logits = student.finish()(input_ids=ids).logits
    torch.testing.assert_close(logits, hidden @ table.T, rtol=1e-4, atol=1e-4)
    save_language_model(student.model, tmp_path)
    alone = Qwen3ForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(alone(input_ids=ids).logits, logits)


STAGES = (
    Stage("read", {"read": 1}, 5, (1, 1), 1e-3, tokens=120),
    Stage("mixed", {"read": 1, "recite": 1, "recall": 1}, 5, (1, 3), 1e-3, tokens=120),
)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run(STAGES)
    broken = trainer(tmp_path / "broken")
    broken.stage_name = "read"
    for _ in broken.steps(STAGES[0]):
        if broken.step == 3:
            broken.save()
            break
    again = trainer(tmp_path / "broken", seed=99)
    again.run(STAGES)
    expected = whole.student.state_dict()
    for name, value in again.student.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.student.spelled.free.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"stage read, step 0.*last good checkpoint"):
        next(run.steps(STAGES[0]))


def test_a_stage_rises_holds_and_falls() -> None:
    stage = Stage("x", {"read": 1}, 100, (1, 1), 1.0, decay=0.2, warmup=10)
    assert stage.rate(0) == pytest.approx(0.1)
    assert stage.rate(50) == pytest.approx(1.0)
    assert 0.1 < stage.rate(90) < 1.0
    assert stage.rate(100) == pytest.approx(0.1)


def test_parts_can_have_rates_of_their_own() -> None:
    stage = Stage("x", {"read": 1}, 100, (1, 1), 1.0, decay=0, warmup=1, rates={"vision": 0.1})
    assert stage.rate(50, "vision") == pytest.approx(0.1)
    assert stage.rate(50, "language") == stage.rate(50, "rest") == pytest.approx(1.0)
    with pytest.raises(ValueError, match="rates"):
        Stage("x", {"read": 1}, 1, (1, 1), 1.0, rates={"tower": 0.1})


def test_every_recipe_names_tasks_that_exist_and_stages_once() -> None:
    for stages in RECIPES.values():
        assert {task for stage in stages for task in stage.tasks} <= set(TASKS)
        assert len({stage.name for stage in stages}) == len(stages)


def test_texts_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    with lzma.open(tmp_path / "b.jsonl.xz", "wt") as file:
        file.write(json.dumps({"text": "packed"}) + "\n")
    (tmp_path / "c.md").write_text("left out")
    files = find_files(tmp_path)
    assert [text for file in files for text in read_texts(file)] == ["plain", "packed"]
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "good"}\n{"title": "no text"}\n')
    with pytest.raises(InvalidInputError, match=r"bad\.jsonl:2"):
        list(read_texts(bad))
    broken = tmp_path / "broken.jsonl.xz"
    broken.write_bytes(b"no xz")
    with pytest.raises(InvalidInputError, match="broken"):
        list(read_texts(broken))


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("abcd", "bcd", 1)],
)
def test_the_edit_distance(a: str, b: str, apart: int) -> None:
    assert distance(a, b) == apart


def test_evaluation_gives_every_figure_that_it_promises(tmp_path: Path) -> None:
    save_checkpoint(small_model(), TOKENIZER, tmp_path / "model")
    engine = TorchEngine(tmp_path / "model", device="cpu")
    (tmp_path / "a.txt").write_text(PROSE * 3)
    readback = evaluate_readback(engine, tmp_path / "a.txt", chunks=2)
    assert {"character_accuracy", "compression_ratio", "characters"} <= readback.keys()
    recall = evaluate_recall(engine, conversations=1, seed=1, history=150)
    promised = "exact_match exact_match_without_memory exact_match_truncated unanswerable_accuracy"
    assert set(promised.split()) <= recall.keys()
    assert {"compression_ratio", "context_ratio", "characters_per_visual_token"} <= recall.keys()
    assert recall["questions"] >= 1
    assert 0 <= recall["exact_match"] <= 1


def test_texts_too_short_for_a_chunk_are_refused(tmp_path: Path) -> None:
    save_checkpoint(small_model(), TOKENIZER, tmp_path / "model")
    (tmp_path / "a.txt").write_text("Hm.")
    engine = TorchEngine(tmp_path / "model", device="cpu")
    with pytest.raises(InvalidInputError, match="too short"):
        evaluate_readback(engine, tmp_path / "a.txt", chunks=2)


def test_a_damaged_checkpoint_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half of a file")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is no checkpoint"):
        trainer(tmp_path).resume()
    torch.save({"step": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not written by this version"):
        trainer(tmp_path).resume()
