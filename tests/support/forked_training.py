"""Training in processes that are killed, or that work together: a script that tests start.

It imports once and forks for each process, and does no training itself: autograd's threads do not
survive a fork.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib
import peft  # noqa: F401 (once, for all)
import torch

from tests.support.checkpoints import FURTHER, small_config, small_model
from tests.support.tokenizers import small_tokenizer
from tests.support.trainers import small_materials
from vist2_memory.cli import app
from vist2_memory.errors import InvalidInputError
from vist2_memory.training.checkpoints import load_state
from vist2_memory.training.devices import Execution
from vist2_memory.training.drawing import Drawer, Drawn
from vist2_memory.training.export import save_checkpoint
from vist2_memory.training.shards import join
from vist2_memory.training.stages import RECIPES, Stage
from vist2_memory.training.student import Student
from vist2_memory.training.trainer import DivergedError, Trainer

matplotlib.use("Agg")

STAGES = (
    Stage("warm-up", {"read": 1}, 6, (1, 1), 1e-3, tokens=90, trainable="vision+aligner"),
    Stage("ocr", {"read": 1, "recite": 1}, 6, (1, 3), 1e-3, tokens=90),
    Stage("optical-lm", {"continue": 1}, 6, (1, 4), 1e-3, tokens=90, growth=0.5),
    Stage("instruct", {"recall": 1}, 6, (1, 2), 1e-3, tokens=90, trainable="aligner+adapters",
          optimizer="adamw", lora_rank=2),
)  # fmt: skip

SHARDED = (
    (Stage("all", {"read": 1, "recite": 1}, 4, (1, 3), 1e-3, tokens=400, optimizer="adamw"),),
    (
        Stage("vision", {"read": 1}, 4, (1, 1), 1e-3, tokens=200, optimizer="adamw",
              trainable="vision+aligner+embeddings"),
        Stage("adapters", {"recite": 1}, 4, (1, 3), 1e-3, tokens=400, lora_rank=2,
              trainable="aligner+adapters", optimizer="adamw"),
    ),
)  # fmt: skip
"""Stages of AdamW: all that a model has, its own table; frozen parts and spelled embeddings, then
adapters."""


def fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a process of its own; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def end_of(child: int) -> int:
    """How the process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder: Path, memory: str) -> None:
    """Train once unbroken, and once killed in the middle of each stage and resumed each time.

    The second time workers draw ahead in some of the runs.
    """

    def train(out: str, workers: int = 0) -> None:
        arguments = f"train --recipe four --data {folder}/data --out {folder}/{out}"
        arguments += f" --start {folder}/start --seed 3 --cpu --stream --save-every-steps 2"
        arguments += f" --memory {memory} --workers {workers}"
        app(arguments.split(), standalone_mode=False)

    def train_until(stage: str, workers: int) -> None:
        step = Trainer._check

        def die(self: Trainer, current: Stage, loss: float) -> None:
            if (current.name, self.step) == (stage, 3):
                os.kill(os.getpid(), signal.SIGKILL)
            step(self, current, loss)

        Trainer._check = die
        train("broken", workers)

    RECIPES["four"] = STAGES
    assert end_of(fork(lambda: train("whole"))) == 0
    for stage, workers in zip(STAGES, (0, 2, 0, 1), strict=True):
        dies = partial(train_until, stage.name, workers)
        assert end_of(fork(dies)) == -signal.SIGKILL
        at = load_state(folder / "broken" / "checkpoint.pt")
        assert (at["stage"], at["step"]) == (stage.name, 2), "killed in the middle, saved before"
    assert end_of(fork(lambda: train("broken"))) == 0


class Watched(Trainer):
    """Remembers its losses and how many micro-batches each step had."""

    def run_watched(self, stage: Stage, first: int, steps: int) -> dict[str, list[float]]:
        self.stage_name, self.step = stage.name, first
        seen: dict[str, list[float]] = {"losses": [], "batches": []}
        for metrics in self.steps(stage):
            seen["losses"].append(metrics["loss"])
            seen["batches"].append(self.batches)
            if self.step == steps:
                break
        return seen

    def _accumulate(self, stage: Stage, drawn: Drawn) -> dict:
        self.batches = sum(map(len, drawn.values()))
        return super()._accumulate(stage, drawn)


