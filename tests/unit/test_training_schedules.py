"""What a stage schedules: mixes, chunk length, geometries; and what is drawn by it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import FURTHER, small_config, small_model
from tests.support.tokenizers import small_tokenizer
from tests.support.trainers import small_materials
from vist2_memory.text.transcript import END, READ
from vist2_memory.training.batches import Sample
from vist2_memory.training.devices import Execution
from vist2_memory.training.materials import Materials
from vist2_memory.training.stages import RECIPES, Stage
from vist2_memory.training.student import Student
from vist2_memory.training.tasks import TASKS, read
from vist2_memory.training.trainer import Trainer


def stage(**fields: Any) -> Stage:
    given = {"tasks": {"read": 1}, "steps": 100, "chunks": (1, 2), "learning_rate": 1e-3}
    return Stage("s", **{**given, **fields})


def trainer(folder: Path, seed: int = 3) -> Trainer:
    """Of a model of three geometries."""
    torch.manual_seed(seed)
    student = Student(small_model(small_config(geometries=FURTHER)), small_tokenizer())
    return Trainer(student, [small_materials()], folder, seed, Execution(cpu=True))


def test_the_mix_of_tasks_moves_from_its_beginning_to_its_end() -> None:
    moving = stage(tasks={"a": 3, "b": 1}, first_tasks={"a": 1, "c": 1}, growth=0.5)
    assert moving.task_shares(0) == {"a": 0.5, "c": 0.5}
    assert moving.task_shares(25) == pytest.approx({"a": 0.625, "b": 0.125, "c": 0.25})
    assert moving.task_shares(50) == moving.task_shares(99) == {"a": 0.75, "b": 0.25}
    assert stage(tasks={"a": 3, "b": 1}).task_shares(0) == {"a": 0.75, "b": 0.25}


def test_chunks_grow_longer() -> None:
    growing = stage(first_chunk_share=0.25, growth=0.5)
    lengths = [growing.chunk_tokens(step, 64) for step in range(101)]
    assert (lengths[0], lengths[25], lengths[50]) == (16, 40, 64)
    assert lengths == sorted(lengths)
    assert stage(first_chunk_share=0.1, growth=0.5).chunk_tokens(0, 2) == 1
    assert stage().chunk_tokens(0, 64) == 64


def test_the_ratio_grows_by_the_shares_of_the_geometries() -> None:
    growing = stage(first_strips={1: 1}, strips={1: 1, 2: 1, 4: 2}, growth=1.0)
    assert growing.strip_shares(0, [2, 1, 4]) == {1: 1.0}
    assert growing.strip_shares(50, [2, 1, 4]) == {1: 0.625, 2: 0.125, 4: 0.25}
    assert stage().strip_shares(7, [2, 1]) == {2: 0.5, 1: 0.5}
    with pytest.raises(ValueError, match=r"strips of \[4\] patches .* geometries of \[1, 2\]"):
        growing.strip_shares(0, [2, 1])


@pytest.mark.parametrize(
    "fields",
    [
        {"first_tasks": {"read": 1}},
        {"first_chunk_share": 0.5},
        {"first_strips": {1: 1}, "strips": {2: 1}},
        {"first_strips": {1: 1}, "growth": 0.5},
        {"first_chunk_share": 0.0, "growth": 0.5},
        {"tasks": {"read": 0.0}},
        {"strips": {1: -1.0, 2: 2.0}},
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stage s: "):
        stage(**fields)


def test_every_step_draws_the_geometries_and_lengths_that_its_stage_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def watched(materials: Materials, rng: random.Random, chunks: int) -> Sample:
        lengths.append(materials.chunker.chunk_tokens)
        return read(materials, rng, chunks)

    monkeypatch.setitem(TASKS, "read", watched)
    run = trainer(tmp_path)
    growing = stage(tokens=1, first_strips={1: 1}, strips={2: 1, 4: 1}, first_chunk_share=0.5,
                    growth=0.5)  # fmt: skip

    def drawn(step: int) -> int:
        [batch] = run.drawer.draw(growing, step)["read"]
        assert batch.glyphs.shape[1] == batch.geometry.cells_per_strip
        return batch.geometry.patches_per_strip

    assert drawn(0) == 1
    assert set(lengths) == {4}
    lengths.clear()
    assert {drawn(step) for step in range(50, 70)} == {2, 4}
    assert set(lengths) == {8}


def test_a_model_of_several_geometries_learns_in_each_and_goes_on_exactly(tmp_path: Path) -> None:
    stages = (stage(tasks={"read": 1, "recite": 1}, steps=6, tokens=30, warmup=1, growth=0.5,
                    first_strips={1: 1}, strips={2: 1, 4: 1}, first_chunk_share=0.5),)  # fmt: skip
    whole = trainer(tmp_path / "whole")
    aligner = whole.student.model.aligner
    before = {name: value.clone() for name, value in aligner.named_parameters()}
    whole.run(stages)
    after = dict(aligner.named_parameters())
    assert len(before) == 6
    assert all(not torch.equal(after[name], value) for name, value in before.items())
    broken = trainer(tmp_path / "broken")
    broken.stage_name = "s"
    for _ in broken.steps(stages[0]):
        if broken.step == 3:
            broken.save()
            break
    again = trainer(tmp_path / "broken", seed=99)
    again.run(stages)
    expected = whole.student.state_dict()
    assert all(torch.equal(v, expected[name]) for name, v in again.student.state_dict().items())


def test_ocr_reads_chunks_in_turns_each_named_so_that_it_is_the_only_one() -> None:
    tokenizer, given = small_tokenizer(), small_materials()
    named = set()
    for seed in range(20):
        sample = TASKS["ocr"](given, random.Random(seed), 5)
        assert len(sample.chunks) == 5
        turns = 0
        for block in sample.blocks:
            text = tokenizer.decode(block.ids)
            wanted = [i for i, weight in enumerate(block.weights) if weight]
            assert block.ids[-1] == tokenizer.id(END)
            for turn in text.split(END)[:-1]:
                turns += 1
                *name, read = turn.split(READ)[1:]
                place = sample.chunks.index(read)
                named.update(name)
                if name:
                    names = ["first", "second", "third", "fourth", "fifth"]
                    assert name[0] in (names[place], "last")
                    assert name[0] != "last" or place == 4
            starts = [i for i in wanted if i - 1 not in wanted]
            assert len(starts) == text.count(END)
            assert all(READ not in tokenizer.decode([block.ids[i]]) for i in wanted)
        assert turns == 5
    assert len(named) == 6


def test_the_paper_reads_in_turns_and_moves_its_mixes() -> None:
    _, ocr, language, _ = RECIPES["paper"]
    assert "ocr" in ocr.tasks
    assert ocr.chunk_tokens(0, 64) == 32
    assert language.task_shares(0)["continue"] < language.task_shares(11_999)["continue"]
