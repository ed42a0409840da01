"""The training loop: draw a batch, take the loss, step; one loop for every stage.

Knows stages and tasks by name only. Everything that decides the next step (weights, optimizers, the
state of the random numbers, the step) is in the checkpoint, so that a run goes on where it stopped.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vist2_memory.errors import Vist2Error
from vist2_memory.model.masks import additive
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.training.batches import Batch, Sample, collate, group
from vist2_memory.training.spelling import SpelledEmbedding
from vist2_memory.training.stages import Stage
from vist2_memory.training.tasks import TASKS, Materials


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


MICRO_TOKENS = 2048
"""Tokens that run at once, padding included; the gradients of a step's micro-batches add up."""


class DivergedError(Vist2Error):
    """The loss is no number any more; the last checkpoint is good."""


class Student(nn.Module):
    """The model in training: with spelled embeddings, and a head that names glyphs."""

    def __init__(self, model: Vist2ForConditionalGeneration, tokenizer: Vist2Tokenizer) -> None:
        super().__init__()
        self.model = model
        text: Any = model.config.text_config
        self.spelled = SpelledEmbedding(tokenizer.tokens(), text.hidden_size)
        self.renderer = SketchRenderer(model.config.sketch_geometry)
        self.glyphs = len(self.renderer.atlas.pixels)
        cells = self.renderer.geometry.cells_per_strip
        self.glyph_head = nn.Linear(text.hidden_size, cells * self.glyphs)

    def forward(self, batch: Batch, table: Tensor) -> dict[str, Tensor]:
        """Sums over a batch, with ``table`` as the embeddings of all tokens.

        The weighted loss of its ``text`` and how many tokens are ``right``; the loss of its
        ``glyph`` names and how many ``glyphs_right``.
        """
        model, low = self.model, self.model.config.ink[0]
        scale = (self.model.config.ink[1] - low) / 255
        patches = batch.patches.float().mul_(scale).add_(low)
        strips = batch.patch_mask[:, :: model.aligner.patches_per_strip]
        visual = model.encode(patches, batch.patch_mask)[strips]
        embeds = F.embedding(batch.input_ids, table)
        places = batch.input_ids == model.config.visual_token_id
        embeds = embeds.masked_scatter(places[..., None], visual.to(embeds.dtype))
        dtype = torch.bfloat16 if torch.is_autocast_enabled(embeds.device.type) else embeds.dtype
        hidden = model.language_model.model(
            inputs_embeds=embeds,
            attention_mask=additive(batch.allowed, dtype),
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        logits = (hidden.flatten(0, 1)[batch.queries] @ table.T).float()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        shown = self.glyph_head(visual).float().view(-1, self.glyphs)
        return {
            "text": (losses * batch.weights).sum(),
            "right": (logits.detach().argmax(-1) == batch.targets).sum(),
            "glyph": F.cross_entropy(shown, batch.glyphs.reshape(-1), reduction="sum"),
            "glyphs_right": (shown.detach().argmax(-1) == batch.glyphs.reshape(-1)).sum(),
        }

    def finish(self) -> Vist2ForConditionalGeneration:
        """The model with the spelled embeddings added up into its own table."""
        with torch.no_grad():
            weight: Any = self.model.get_input_embeddings().weight
            weight.copy_(self.spelled())
        return self.model


def make_optimizers(student: Student) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the towers, AdamW for embeddings, heads, norms and biases."""
    inside: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in student.named_parameters():
        if "embed_tokens" in name or "lm_head" in name:
            continue  # the spelled table stands in for them
        matrix = parameter.ndim == 2 and (".layers." in name or "aligner" in name)
        (inside if matrix else others).append(parameter)
    return [
        torch.optim.Muon(inside, lr=0.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def log_uniform(rng: random.Random, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, small ones as often as large ones by their ratio."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


class Trainer:
    """Runs stages on a model, writes checkpoints and a log of metrics into a folder."""

    def __init__(self, student: Student, materials: Materials, folder: Path, seed: int = 0) -> None:
        self.student = student
        self.materials = materials
        self.folder = folder
        keep_freed_memory()
        # On a CPU plain matrix products beat the fused attention's backward pass.
        student.model.set_attn_implementation("eager")
        self.rng = random.Random(seed)
        self.optimizers = make_optimizers(student)
        self.stage_name = ""
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, stages: tuple[Stage, ...], save_every_s: float = 120.0) -> None:
        """Run ``stages`` in order, from where the folder's checkpoint stopped if it has one."""
        names = [stage.name for stage in stages]
        self.resume()
        done = names.index(self.stage_name) if self.stage_name in names else 0
        for stage in stages[done:]:
            if stage.name != self.stage_name:
                self.stage_name, self.step = stage.name, 0
            saved = time.monotonic()
            for metrics in self.steps(stage):
                if self.step % 20 == 0 or self.step == stage.steps:
                    self._log(metrics)
                if time.monotonic() - saved > save_every_s or self.step == stage.steps:
                    self.save()
                    saved = time.monotonic()

    def steps(self, stage: Stage) -> Iterator[dict[str, Any]]:
        """The steps that are left of ``stage``, each with its metrics."""
        while self.step < stage.steps:
            started = time.monotonic()
            drawn = self._draw(stage)
            for optimizer in self.optimizers:
                for settings in optimizer.param_groups:
                    settings["lr"] = stage.rate(self.step)
                optimizer.zero_grad(set_to_none=True)
            metrics = self._accumulate(stage, drawn)
            nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            seconds = round(time.monotonic() - started, 3)
            yield metrics | {"rate": stage.rate(self.step - 1), "seconds": seconds}

    def _accumulate(self, stage: Stage, drawn: Mapping[str, Sequence[Batch]]) -> dict[str, Any]:
        """Add up the gradients of a step; its metrics.

        Every task weighs its share, however many tokens it has to predict.
        """
        shares = sum(stage.tasks.values())
        cells = sum(batch.glyphs.numel() for batches in drawn.values() for batch in batches)
        total, named = 0.0, Counter[str]()
        with torch.autocast("cpu", torch.bfloat16):
            spelled = self.student.spelled()
        table = spelled.detach().requires_grad_()  # its gradients add up and go back once
        tasks: dict[str, dict[str, float]] = {}
        for task, batches in drawn.items():
            weight = float(sum(batch.weights.sum() for batch in batches))
            sums = Counter[str]()
            for batch in batches:
                with torch.autocast("cpu", torch.bfloat16):
                    out = self.student(batch, table)
                loss = out["text"] * (stage.tasks[task] / shares / weight)
                loss = loss + out["glyph"] * (stage.glyph_weight / cells)
                total += loss.item()
                if not math.isfinite(total):
                    raise DivergedError(
                        f"stage {stage.name}, step {self.step}: the loss is {total}; the last "
                        f"good checkpoint is in {self.folder}; lower the learning rate"
                    )
                loss.backward()
                sums.update({name: value.item() for name, value in out.items()})
            asked = sum(len(batch.targets) for batch in batches)
            tasks[task] = {
                "text": round(sums["text"] / weight, 4),
                "right": round(sums["right"] / asked, 4),
                "text_tokens": sum(batch.text_tokens for batch in batches),
                "chunks": sum(len(batch.patch_mask) for batch in batches),
            }
            named.update(sums)
        spelled.backward(table.grad)
        return {
            "loss": round(total, 4),
            "tasks": tasks,
            "glyph": round(named["glyph"] / cells, 4),
            "glyphs_right": round(named["glyphs_right"] / cells, 4),
        }

    def _draw(self, stage: Stage) -> dict[str, list[Batch]]:
        """The micro-batches of a step, by task: about ``stage.tokens`` tokens together."""
        config = self.student.model.config
        pad, renderer = config.get_text_config().pad_token_id, self.student.renderer
        shares = sum(stage.tasks.values())
        drawn: dict[str, list[Batch]] = {}
        for task, share in stage.tasks.items():
            samples: list[Sample] = []
            room = stage.tokens * share / shares
            while room > 0:
                chunks = log_uniform(self.rng, *stage.chunks)
                samples.append(TASKS[task](self.materials, self.rng, chunks))
                room -= samples[-1].length(renderer)
            drawn[task] = [
                collate(some, renderer, config.visual_token_id, pad)
                for some in group(samples, MICRO_TOKENS, renderer)
            ]
        return drawn

    def _log(self, metrics: dict[str, Any]) -> None:
        """A line for each task of the step."""
        row = {"stage": self.stage_name, "step": self.step, "time": round(time.time(), 1)}
        common = {name: value for name, value in metrics.items() if name != "tasks"}
        with (self.folder / "metrics.jsonl").open("a") as log:
            for task, own in metrics["tasks"].items():
                log.write(json.dumps(row | {"task": task} | own | common) + "\n")

    def save(self) -> None:
        """Write the checkpoint; an interrupted write leaves the one before."""
        state = {
            "student": self.student.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": self.rng.getstate(),
            "torch_rng": torch.get_rng_state(),
            "stage": self.stage_name,
            "step": self.step,
        }
        new = self.folder / "checkpoint.new"
        torch.save(state, new)
        os.replace(new, self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Take up the checkpoint of the folder; False when there is none."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=False)
        self.student.load_state_dict(state["student"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.setstate(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        self.stage_name, self.step = state["stage"], state["step"]
        return True
