"""Training in processes that are killed, or that work together: a script that tests start.

It imports once and forks for each process, and does no training itself: autograd's threads do not
survive a fork.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib
import peft  # noqa: F401 (once, for all)
import torch

from tests.support.checkpoints import small_model
from tests.support.tokenizers import small_tokenizer
from tests.support.trainers import small_materials
from vist2_memory.cli import app
from vist2_memory.training.checkpoints import load_state
from vist2_memory.training.devices import Execution
from vist2_memory.training.drawing import Drawn
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


def fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a process of its own; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
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

    def run_watched(self, stage: Stage, steps: int) -> dict[str, list[float]]:
        self.stage_name = stage.name
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
    found: dict[str, object] = dict(whole.run_watched(stage, 6))
    broken = trainer("broken", 3)
    broken.run_watched(stage, 3)
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
    again.step = 0
    try:
        again.run_watched(stage, 6)
    except DivergedError as error:
        found["stopped"] = str(error)
    (folder / f"rank-{again.devices.rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def ranks(folder: Path) -> None:
    """Two processes with gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared: Mapping[str, str] = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }

    def work(number: int) -> None:
        os.environ.update(shared)
        os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(number)
        rank(folder)

    children = [fork(lambda number=number: work(number)) for number in range(2)]
    assert [end_of(child) for child in children] == [0, 0]


if __name__ == "__main__":
    what, folder, *others = sys.argv[1:]
    {"killed": killed, "ranks": ranks}[what](Path(folder), *others)
