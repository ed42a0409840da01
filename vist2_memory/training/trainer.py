"""The training loop: draw a batch, take the loss, step; one loop for every stage.

Knows stages and tasks by name only, and devices as places that average gradients. Everything that
decides the next step (weights, optimizers, the seed, the place in the data, the step) is in the
checkpoint, so that a run goes on where it stopped.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from vist2_memory.errors import Vist2Error
from vist2_memory.training import shards
from vist2_memory.training.attention import SEEN_ONLY
from vist2_memory.training.batches import Batch
from vist2_memory.training.checkpoints import CheckpointError, load_state, save_state
from vist2_memory.training.devices import Devices, Execution
from vist2_memory.training.drawing import Drawer, Drawn
from vist2_memory.training.materials import Materials
from vist2_memory.training.metrics import Divergence, MetricsLog, count, summarize
from vist2_memory.training.stages import Stage, parts_of
from vist2_memory.training.student import Student, make_optimizers

LOG_EVERY = 20
"""Steps between lines of the log."""


class DivergedError(Vist2Error):
    """The loss or its gradient is no number any more, or rose far; the last checkpoint is good."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, after a step."""

    stage: str
    step: int
    steps: int
    """Steps of the stage."""
    loss: float
    tokens_per_s: float
    """Of the last step, on all devices."""
    done: int
    """Tokens of the recipe up to here, as its stages plan them."""
    of: int
    """Tokens of the whole recipe."""


