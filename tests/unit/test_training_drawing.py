"""Drawing ahead: whatever draws a step, it is the same; streamed text; what cannot be shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoints import small_model
from tests.support.tokenizers import PROSE, small_tokenizer
from tests.support.trainers import small_materials
from vist2_memory.errors import InvalidInputError
from vist2_memory.training.data import Passages
from vist2_memory.training.devices import Execution
from vist2_memory.training.drawing import Drawer, Drawn
from vist2_memory.training.materials import Materials
from vist2_memory.training.stages import Stage
from vist2_memory.training.streaming import STREAMS, open_streams
from vist2_memory.training.student import Student
from vist2_memory.training.trainer import Trainer

# The loader finds many workers for a machine of one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

STAGE = Stage("s", {"read": 1, "recite": 1}, 11, (1, 3), 1e-3, tokens=60)


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(small_model(), small_tokenizer())


def streamed(folder: Path) -> list[Materials]:
    """Materials of a stream each, over texts that end in the middle of a run."""
    for name in ("a", "b"):
        lines = [f'{{"text": "{name}{i} {PROSE[i:150]}"}}\n' for i in range(30)]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    streams = open_streams([folder / "a.jsonl", folder / "b.jsonl"], seed=5)
    return [replace(small_materials(), prose=own) for own in streams]


def seen(drawn: Drawn) -> list[Any]:
    """A step as values that can be compared."""
    return [
        (batch.input_ids.tolist(), batch.glyphs.tolist(), batch.layout.block.tolist())
        for batches in drawn.values()
        for batch in batches
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_draw_what_the_process_itself_draws(
    student: Student, tmp_path: Path, workers: int
) -> None:
    for materials in (lambda: [small_materials()], lambda: streamed(tmp_path)):
        alone = Drawer(student, materials(), 100, seed=3)
        helped = Drawer(student, materials(), 100, seed=3, workers=workers)
        expected = list(map(seen, alone.steps(STAGE, 0)))
        assert list(map(seen, helped.steps(STAGE, 0))) == expected
        assert len(expected) == STAGE.steps
        assert helped.state() == alone.state()
        assert seen(next(helped.steps(STAGE, 9))) == seen(next(alone.steps(STAGE, 9)))


@pytest.mark.parametrize("workers", [(2, 0), (0, 4), (2, 8)])
def test_a_stopped_stream_goes_on_with_any_number_of_workers(
    student: Student, tmp_path: Path, workers: tuple[int, int]
) -> None:
    whole = list(map(seen, Drawer(student, streamed(tmp_path), 100, seed=3).steps(STAGE, 0)))
    before, after = (
        Drawer(student, streamed(tmp_path), 100, seed, workers=number)
        for seed, number in zip((3, 99), workers, strict=True)
    )
    steps = before.steps(STAGE, 0)
    begun = [seen(next(steps)) for _ in range(5)]
    after.go_on(before.state())  # what was drawn ahead of step 5 is in no state
    assert begun + list(map(seen, after.steps(STAGE, 5))) == whole


def test_steps_stages_seeds_and_processes_differ(student: Student) -> None:
    other = replace(STAGE, name="t")
    drawn = [
        seen(Drawer(student, [small_materials()], 100, seed, (which, 2)).draw(stage, step))
        for seed, which, stage, step in (
            (3, 0, STAGE, 0), (4, 0, STAGE, 0), (3, 1, STAGE, 0), (3, 0, other, 0), (3, 0, STAGE, 1)
        )
    ]  # fmt: skip
    assert all(a != b for i, a in enumerate(drawn) for b in drawn[:i])


def test_a_run_with_workers_ends_with_the_same_weights(tmp_path: Path) -> None:
    runs = []
    for workers in (0, 2):
        torch.manual_seed(3)
        student = Student(small_model(), small_tokenizer())
        execution = Execution(cpu=True, workers=workers)
        run = Trainer(student, [small_materials()], tmp_path / str(workers), 3, execution)
        stage = replace(STAGE, steps=4)
        losses = [metrics["loss"] for metrics in run.steps(stage)]
        runs.append((losses, run.student.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())


def test_workers_that_would_share_a_stream_are_refused(student: Student, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"workers=3: the text comes in {STREAMS} streams"):
        Drawer(student, streamed(tmp_path), 100, workers=3)
    with pytest.raises(InvalidInputError, match="workers=-1"):
        Execution(workers=-1)


def test_what_goes_wrong_in_a_worker_is_told(student: Student) -> None:
    stage = Stage("s", {"recall_dialogues": 1}, 2, (1, 1), 1e-3)
    drawer = Drawer(student, [small_materials()], 100, workers=1)
    with pytest.raises(InvalidInputError, match="needs dialogues with slots"):
        next(drawer.steps(stage, 0))


def test_a_place_in_other_data_is_refused(student: Student, tmp_path: Path) -> None:
    loaded = Drawer(student, [replace(small_materials(), prose=Passages([PROSE]))], 100)
    stream = Drawer(student, streamed(tmp_path), 100)
    with pytest.raises(InvalidInputError, match="go on with --stream"):
        loaded.go_on(stream.state())
    with pytest.raises(InvalidInputError, match="begun without --stream"):
        stream.go_on(loaded.state())
