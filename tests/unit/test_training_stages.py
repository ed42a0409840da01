"""What a stage trains, on models from scratch and on composed ones; adapters; the watched loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import small_config, small_model
from tests.support.pretrained import save_qwen3, save_siglip
from tests.support.tokenizers import PROSE, small_tokenizer
from tests.support.trainers import small_materials, small_trainer
from vist2_memory.engine.loading import load_model
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.compose import Drawing, compose
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.training.data import Passages
from vist2_memory.training.devices import Execution
from vist2_memory.training.drawing import Drawer
from vist2_memory.training.materials import Materials
from vist2_memory.training.metrics import Divergence, MetricsLog
from vist2_memory.training.stages import PARTS, RECIPES, Stage
from vist2_memory.training.student import Student, part_of
from vist2_memory.training.trainer import DivergedError, Trainer

WIDE = SketchGeometry(columns=32, max_lines=8, cells_per_patch=2, patches_per_strip=4)


def stage(trainable: str, optimizer: str = "adamw", steps: int = 2) -> Stage:
    return Stage("s", {"read": 1}, steps, (1, 1), 1e-2, warmup=1, tokens=60, trainable=trainable,
                 optimizer=optimizer, lora_rank=2)  # fmt: skip


def composed_trainer(folder: Path, *, tied: bool) -> Trainer:
    text = save_qwen3(folder / "qwen3", tied=tied)
    vision = save_siglip(folder / "siglip", "naflex")
    compose(text, vision, folder / "model", Drawing(WIDE, chunk_tokens=8))
    model = load_model(folder / "model", torch.device("cpu"), torch.float32)
    tokenizer = Vist2Tokenizer.load(folder / "model")
    processor = Vist2Processor(model.config, tokenizer)
    prose = Passages([PROSE * 6])
    materials = Materials(prose, prose, tokenizer, processor.chunker, processor.renderer.atlas)
    torch.manual_seed(0)
    student = Student(model, tokenizer)
    return Trainer(student, [materials], folder / "run", 0, Execution(cpu=True))


def changed(trainer: Trainer, given: Stage) -> set[str]:
    """The parts of which ``given`` changes a parameter."""
    before = {name: value.clone() for name, value in trainer.student.named_parameters()}
    trainer.stage_name, trainer.step = given.name, 0
    for _ in trainer.steps(given):
        pass
    after = dict(trainer.student.named_parameters())
    return {part_of(n) for n, value in after.items() if not torch.equal(value, before.get(n))}


@pytest.mark.parametrize("tied", [True, False])
def test_a_composed_model_trains_its_own_table_and_its_own_head(tmp_path: Path, tied: bool) -> None:
    trainer = composed_trainer(tmp_path, tied=tied)
    model: Any = trainer.student.model
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert trainer.student.spelled is None
    assert (table is head) == tied
    before = table.detach().clone(), head.detach().clone()
    assert changed(trainer, stage("all")) == {*PARTS, "glyphs"} - {"adapters"}
    assert not torch.equal(table, before[0])
    assert not torch.equal(head, before[1])
    finished: Any = trainer.student.finish()
    assert finished.get_input_embeddings().weight is table


@pytest.mark.parametrize("trainable", ["aligner", "vision+aligner", "language", "embeddings"])
def test_a_stage_changes_what_it_trains_and_nothing_else(tmp_path: Path, trainable: str) -> None:
    trainer = small_trainer(tmp_path)
    assert changed(trainer, stage("all", "muon")) == {*PARTS, "glyphs"} - {"adapters"}
    assert changed(trainer, stage(trainable)) == {*trainable.split("+"), "glyphs"}


def test_spelled_embeddings_are_refused_where_the_head_is_apart(tmp_path: Path) -> None:
    model = small_model(small_config(text={"tie_word_embeddings": False}))
    assert Student(model, small_tokenizer()).spelled is None
    with pytest.raises(InvalidInputError, match="tied head"):
        Student(model, small_tokenizer(), spelled=True)


def test_adapters_are_trained_alone_and_then_merged_into_the_weights(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    names = set(trainer.student.model.state_dict())
    before = trainer.student.model.language_model.model.layers[0].mlp.up_proj.weight.clone()
    for _ in trainer.steps(stage("adapters", steps=3)):
        pass
    assert {part_of(n) for n, p in trainer.student.named_parameters() if p.requires_grad} == {
        "adapters",
        "glyphs",
    }
    embeds = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        adapted = trainer.student.model.language_model.model(inputs_embeds=embeds)
        model = trainer.student.finish()
        merged = model.language_model.model(inputs_embeds=embeds)
    torch.testing.assert_close(merged.last_hidden_state, adapted.last_hidden_state)
    assert set(model.state_dict()) == names, "nothing of the adapters is left"
    assert not torch.equal(model.language_model.model.layers[0].mlp.up_proj.weight, before)


def test_checkpointed_activations_give_the_same_weights(tmp_path: Path) -> None:
    kept = small_trainer(tmp_path / "kept")
    again = small_trainer(tmp_path / "again", execution=Execution(cpu=True, checkpointing=True))
    layer: Any = again.student.model.language_model.model.layers[0]
    assert layer.gradient_checkpointing
    for trainer in (kept, again):
        torch.manual_seed(0)  # which glyphs are named is drawn
        for _ in trainer.steps(stage("all", steps=2)):
            pass
    expected = kept.student.state_dict()
    for name, value in again.student.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_no_autocast_computes_in_float32(tmp_path: Path) -> None:
    losses = []
    for precision in ("no", "bf16"):
        trainer = small_trainer(tmp_path / precision, execution=Execution(True, precision))
        losses.append(next(trainer.steps(stage("all")))["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    with pytest.raises(InvalidInputError, match="precision='fp8'"):
        Execution(precision="fp8")


def test_a_stage_that_names_no_part_or_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="trainable='eyes'"):
        stage("eyes")
    with pytest.raises(ValueError, match="optimizer='sgd'"):
        stage("all", "sgd")


def test_memories_grow_over_a_stage() -> None:
    growing = Stage("x", {"read": 1}, 100, (1, 64), 1.0, growth=0.5)
    most = [growing.most_chunks(step) for step in range(101)]
    assert most[0] == 1
    assert most[25] == 8
    assert most == sorted(most)
    assert set(most[50:]) == {64}


def test_the_recipe_for_composed_models_trains_ever_more() -> None:
    warm_up, *_, instruct = RECIPES["paper"]
    assert warm_up.parts == {"aligner"}
    assert "adapters" in instruct.parts
    assert all(each.optimizer == "adamw" for each in RECIPES["paper"])


def test_a_loss_that_rises_far_is_divergence_and_a_noisy_one_is_not() -> None:
    watch = Divergence()
    assert not any(watch.add(4.0 + (step % 2)) for step in range(300))
    assert not any(watch.add(5.0) for _ in range(300)), "a harder curriculum"
    assert any(watch.add(40.0) for _ in range(100))


def test_a_gradient_that_is_no_number_stops_before_the_weights_change(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    weight = trainer.student.glyph_head.bias
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = weight.detach().clone()
    with pytest.raises(DivergedError, match="the norm of the gradients is"):
        next(trainer.steps(stage("all")))
    assert torch.equal(weight, before)


def test_what_was_logged_after_a_checkpoint_is_forgotten(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.cut(10)
    log.write({"step": 1}, {"read": {"text": 2.0}})
    kept = log.size
    log.write({"step": 2}, {"read": {"text": 1.0}})
    log.cut(kept)
    assert log.path.read_text() == '{"step": 1, "task": "read", "text": 2.0}\n'
    log.cut(10_000)
    assert log.size == kept


def test_a_sample_has_the_same_loss_alone_and_beside_others(tmp_path: Path) -> None:
    """Packed into one batch, nothing leaks from sample to sample."""
    trainer = small_trainer(tmp_path, execution=Execution(cpu=True, precision="no"))
    drawn = [
        Drawer(trainer.student, [small_materials()], micro_tokens).draw(
            Stage("x", {"continue": 1}, 1, (1, 3), 1.0, tokens=300), 0
        )
        for micro_tokens in (2048, 1)
    ]
    assert len(drawn[1]["continue"]) > len(drawn[0]["continue"])
    with torch.no_grad():
        table = trainer.student.spelled()
        sums = [
            sum(float(trainer.student(batch, table)["text"]) for batch in batches["continue"])
            for batches in drawn
        ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