def keep_freed_memory() -> None:
    """Tell glibc not to hand memory back to the system between steps, where there is glibc.

    The big tensors of a step are freed and asked for again in every one; without this a step on a
    virtual machine spends most of its time on page faults.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    trim_threshold, top_pad, mmap_threshold, arena_max = -1, -2, -3, -8
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)
    libc.mallopt(top_pad, 1 << 28)
    libc.mallopt(arena_max, 1)


class Trainer:
    """Runs stages on a model, writes checkpoints and a log of metrics into a folder."""

    def __init__(
        self,
        student: Student,
        materials: Sequence[Materials],
        folder: Path,
        seed: int = 0,
        execution: Execution | None = None,
    ) -> None:
        """Joins the processes of the run, if there are several; each draws its own samples.

        ``materials``: see ``drawing.Drawer``. Raises ``Vist2Error`` without accelerate.
        """
        self.execution = execution or Execution()
        self.devices = Devices(self.execution)
        self.student = student.to(self.devices.device).train()
        self.folder = folder
        if self.devices.device.type == "cpu":
            keep_freed_memory()
            # On a CPU plain matrix products beat the fused attention's backward pass.
            student.backbone.set_attn_implementation("eager")
            if self.execution.compile is None:
                student.model.language_model.set_attn_implementation(SEEN_ONLY)
        if self.execution.checkpointing:
            model: Any = student.backbone
            newer = getattr(model, "activation_checkpointing_enable", None)  # since 5.23
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
        if self.execution.compile is not None:
            model = student.model
            towers = [model.language_model.model]
            if student.tokens is None:
                towers.append(model.vision_tower.encoder)
            for tower in towers:
                tower.compile(backend=self.execution.compile, dynamic=True)
        if self.execution.shard:
            self.devices.align(student)
            shards.split(student, self.devices)
        process = (self.devices.rank, self.devices.world)
        self.drawer = Drawer(
            student, materials, self.execution.micro_tokens, seed, process, self.execution.workers
        )
        self.optimizers: list[torch.optim.Optimizer] = []
        self.stage_name = ""
        self.step = 0
        self._setup: tuple[str, str, int] | None = None
        self._divergence = Divergence()
        self._log = MetricsLog(folder / "metrics.jsonl")
        folder.mkdir(parents=True, exist_ok=True)

    def run(
        self, stages: tuple[Stage, ...], progress: Callable[[Progress], None] | None = None
    ) -> None:
        """Run ``stages`` in order, from where the folder's checkpoint stopped if it has one."""
        if self.execution.shard:
            shards.check(stages)
        names = [stage.name for stage in stages]
        self.resume()
        done = names.index(self.stage_name) if self.stage_name in names else 0
        for place in range(done, len(stages)):
            stage = stages[place]
            if stage.name != self.stage_name:
                self.stage_name, self.step = stage.name, 0
                self._divergence = Divergence()
            saved = time.monotonic()
            for metrics in self.steps(stage):
                if self.step % LOG_EVERY == 0 or self.step == stage.steps:
                    self._write(metrics)
                if progress is not None:
                    progress(self._progress(stages, place, metrics))
                if self._due(stage, time.monotonic() - saved):
                    self.save()
                    saved = time.monotonic()

    def steps(self, stage: Stage) -> Iterator[dict[str, Any]]:
        """The steps that are left of ``stage``, each with its metrics.

        Raises ``DivergedError`` before a step that would spoil the weights.
        """
        self._set_up((stage.trainable, stage.optimizer, stage.lora_rank))
        started = time.monotonic()
        for drawn in self.drawer.steps(stage, self.step):
            for optimizer in self.optimizers:
                for settings in optimizer.param_groups:
                    settings["lr"] = stage.rate(self.step, settings["part"])
                optimizer.zero_grad(set_to_none=True)
            metrics = self._accumulate(stage, drawn)
            self._check(stage, metrics["loss"])
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            seconds = round(time.monotonic() - started, 3)
            yield metrics | {"rate": stage.rate(self.step - 1), "seconds": seconds}
            started = time.monotonic()

    def _set_up(self, setup: tuple[str, str, int]) -> None:
        """Take new optimizers where what is trained, or how, differs from before.

        ``setup``: a stage's ``trainable``, ``optimizer`` and ``lora_rank``.
        """
        if setup == self._setup:
            return
        self._setup = setup
        trainable, optimizer, rank = setup
        self.student.zero_grad(set_to_none=True)  # what is frozen now counts in no norm
        self.student.train_only(parts_of(trainable), rank)
        self.student.to(self.devices.device)
        self.devices.align(self.student)
        self.optimizers = make_optimizers(self.student, optimizer)

    def _accumulate(self, stage: Stage, drawn: Drawn) -> dict[str, Any]:
        """Add up the gradients of a step; its metrics.

        Every task weighs its share, however many tokens it has to predict. Losses are looked at
        when all is under way: a device is not waited for between micro-batches.
        """
        shares = stage.task_shares(self.step)
        cells = sum(batch.glyphs.numel() for batches in drawn.values() for batch in batches)
        spelled = table = None
        if self.student.spelled is not None:
            with self.devices.autocast():
                spelled = self.student.spelled()
            # Its gradients add up and go back once.
            table = spelled.detach().requires_grad_(spelled.requires_grad)
        own = sum(map(len, drawn.values()))
        behind = self.devices.most(own) - own if self.execution.shard else 0
        rows: list[Tensor] = []
        for task, batches in drawn.items():
            weight = float(sum(batch.weights.sum() for batch in batches))
            seeking = float(sum(batch.seeking.sum() for batch in batches)) or 1.0
            counts: list[Tensor] = []
            for some in batches:
                batch = some.to(self.devices.device)
                with self.devices.autocast():
                    out = self.student(batch, table, find=stage.find_weight > 0)
                loss = out["text"] * (shares[task] / weight)
                loss = loss + out["find"] * (shares[task] * stage.find_weight / seeking)
                loss = loss + out["glyph"] * (stage.glyph_weight / max(1, cells))
                counts.append(count(batch, loss, out))
                loss.backward()
            rows.append(torch.stack(counts).sum(0))
        self._keep_up(behind, batch, table)
        if spelled is not None and table is not None and table.grad is not None:
            spelled.backward(table.grad)
        self._average_gradients()
        return summarize(drawn, self.devices.total(torch.stack(rows)), self.devices.world)

    def _keep_up(self, behind: int, batch: Batch, table: Tensor | None) -> None:
        """Run ``batch`` so many times for nothing: in shards, all processes run equally often."""
        with torch.random.fork_rng(devices=[]):
            for _ in range(behind):
                with self.devices.autocast():
                    out = self.student(batch, table)
                (0 * (out["text"] + out["glyph"])).backward()

    def _average_gradients(self) -> None:
        """Average those that are not in shards; the others are averaged as they are made."""
        if self.devices.world > 1:
            trained = [
                parameter
                for parameter in self.student.parameters()
                if parameter.requires_grad and not isinstance(parameter, DTensor)
            ]
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.devices.average([p.grad for p in trained if p.grad is not None])

    def _check(self, stage: Stage, loss: float) -> None:
        """Clip the gradients; raise ``DivergedError`` where a step must not follow."""
        norm = shards.clip(self.student.parameters(), 1.0)
        if not math.isfinite(loss):
            problem = f"the loss is {loss}"
        elif not math.isfinite(norm):
            problem = f"the norm of the gradients is {norm}"
        elif self._divergence.add(loss):
            problem = (
                f"the mean loss has risen from {self._divergence.least:.2f} far up, to {loss:.2f} "
                "in this step"
            )
        else:
            return
        raise DivergedError(
            f"stage {stage.name}, step {self.step}: {problem}; the last good checkpoint is in "
            f"{self.folder}; lower the learning rate"
        )

    def _write(self, metrics: Mapping[str, Any]) -> None:
        """A line for each task of the step."""
        if self.devices.main:
            row = {"stage": self.stage_name, "step": self.step, "time": round(time.time(), 1)}
            common = {name: value for name, value in metrics.items() if name != "tasks"}
            self._log.write(row | common, metrics["tasks"])

    def _progress(
        self, stages: Sequence[Stage], place: int, metrics: Mapping[str, Any]
    ) -> Progress:
        stage = stages[place]
        planned = [each.steps * each.tokens for each in stages]
        return Progress(
            stage.name,
            self.step,
            stage.steps,
            metrics["loss"],
            metrics["tokens"] / max(metrics["seconds"], 1e-3),
            sum(planned[:place]) + self.step * stage.tokens,
            sum(planned),
        )

    def _due(self, stage: Stage, seconds: float) -> bool:
        """Whether to save now, ``seconds`` after the last time: the same on every process."""
        every = self.execution.save_every_steps
        if self.step == stage.steps or (every is not None and self.step % every == 0):
            return True
        return self.devices.decide(seconds > self.execution.save_every_s)

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the one before."""
        own = {
            "drawn": self.drawer.state(),
            "torch": self.devices.random_state(),
        }
        processes = self.devices.gather(own)
        states = [self.student.state_dict(), *(each.state_dict() for each in self.optimizers)]
        weights, *moments = shards.gathered(states, self.devices.main)
        if self.devices.main:
            state = {
                "student": weights,
                "optimizers": moments,
                "shard": self.execution.shard,
                "memory": self.student.memory,
                "setup": self._setup,
                "processes": processes,
                "stage": self.stage_name,
                "step": self.step,
                "divergence": asdict(self._divergence),
                "log_bytes": self._log.size,
            }
            save_state(self.folder / "checkpoint.pt", state)
        self.devices.wait()

    def resume(self) -> bool:
        """Take up the checkpoint of the folder; False when there is none.

        Raises ``CheckpointError`` for one that is damaged, or of another number of processes or
        form of memory.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = load_state(path)
        if len(state["processes"]) != self.devices.world:
            raise CheckpointError(
                f"{path} was written by {len(state['processes'])} processes, this run has "
                f"{self.devices.world}: go on with as many"
            )
        if state["shard"] != self.execution.shard:
            raise CheckpointError(
                f"{path} was written {'with' if state['shard'] else 'without'} --shard: go on so"
            )
        if state["memory"] != self.student.memory:
            raise CheckpointError(
                f"{path} is of a run with --memory {state['memory']}, this one has "
                f"{self.student.memory}: start in a new folder"
            )
        self._set_up(tuple(state["setup"]))
        shards.load(self.student, state["student"])
        for own, saved in zip(self.optimizers, state["optimizers"], strict=True):
            shards.load_moments(own, saved)
        process = state["processes"][self.devices.rank]
        self.drawer.go_on(process["drawn"])
        self.devices.set_random_state(process["torch"])
        self.stage_name, self.step = state["stage"], state["step"]
        self._divergence = Divergence(**state["divergence"])
        if self.devices.main:
            self._log.cut(state["log_bytes"])
        return True