def rank(folder: Path) -> None:
    """One of two processes that train together."""
    execution = Execution(cpu=True, micro_tokens=100)

    def trainer(name: str, seed: int) -> Watched:
        torch.manual_seed(seed + int(os.environ["RANK"]))  # other weights, until they are aligned
        student = Student(small_model(), small_tokenizer())
        return Watched(student, [small_materials()], folder / name, seed, execution)

    stage = Stage("mixed", {"read": 1, "recite": 1}, 6, (1, 3), 1e-3, tokens=400)
    whole = trainer("whole", 3)
    found: dict[str, object] = dict(whole.run_watched(stage, 0, 6))
    broken = trainer("broken", 3)
    broken.run_watched(stage, 0, 3)
    broken.save()
    again = trainer("broken", 99)
    again.run((stage,))
    expected = whole.student.state_dict()
    found["resumed"] = all(
        torch.equal(value, expected[name]) for name, value in again.student.state_dict().items()
    )
    found["weights"] = [float(value.double().sum()) for value in expected.values()]
    means = [torch.full((3, 2), float(again.devices.rank)), torch.ones(2)]
    again.devices.average(means)
    found["average"] = [mean.tolist() for mean in means]
    if again.devices.rank == 1:
        with torch.no_grad():
            again.student.glyph_head.weight.fill_(float("nan"))
    try:
        again.run_watched(stage, 0, 6)
    except DivergedError as error:
        found["stopped"] = str(error)
    (folder / f"rank-{again.devices.rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def whole_and_sharded(folder: Path, precision: str) -> None:
    """One of two processes that train whole models, and the same in shards."""

    def trainer(name: str, seed: int = 3, *, shard: bool = True) -> Watched:
        torch.manual_seed(seed)
        model = small_model(small_config(geometries=FURTHER))
        student = Student(model, small_tokenizer(), spelled=name.endswith("vision"))
        execution = Execution(True, precision, 100, checkpointing=shard, shard=shard)
        return Watched(student, [small_materials()], folder / name, seed, execution)

    found: dict[str, object] = {}
    for stages in SHARDED:
        name = stages[0].name
        whole, sharded = trainer(f"whole {name}", shard=False), trainer(f"sharded {name}")
        losses = []
        for run in (whole, sharded):
            torch.manual_seed(0)  # which glyphs are named is drawn
            seen = [run.run_watched(stage, 0, 4) for stage in stages]
            losses.append([loss for each in seen for loss in each["losses"]])
        broken = trainer(f"broken {name}")
        torch.manual_seed(0)
        for stage in stages[:-1]:
            broken.run_watched(stage, 0, 4)
        broken.run_watched(stages[-1], 0, 2)
        broken.save()
        again = trainer(f"broken {name}", seed=99)
        again.resume()
        again.run_watched(stages[-1], 2, 4)
        layer = sharded.student.model.language_model.model.layers[0].mlp.up_proj
        weight = getattr(layer, "base_layer", layer).weight
        rows = [len(weight.to_local()), len(weight)]
        main = whole.devices.main
        for run in (sharded, again):
            join(run.student, keep=main)
        if main:
            same = [run.student.finish().state_dict() for run in (whole, sharded, again)]
            apart = [(same[0][key] - same[1][key]).abs().max().item() for key in same[0]]
            resumed = all(torch.equal(same[1][key], same[2][key]) for key in same[1])
            found[name] = {
                "losses": losses,
                "apart": max(apart),
                "resumed": resumed,
                "rows": rows,
            }
            save_checkpoint(sharded.student.model, small_tokenizer(), folder / f"model {name}")
    muon = Stage("read", {"read": 1}, 1, (1, 1), 1e-3)
    try:
        trainer("muon").run((muon,))
    except InvalidInputError as error:
        found["refused"] = str(error)
    if main:
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def in_two(work: Callable[[], None]) -> None:
    """Do ``work`` in two processes with gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared: Mapping[str, str] = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }

    def one(number: int) -> None:
        os.environ.update(shared)
        os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(number)
        work()

    children = [fork(partial(one, number)) for number in range(2)]
    assert [end_of(child) for child in children] == [0, 0]


def ranks(folder: Path) -> None:
    """Two processes that train together."""
    in_two(lambda: rank(folder))


LARGE = Stage("large", {"read": 1}, 50, (1, 1), 1e-3, tokens=6000)
"""Its steps are larger than what a pipe holds."""


def orphaned(folder: Path) -> None:
    """Kill a process whose workers draw ahead, and wait for these to end; their ids in a file."""

    def draw() -> None:
        student = Student(small_model(), small_tokenizer())
        ahead = Drawer(student, [small_materials()], 4096, workers=2).steps(LARGE, 0)
        next(ahead)
        time.sleep(1)  # they wait to hand over the next ones
        workers = [child.pid for child in multiprocessing.active_children()]
        (folder / "workers.json").write_text(json.dumps(workers))
        os.kill(os.getpid(), signal.SIGKILL)

    assert end_of(fork(draw)) == -signal.SIGKILL


def sharded(folder: Path, precision: str) -> None:
    """Two processes that train whole models, and the same in shards."""
    in_two(lambda: whole_and_sharded(folder, precision))


if __name__ == "__main__":
    what, folder, *others = sys.argv[1:]
    modes: dict[str, Callable[..., None]] = {
        "killed": killed,
        "ranks": ranks,
        "sharded": sharded,
        "orphaned": orphaned,
    }
    modes[what](Path(folder), *others)
